import { TransportError } from '@hanse/contract'
import { ChunkQueue, type ChunkQueueOptions } from './chunk-queue.ts'

/** The length field counts the whole frame; the shortest frame is the bare prefix (`spec/transport.md` §3.1). */
const LENGTH_BYTES = 4
const PREFIX_BYTES = 16

/**
 * Cuts a byte stream into frames by their length field.
 *
 * Pulled one frame at a time, so that the limit can change between two frames that came in one chunk. Memory
 * grows with the bytes that arrived, never with the length a peer claims.
 */
export class FrameSplitter {
  /** Longest frame accepted, prefix included; checked when a frame's length is read. */
  maxFrameBytes: number
  readonly chunks: ChunkQueue
  /** Length of the frame at the front; 0 while unknown. */
  #length = 0

  constructor(maxFrameBytes: number, options: ChunkQueueOptions = {}) {
    this.maxFrameBytes = maxFrameBytes
    this.chunks = new ChunkQueue(options)
  }

  /** True between two frames, when the stream may end. */
  get isEmpty(): boolean {
    return this.chunks.length === 0
  }

  /**
   * Takes out the next whole frame: a view on the chunk it lies in, joined only if it spans several.
   * @throws {TransportError} `ERR_FRAME_LENGTH`, before waiting for the frame's body
   */
  next(): Uint8Array | undefined {
    if (this.#length === 0) {
      if (this.chunks.length < LENGTH_BYTES) return undefined
      const length = this.chunks.peekNumber(LENGTH_BYTES)
      if (length < PREFIX_BYTES || length > this.maxFrameBytes)
        throw new TransportError(
          'ERR_FRAME_LENGTH',
          `frame length ${length} is outside ${PREFIX_BYTES}…${this.maxFrameBytes}`,
          { length, maxFrameBytes: this.maxFrameBytes },
        )
      this.#length = length
      this.chunks.expect(length)
    }
    if (this.chunks.length < this.#length) return undefined
    const frame = this.chunks.take(this.#length)
    this.#length = 0
    return frame
  }
}
