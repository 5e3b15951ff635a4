import type { Connection, Listener } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { ATTACK_SCHEME } from './attacker-wire.ts'

export type Way = 'to-server' | 'to-member'

/** What somebody on the way makes of one frame: nothing, others, more. */
export type Meddler = (frame: Buffer, way: Way) => readonly Buffer[]

const DRIVER = { tcp, http, grpc }[ATTACK_SCHEME]({ closeTimeoutMs: 50 })
const CLEAR = { mode: 'clear' } as const
const MAX_FRAME_BYTES = 2 ** 26

/**
 * Somebody on the way between members and their server, where no TLS keeps them out: sees and changes every frame,
 * whatever carries it.
 */
export class AttackerRelay implements AsyncDisposable {
  /** All frames of the link that is or was up last, as they came. */
  readonly seen: { readonly way: Way; readonly frame: Buffer }[] = []
  meddle: Meddler = (frame) => [frame]
  readonly #serverPort: number
  readonly #connections = new Set<Connection>()
  #listener: Listener | undefined
  #toServer: Connection | undefined
  #toMember: Connection | undefined

  private constructor(serverPort: number) {
    this.#serverPort = serverPort
  }

  static async listen(port: number, serverPort: number): Promise<AttackerRelay> {
    const relay = new AttackerRelay(serverPort)
    relay.#listener = await DRIVER.listen(urlOf(port), CLEAR, (member) => {
      // A server that is not there is none for the member either.
      relay.#accept(member).catch(() => member[Symbol.asyncDispose]())
    })
    return relay
  }

  /** Puts a frame of its own onto the link that is up. */
  inject(frame: Uint8Array, way: Way = 'to-server'): void {
    const to = way === 'to-server' ? this.#toServer : this.#toMember
    to?.send([frame]).catch(() => undefined)
  }

  /** Cuts the link that is up. */
  cut(): void {
    for (const connection of this.#connections) void connection[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener?.[Symbol.asyncDispose]()
    await Promise.all([...this.#connections].map((one) => one[Symbol.asyncDispose]()))
  }

  async #accept(member: Connection): Promise<void> {
    const server = await DRIVER.connect(urlOf(this.#serverPort), CLEAR)
    this.#toMember = member
    this.#toServer = server
    this.seen.length = 0
    this.#pass(member, server, 'to-server')
    this.#pass(server, member, 'to-member')
  }

  #pass(from: Connection, to: Connection, way: Way): void {
    this.#connections.add(from)
    from.maxFrameBytes = MAX_FRAME_BYTES
    const over = (): void => {
      this.#connections.delete(from)
      void to[Symbol.asyncDispose]()
    }
    from
      .receive(async (bytes) => {
        const frame = Buffer.from(bytes)
        this.seen.push({ way, frame })
        for (const out of this.meddle(frame, way)) await to.send([out])
      })
      .then(over, over)
  }
}

function urlOf(port: number): URL {
  return new URL(`${ATTACK_SCHEME}://127.0.0.1:${port}`)
}

/** Whether a frame is a message, with a code or without. */
export function isMessage(frame: Buffer): boolean {
  return frame.readUInt8(6) === 1
}

/** Whether a message carries a code. */
export function isProven(frame: Buffer): boolean {
  return isMessage(frame) && (frame.readUInt16BE(8) & 0x0100) !== 0
}
