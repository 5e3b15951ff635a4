import type { Duplex } from 'node:stream'
import {
  type AbortOptions,
  type Clock,
  type Connection,
  type ConnectionInfo,
  TransportError,
} from '@hanse/contract'
import { FrameSplitter } from './frame-splitter.ts'
import { WriteQueue } from './write-queue.ts'

export interface StreamConnectionComponents {
  readonly stream: Duplex
  readonly clock: Clock
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
  /** Makes a readable error of what the stream reported. */
  readonly explain: (error: Error) => TransportError
}

export interface StreamConnectionOptions {
  readonly maxFrameBytes: number
  readonly sendStallTimeoutMs: number
  readonly closeTimeoutMs: number
}

type State = 'open' | 'closing' | 'closed'
type Receiver = (frame: Uint8Array) => void | Promise<void>

/** Frames over any duplex stream; owns the stream. */
export class StreamConnection implements Connection {
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #options: StreamConnectionOptions
  readonly #explain: (error: Error) => TransportError
  readonly #splitter: FrameSplitter
  readonly #writes: WriteQueue
  /** Settles when the connection is over; rejects if it did not end in an orderly way. */
  readonly #over = Promise.withResolvers<void>()
  readonly #streamClosed = Promise.withResolvers<void>()
  #receiver: Receiver | undefined
  #delivering = false
  #state: State = 'open'
  #bytesReceived = 0

  constructor(components: StreamConnectionComponents, options: StreamConnectionOptions) {
    this.#stream = components.stream
    this.#clock = components.clock
    this.info = components.info
    this.peerName = components.peerName
    this.#explain = components.explain
    this.#options = options
    this.#splitter = new FrameSplitter(options.maxFrameBytes)
    this.#writes = new WriteQueue(components.stream, components.clock, {
      stallTimeoutMs: options.sendStallTimeoutMs,
      onStalled: (error) => this.#fail(error),
    })
    // Nobody may ever call receive(); a connection that broke before is no unhandled rejection.
    this.#over.promise.catch(() => {})

    const stream = this.#stream
    stream.on('error', (error: Error) => this.#fail(this.#explain(error)))
    stream.on('end', () => this.#ended())
    stream.on('close', () => {
      this.#streamClosed.resolve()
      if (this.#state === 'open')
        this.#fail(new TransportError('ERR_CONNECTION_LOST', 'the connection was cut'))
    })
  }

  get bytesSent(): number {
    return this.#writes.bytesWritten
  }

  get bytesReceived(): number {
    return this.#bytesReceived
  }

  get maxFrameBytes(): number {
    return this.#splitter.maxFrameBytes
  }

  set maxFrameBytes(bytes: number) {
    this.#splitter.maxFrameBytes = bytes
  }

  send(frame: readonly Uint8Array[], options?: AbortOptions): Promise<void> {
    return this.#writes.push(frame, options?.signal)
  }

  receive(receiver: Receiver): Promise<void> {
    if (this.#receiver !== undefined) throw new TypeError('receive() was called before')
    this.#receiver = receiver
    if (this.#state === 'open') {
      this.#stream.on('data', (chunk: Uint8Array) => {
        if (this.#state !== 'open') return
        this.#bytesReceived += chunk.length
        this.#splitter.push(chunk)
        this.#deliver(receiver)
      })
    }
    return this.#over.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing'
      await this.#drain()
      this.#writes.fail(new TransportError('ERR_CONNECTION_CLOSED', 'the connection was closed'))
      this.#state = 'closed'
      this.#stream.destroy()
      this.#over.resolve()
    }
    await this.#streamClosed.promise
  }

  /** Lets what was queued go out and the peer see an orderly end, as far as the close timeout allows. */
  async #drain(): Promise<void> {
    const late = Promise.withResolvers<void>()
    using _deadline = this.#clock.setTimer(this.#options.closeTimeoutMs, late.resolve)
    await Promise.race([this.#writes.idle(), late.promise, this.#streamClosed.promise])
    this.#stream.end()
    // Read on, discarding: closing with unread data would reset the link and might lose our last frames.
    this.#stream.resume()
    await Promise.race([this.#streamClosed.promise, late.promise])
  }

  #deliver(receiver: Receiver): void {
    try {
      while (!this.#delivering && this.#state === 'open') {
        const frame = this.#splitter.next()
        if (frame === undefined) return
        const pending = receiver(frame)
        if (pending === undefined) continue
        this.#delivering = true
        this.#stream.pause()
        pending.then(
          () => this.#delivered(receiver),
          (error: unknown) => this.#fail(toError(error)),
        )
      }
    } catch (error) {
      this.#fail(toError(error))
    }
  }

  #delivered(receiver: Receiver): void {
    this.#delivering = false
    this.#deliver(receiver)
    if (!this.#delivering && this.#state === 'open') this.#stream.resume()
  }

  #ended(): void {
    if (this.#state !== 'open') return
    if (!this.#splitter.isEmpty) {
      this.#fail(new TransportError('ERR_CONNECTION_LOST', 'the peer closed within a frame'))
      return
    }
    this.#state = 'closed'
    this.#writes.fail(new TransportError('ERR_CONNECTION_CLOSED', 'the peer closed the connection'))
    this.#stream.destroy()
    this.#over.resolve()
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return
    const wasClosing = this.#state === 'closing'
    this.#state = 'closed'
    this.#writes.fail(error)
    this.#stream.destroy()
    if (wasClosing) this.#over.resolve()
    else this.#over.reject(error)
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
