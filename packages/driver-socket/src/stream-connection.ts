import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type AbortOptions,
  type Clock,
  type Connection,
  type ConnectionInfo,
  releaseMemory,
  TransportError,
} from '@hanse/contract'
import type { ChunkQueue } from './chunk-queue.ts'
import { frameMemory } from './frame-memory.ts'
import { FrameSplitter } from './frame-splitter.ts'
import { readInto } from './read-into.ts'
import { WriteQueue } from './write-queue.ts'

/** Cuts what arrives into frames, pulled one at a time. */
export interface FrameReader {
  /** Longest frame accepted, prefix included; checked when a frame's length is read. */
  maxFrameBytes: number
  /** True between two frames, when the stream may end. */
  readonly isEmpty: boolean
  /** What arrived and is in no frame yet. */
  readonly chunks: ChunkQueue
  /**
   * Takes out the next whole frame, which the caller owns.
   * @throws {TransportError} `ERR_FRAME_LENGTH`, `ERR_CONNECTION_LOST`
   */
  next(): Uint8Array | undefined
}

export interface StreamConnectionComponents {
  readonly stream: Duplex
  readonly clock: Clock
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
  /** Makes a readable error of what the stream reported. */
  readonly explain: (error: Error) => TransportError
  /** Default: SFM frames back to back, as TCP carries them. */
  readonly reader?: FrameReader | undefined
  /** Puts around an outgoing frame what the stream needs beside it. Default: nothing. */
  readonly wrap?: ((frame: readonly Uint8Array[]) => readonly Uint8Array[]) | undefined
  /** Asked between two frames: the fault, if the end that came was no orderly one. Default: only a cut is a fault. */
  readonly faultOf?: ((end: 'end' | 'cut') => TransportError | undefined) | undefined
  /**
   * Ends our side of the stream in an orderly way, before or after the peer ended its own; has to see to it that
   * the stream closes. Default: `stream.end()`, or `stream.destroy()` after the peer.
   */
  readonly leave?: (() => void) | undefined
  /** Ends the stream of a broken connection, and may tell the peer why. Default: destroys it. */
  readonly abandon?: ((error: Error) => void) | undefined
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
  readonly #components: StreamConnectionComponents
  readonly #reader: FrameReader
  readonly #writes: WriteQueue
  readonly #ownsFrames: boolean
  /** Settles when the connection is over; rejects if it did not end in an orderly way. */
  readonly #over = Promise.withResolvers<void>()
  readonly #streamClosed = Promise.withResolvers<void>()
  #receiver: Receiver | undefined
  #delivering = false
  /** How the stream ended while a frame was being delivered; streams may tell even if they are paused. */
  #pendingEnd: 'end' | 'cut' | undefined
  #state: State = 'open'
  #bytesReceived = 0

