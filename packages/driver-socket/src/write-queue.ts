import type { Duplex } from 'node:stream'
import { type Clock, TransportError } from '@hanse/contract'

/** Bytes handed to the stream at a time; each completed batch counts as progress. */
const BATCH_BYTES = 256 * 1024

interface QueuedFrame {
  readonly parts: readonly Uint8Array[]
  readonly signal: AbortSignal | undefined
  readonly onAbort: () => void
  /** Called once, with the error that ended it if any. */
  settle: (error?: unknown) => void
}

export interface WriteQueueOptions {
  /** Longest time without any progress before the stream counts as stuck. */
  readonly stallTimeoutMs: number
  readonly onStalled: (error: TransportError) => void
}

/**
 * Writes frames to a stream in order, gathering small ones and cutting large ones into batches, without copies.
 *
 * Batches make progress visible: a slow peer that still reads is not a stalled one. A stream's own buffer
 * would only tell when the whole frame is out.
 */
export class WriteQueue {
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #options: WriteQueueOptions
  #frames: QueuedFrame[] = []
  /** Where writing goes on in the first frame. */
  #part = 0
  #offset = 0
  #writing = false
  /** How many frames at the front the batch in flight touches. */
  #inBatch = 0
  #failure: Error | undefined
  #idle: (() => void)[] = []
  bytesWritten = 0

  constructor(stream: Duplex, clock: Clock, options: WriteQueueOptions) {
    this.#stream = stream
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
        signal,
        onAbort: () => this.#abandon(frame),
        settle: (error) => {
          signal?.removeEventListener('abort', frame.onAbort)
          if (error === undefined) resolve()
          else reject(error)
        },
      }
      signal?.addEventListener('abort', frame.onAbort, { once: true })
      this.#frames.push(frame)
      this.#pump()
    })
  }

  /** Resolves once nothing waits to be written, or the queue failed. */
  idle(): Promise<void> {
    if (this.#frames.length === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Rejects everything that waits and all that comes. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    const frames = this.#frames
    this.#frames = []
    for (const frame of frames) frame.settle(error)
    this.#nowIdle()
  }

  /** A frame can be taken back only before its first byte left: half a frame would break the stream. */
  #abandon(frame: QueuedFrame): void {
    const index = this.#frames.indexOf(frame)
    if (index < this.#inBatch) return
    this.#frames.splice(index, 1)
    frame.settle(frame.signal?.reason)
  }

  #pump(): void {
    if (this.#writing || this.#frames.length === 0 || this.#failure !== undefined) return
    this.#writing = true

    const batch: Uint8Array[] = []
    let bytes = 0
    let done = 0
    let part = this.#part
    let offset = this.#offset
    while (done < this.#frames.length && bytes < BATCH_BYTES) {
      const parts = this.#frames[done]?.parts ?? []
      const current = parts[part]
      if (current === undefined) {
        done += 1
        part = 0
        continue
      }
      const piece = current.subarray(offset, offset + BATCH_BYTES - bytes)
      if (piece.length > 0) batch.push(piece)
      bytes += piece.length
      offset += piece.length
      if (offset < current.length) continue
      offset = 0
      part += 1
    }
    // A frame that ended exactly at the batch's end is done too.
    if (done < this.#frames.length && part > 0 && part === this.#frames[done]?.parts.length) {
      done += 1
      part = 0
    }
    this.#inBatch = done + (part > 0 || offset > 0 ? 1 : 0)

    const stalled = this.#clock.setTimer(this.#options.stallTimeoutMs, () =>
      this.#options.onStalled(
        new TransportError(
          'ERR_SEND_TIMEOUT',
          `the peer accepted no data for ${this.#options.stallTimeoutMs} ms`,
          { stallTimeoutMs: this.#options.stallTimeoutMs, bytesWritten: this.bytesWritten },
        ),
      ),
    )
    const written = (error?: Error | null): void => {
      stalled[Symbol.dispose]()
      this.#writing = false
      // The stream's own error event carries the reason; it fails this queue.
      if (error !== undefined && error !== null) return
      this.bytesWritten += bytes
      this.#part = part
      this.#offset = offset
      const finished = this.#frames.splice(0, done)
      for (const frame of finished) frame.settle()
      if (this.#frames.length === 0) this.#nowIdle()
      this.#pump()
    }

    if (batch.length === 0) {
      written()
      return
    }
    this.#stream.cork()
    const last = batch.length - 1
    for (const [index, piece] of batch.entries()) {
      if (index === last) this.#stream.write(piece, written)
      else this.#stream.write(piece)
    }
    this.#stream.uncork()
  }

  #nowIdle(): void {
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
