import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export type Way = 'to-server' | 'to-member'

/** What somebody on the way makes of one frame: nothing, others, more. */
export type Meddler = (frame: Buffer, way: Way) => readonly Buffer[]

/** Somebody on the way between members and their server, where no TLS keeps them out: sees and changes every frame. */
export class AttackerRelay implements AsyncDisposable {
  /** All frames of the link that is or was up last, as they came. */
  readonly seen: { readonly way: Way; readonly frame: Buffer }[] = []
  meddle: Meddler = (frame) => [frame]
  readonly #server: Server
  readonly #serverPort: number
  readonly #sockets = new Set<Socket>()
  #toServer: Socket | undefined
  #toMember: Socket | undefined

  private constructor(port: number, serverPort: number) {
    this.#serverPort = serverPort
    this.#server = createServer((member) => this.#accept(member)).listen(port, '127.0.0.1')
  }

  static async listen(port: number, serverPort: number): Promise<AttackerRelay> {
    const relay = new AttackerRelay(port, serverPort)
    await once(relay.#server, 'listening')
    return relay
  }

  /** Puts a frame of its own onto the link that is up. */
  inject(frame: Uint8Array, way: Way = 'to-server'): void {
    ;(way === 'to-server' ? this.#toServer : this.#toMember)?.write(frame)
  }

  /** Cuts the link that is up. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(member: Socket): void {
    const server = connect(this.#serverPort, '127.0.0.1')
    this.#toMember = member
    this.#toServer = server
    this.seen.length = 0
    this.#pass(member, server, 'to-server')
    this.#pass(server, member, 'to-member')
  }

  #pass(from: Socket, to: Socket, way: Way): void {
    this.#sockets.add(from)
    from.on('error', () => undefined)
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
    let buffer: Buffer = Buffer.alloc(0)
    from.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk])
      while (buffer.length >= 4 && buffer.length >= buffer.readUInt32BE(0)) {
        const frame = buffer.subarray(0, buffer.readUInt32BE(0))
        buffer = buffer.subarray(frame.length)
        this.seen.push({ way, frame: Buffer.from(frame) })
        for (const out of this.meddle(frame, way)) to.write(out)
      }
    })
  }
}

/** Whether a frame is a message, with a code or without. */
export function isMessage(frame: Buffer): boolean {
  return frame.readUInt8(6) === 1
}

/** Whether a message carries a code. */
export function isProven(frame: Buffer): boolean {
  return isMessage(frame) && (frame.readUInt16BE(8) & 0x0100) !== 0
}