  constructor(components: StreamConnectionComponents, options: StreamConnectionOptions) {
    this.#stream = components.stream
    this.#clock = components.clock
    this.info = components.info
    this.peerName = components.peerName
    this.#components = components
    this.#options = options
    // A socket makes a new buffer for every read; other streams may pass on what somebody else still holds.
    const ownsChunks = components.stream instanceof Socket
    this.#reader = components.reader ?? new FrameSplitter(options.maxFrameBytes, { ownsChunks })
    this.#ownsFrames = ownsChunks
    this.#writes = new WriteQueue(components.stream, components.clock, {
      stallTimeoutMs: options.sendStallTimeoutMs,
      onStalled: (error) => this.#fail(error),
    })
    // Nobody may ever call receive(); a connection that broke before is no unhandled rejection.
    this.#over.promise.catch(() => {})

    const stream = this.#stream
    stream.on('error', (error: Error) => this.#fail(components.explain(error)))
    stream.on('end', () => this.#ended('end'))
    stream.on('close', () => {
      this.#streamClosed.resolve()
      if (this.#state === 'open') this.#ended('cut')
    })
  }

  get bytesSent(): number {
    return this.#writes.bytesWritten
  }

  get bytesReceived(): number {
    return this.#bytesReceived
  }

  get maxFrameBytes(): number {
    return this.#reader.maxFrameBytes
  }

  set maxFrameBytes(bytes: number) {
    this.#reader.maxFrameBytes = bytes
  }

  send(frame: readonly Uint8Array[], options?: AbortOptions): Promise<void> {
    return this.#writes.push(this.#components.wrap?.(frame) ?? frame, options?.signal)
  }

  receive(receiver: Receiver): Promise<void> {
    if (this.#receiver !== undefined) throw new TypeError('receive() was called before')
    this.#receiver = receiver
    if (this.#state === 'open') this.#read(receiver)
    return this.#over.promise
  }

  release(frame: Uint8Array): void {
    if (!frameMemory.giveBack(frame) && this.#ownsFrames) releaseMemory(frame)
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

  #read(receiver: Receiver): void {
    const stream = this.#stream
    const { chunks } = this.#reader
    const push = (chunk: Uint8Array): void => {
      if (this.#state !== 'open') return
      this.#bytesReceived += chunk.length
      chunks.push(chunk)
      this.#deliver(receiver)
    }
    const filled = (length: number): boolean => {
      if (this.#state !== 'open') return true
      this.#bytesReceived += length
      chunks.filled(length)
      this.#deliver(receiver)
      chunks.keep()
      // A pause right after a resume may not have come through.
      return !this.#delivering
    }
    if (!(stream instanceof Socket && readInto(stream, { space: () => chunks.space(), filled })))
      stream.on('data', push)
    else if (!this.#delivering) stream.resume()
  }

  /** Lets what was queued go out and the peer see an orderly end, as far as the close timeout allows. */
  async #drain(): Promise<void> {
    const late = Promise.withResolvers<void>()
    using _deadline = this.#clock.setTimer(this.#options.closeTimeoutMs, late.resolve)
    await Promise.race([this.#writes.idle(), late.promise, this.#streamClosed.promise])
    if (this.#components.leave === undefined) this.#stream.end()
    else this.#components.leave()
    // Read on, discarding: closing with unread data would reset the link and might lose our last frames.
    this.#stream.resume()
    await Promise.race([this.#streamClosed.promise, late.promise])
  }

  #deliver(receiver: Receiver): void {
    try {
      while (!this.#delivering && this.#state === 'open') {
        const frame = this.#reader.next()
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
    if (this.#delivering || this.#state !== 'open') return
    if (this.#pendingEnd === undefined) this.#stream.resume()
    else this.#ended(this.#pendingEnd)
  }

  #ended(end: 'end' | 'cut'): void {
    if (this.#state !== 'open') return
    if (this.#delivering) {
      this.#pendingEnd ??= end
      return
    }
    const fault = this.#faultOf(end)
    if (fault !== undefined) {
      this.#fail(fault)
      return
    }
    this.#state = 'closed'
    this.#writes.fail(new TransportError('ERR_CONNECTION_CLOSED', 'the peer closed the connection'))
    if (this.#components.leave === undefined) this.#stream.destroy()
    else this.#components.leave()
    this.#over.resolve()
  }

  #faultOf(end: 'end' | 'cut'): TransportError | undefined {
    if (!this.#reader.isEmpty)
      return new TransportError('ERR_CONNECTION_LOST', 'the peer closed within a frame')
    if (this.#components.faultOf !== undefined) return this.#components.faultOf(end)
    if (end === 'end') return undefined
    return new TransportError('ERR_CONNECTION_LOST', 'the connection was cut')
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return
    const wasClosing = this.#state === 'closing'
    this.#state = 'closed'
    this.#writes.fail(error)
    if (this.#components.abandon === undefined) this.#stream.destroy()
    else this.#components.abandon(error)
    if (wasClosing) this.#over.resolve()
    else this.#over.reject(error)
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
