import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

type End = 'server' | 'site'

/** The way between a site and its server: can be cut at a byte, be slow, or pass nothing on to the site. */
export class SlowRelay implements AsyncDisposable {
  /** Bytes a second that go each way; 0: as fast as they come. */
  bytesPerSecond = 0
  /** Bytes that went to the server, and to the site. */
  readonly passed = { server: 0, site: 0 }
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #fromServer = new Set<Socket>()
  #siteReads = true
  #mark: { readonly to: End; readonly at: number; readonly reached: () => void } | undefined

  private constructor(port: number, serverPort: number) {
    this.#server = createServer((member) => this.#accept(member, serverPort))
    this.#server.listen(port, '127.0.0.1')
  }

  static async listen(port: number, serverPort: number): Promise<SlowRelay> {
    const relay = new SlowRelay(port, serverPort)
    await once(relay.#server, 'listening')
    return relay
  }

  /** Does something once when `bytes` more have gone to one end, before any other does. Resolves afterwards. */
  after(bytes: number, act: () => void, to: End = 'server'): Promise<void> {
    return new Promise((resolve) => {
      const reached = () => {
        act()
        resolve()
      }
      this.#mark = { to, at: this.passed[to] + bytes, reached }
    })
  }

  /** Whether the site takes what the server sends. What it sends itself goes on. */
  set siteReads(reads: boolean) {
    this.#siteReads = reads
    for (const socket of this.#fromServer) {
      if (reads) socket.resume()
      else socket.pause()
    }
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
    this.#fromServer.add(server)
    server.on('close', () => this.#fromServer.delete(server))
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
        this.#pass(chunk, from, to, from === member ? 'server' : 'site')
      })
    }
  }

  #pass(chunk: Buffer, from: Socket, to: Socket, end: End): void {
    let rest = chunk
    const mark = this.#mark
    if (mark?.to === end && this.passed[end] + chunk.length >= mark.at) {
      const before = mark.at - this.passed[end]
      this.passed[end] += before
      to.write(rest.subarray(0, before))
      rest = rest.subarray(before)
      this.#mark = undefined
      mark.reached()
    }
    if (to.destroyed) return
    const goOn = () => {
      if (end === 'server' || this.#siteReads) from.resume()
    }
    this.passed[end] += rest.length
    const isFull = !to.write(rest)
    if (end === 'site' && !this.#siteReads) from.pause()
    if (this.bytesPerSecond === 0) {
      if (!isFull) return
      from.pause()
      to.once('drain', goOn)
      return
    }
    from.pause()
    setTimeout(goOn, (chunk.length / this.bytesPerSecond) * 1000)
  }
}
