import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** The way between a site and its server: can be cut at a byte, or be slow. */
export class SlowRelay implements AsyncDisposable {
  /** Bytes a second that go each way; 0: as fast as they come. */
  bytesPerSecond = 0
  /** Bytes that went to the server. */
  sentBytes = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #mark: { readonly at: number; readonly reached: () => void } | undefined

  private constructor(port: number, serverPort: number) {
    this.#server = createServer((member) => this.#accept(member, serverPort))
    this.#server.listen(port, '127.0.0.1')
  }

  static async listen(port: number, serverPort: number): Promise<SlowRelay> {
    const relay = new SlowRelay(port, serverPort)
    await once(relay.#server, 'listening')
    return relay
  }

  /** Does something once when `bytes` more have gone to the server, before any other does. Resolves afterwards. */
  after(bytes: number, act: () => void): Promise<void> {
    return new Promise((resolve) => {
      const reached = () => {
        act()
        resolve()
      }
      this.#mark = { at: this.sentBytes + bytes, reached }
    })
  }

  /** Cuts the link that is up. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(member: Socket, serverPort: number): void {
    const server = connect(serverPort, '127.0.0.1')
    for (const [from, to] of [
      [member, server],
      [server, member],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => undefined)
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.on('data', (chunk: Buffer) => {
        this.#pass(chunk, from, to, from === member)
      })
    }
  }

  #pass(chunk: Buffer, from: Socket, to: Socket, isToServer: boolean): void {
    let rest = chunk
    const mark = this.#mark
    if (isToServer && mark !== undefined && this.sentBytes + chunk.length >= mark.at) {
      const before = mark.at - this.sentBytes
      this.sentBytes += before
      to.write(rest.subarray(0, before))
      rest = rest.subarray(before)
      this.#mark = undefined
      mark.reached()
    }
    if (to.destroyed) return
    if (isToServer) this.sentBytes += rest.length
    const isFull = !to.write(rest)
    if (this.bytesPerSecond === 0) {
      if (!isFull) return
      from.pause()
      to.once('drain', () => from.resume())
      return
    }
    from.pause()
    setTimeout(() => from.resume(), (chunk.length / this.bytesPerSecond) * 1000)
  }
}
