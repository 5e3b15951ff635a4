import { TransportError } from '@hanse/contract'

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
  #chunks: Uint8Array[] = []
  #buffered = 0
  /** Length of the frame at the front; 0 while unknown. */
  #length = 0

  constructor(maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes
  }

  /** True between two frames, when the stream may end. */
  get isEmpty(): boolean {
    return this.#buffered === 0
  }

  /** Takes over `chunk`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    // A plain view: the slice() of Node's Buffer shares memory where everyone expects a copy.
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
    this.#buffered += chunk.length
  }

  /**
   * Takes out the next whole frame: a view on the chunk it lies in, joined only if it spans several.
   * @throws {TransportError} `ERR_FRAME_LENGTH`, before waiting for the frame's body
   */
  next(): Uint8Array | undefined {
    if (this.#length === 0) {
      if (this.#buffered < LENGTH_BYTES) return undefined
      const length = this.#peekLength()
      if (length < PREFIX_BYTES || length > this.maxFrameBytes)
        throw new TransportError(
          'ERR_FRAME_LENGTH',
          `frame length ${length} is outside ${PREFIX_BYTES}…${this.maxFrameBytes}`,
          { length, maxFrameBytes: this.maxFrameBytes },
        )
      this.#length = length
    }
    if (this.#buffered < this.#length) return undefined
    const frame = this.#take(this.#length)
    this.#length = 0
    return frame
  }

  #peekLength(): number {
    let length = 0
    let seen = 0
    for (const chunk of this.#chunks)
      for (const byte of chunk) {
        length = length * 256 + byte
        seen += 1
        if (seen === LENGTH_BYTES) return length
      }
    return length
  }

  #take(length: number): Uint8Array {
    this.#buffered -= length
    const first = this.#chunks[0]
    if (first !== undefined && first.length >= length) {
      if (first.length === length) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(length)
      return first.subarray(0, length)
    }

    // Not zero-filled: every byte is overwritten below, and the buffer is no slice of a shared pool.
    const frame = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
    let filled = 0
    let used = 0
    for (const chunk of this.#chunks) {
      const rest = length - filled
      if (chunk.length > rest) {
        frame.set(chunk.subarray(0, rest), filled)
        this.#chunks[used] = chunk.subarray(rest)
        break
      }
      frame.set(chunk, filled)
      filled += chunk.length
      used += 1
      if (filled === length) break
    }
    this.#chunks.splice(0, used)
    return frame
  }
}
