import { type Clock, TransportError } from '@hanse/contract'
import { frameMemory } from '@hanse/driver-socket'
import type { WebSocket } from 'ws'

/**
 * Longer frames leave in pieces, as fragments of one message, which cost the receiver a copy; each that is out counts as
 * progress. The chunk of a stream and its headers are one piece.
 */
const PIECE_BYTES = 1024 * 1024 + 64 * 1024
/** Bytes in flight from which on further pieces wait, so that control frames get between. */
const IN_FLIGHT_BYTES = 256 * 1024

interface QueuedFrame {
  readonly parts: readonly Uint8Array[]
  /** Where the next piece begins. */
  part: number
  offset: number
  /** Bytes that were not handed over yet. */
  left: number
  begun: boolean
  readonly signal: AbortSignal | undefined
  readonly onAbort: () => void
  /** Called once, with the error that ended it if any. */
  settle: (error?: unknown) => void
}

export interface MessageQueueOptions {
  /** Longest time without any progress before the peer counts as stuck. */
  readonly stallTimeoutMs: number
  readonly onStalled: (error: TransportError) => void
}

/** Sends frames as binary messages in order, with few bytes in flight, so that control frames get between. */
export class MessageQueue {
  readonly #websocket: WebSocket
  readonly #clock: Clock
  readonly #options: MessageQueueOptions
  /** Frames of which something was not handed over yet. */
  #waiting: QueuedFrame[] = []
  /** Frames that were handed over whole and are not out yet, in order. */
  readonly #leaving: QueuedFrame[] = []
  #inFlightBytes = 0
  #stalled: Disposable | undefined
  #failure: Error | undefined
  #idle: (() => void)[] = []
  bytesWritten = 0

  constructor(websocket: WebSocket, clock: Clock, options: MessageQueueOptions) {
    this.#websocket = websocket
    this.#clock = clock
    this.#options = options
  }

  /** Resolves when the whole frame left for the operating system; its parts are borrowed until then. */
  push(parts: readonly Uint8Array[], signal: AbortSignal | undefined): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const frame: QueuedFrame = {
        parts,
        part: 0,
        offset: 0,
        left: parts.reduce((sum, part) => sum + part.length, 0),
        begun: false,
        signal,
        onAbort: () => this.#abandon(frame),
        settle: (error) => {
          signal?.removeEventListener('abort', frame.onAbort)
          if (error === undefined) resolve()
          else reject(error)
        },
      }
      signal?.addEventListener('abort', frame.onAbort, { once: true })
      this.#waiting.push(frame)
      this.#pump()
    })
  }

  /** Resolves once nothing waits to be sent, or the queue failed. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Rejects everything that waits and all that comes. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#stalled?.[Symbol.dispose]()
    for (const frame of [...this.#leaving.splice(0), ...this.#waiting.splice(0)])
      frame.settle(error)
    this.#nowIdle()
  }

  /** A frame can be taken back only before its first byte left: half a message would break the link. */
  #abandon(frame: QueuedFrame): void {
    const index = this.#waiting.indexOf(frame)
    if (index < 0 || frame.begun) return
    this.#waiting.splice(index, 1)
    frame.settle(frame.signal?.reason)
    if (this.#isIdle()) this.#nowIdle()
  }

  #pump(): void {
    while (this.#inFlightBytes < IN_FLIGHT_BYTES && this.#failure === undefined) {
      const frame = this.#waiting[0]
      if (frame === undefined) return
      const { bytes, isOurs } = takePiece(frame)
      const { length } = bytes
      const isLast = frame.left === 0
      if (isLast) {
        this.#waiting.shift()
        this.#leaving.push(frame)
      }
      this.#inFlightBytes += length
      this.#stalled ??= this.#watch()
      this.#websocket.send(
        bytes,
        { binary: true, compress: false, fin: isLast },
        (error?: Error | null) => {
          if (isOurs) frameMemory.giveBack(bytes)
          // What ended the link is told by its events; they fail this queue.
          if (error === undefined || error === null) this.#left(length, isLast)
        },
      )
    }
  }

  #left(bytes: number, isLast: boolean): void {
    if (this.#failure !== undefined) return
    this.bytesWritten += bytes
    this.#inFlightBytes -= bytes
    this.#stalled?.[Symbol.dispose]()
    this.#stalled = this.#inFlightBytes > 0 ? this.#watch() : undefined
    if (isLast) this.#leaving.shift()?.settle()
    this.#pump()
    if (this.#isIdle()) this.#nowIdle()
  }

  #watch(): Disposable {
    const { stallTimeoutMs } = this.#options
    return this.#clock.setTimer(stallTimeoutMs, () =>
      this.#options.onStalled(
        new TransportError(
          'ERR_SEND_TIMEOUT',
          `the peer accepted no data for ${stallTimeoutMs} ms`,
          { stallTimeoutMs, bytesWritten: this.bytesWritten },
        ),
      ),
    )
  }

  #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#leaving.length === 0
  }

  #nowIdle(): void {
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}

/** The next piece of a frame: a view where it lies in one part, else joined, in memory that we are to give back. */
function takePiece(frame: QueuedFrame): { readonly bytes: Uint8Array; readonly isOurs: boolean } {
  frame.begun = true
  const views: Uint8Array[] = []
  let bytes = 0
  while (bytes < PIECE_BYTES && frame.part < frame.parts.length) {
    const part = frame.parts[frame.part] ?? new Uint8Array(0)
    const view = part.subarray(frame.offset, frame.offset + PIECE_BYTES - bytes)
    if (view.length > 0) views.push(view)
    bytes += view.length
    frame.offset += view.length
    if (frame.offset < part.length) break
    frame.part += 1
    frame.offset = 0
  }
  frame.left -= bytes
  const [only] = views
  if (only !== undefined && views.length === 1) return { bytes: only, isOurs: false }
  const joined = frameMemory.take(bytes)
  let at = 0
  for (const view of views) {
    joined.set(view, at)
    at += view.length
  }
  return { bytes: joined, isOurs: true }
}
