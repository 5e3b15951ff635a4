/** Bytes that arrived in chunks, taken out in other lengths. */
export class ChunkQueue {
  #chunks: Uint8Array[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Takes over `chunk`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    // A plain view: the slice() of Node's Buffer shares memory where everyone expects a copy.
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
    this.#length += chunk.length
  }

  /** The first `count` bytes as an unsigned big-endian number; there have to be as many. */
  peekNumber(count: number): number {
    let number = 0
    let seen = 0
    for (const chunk of this.#chunks)
      for (const byte of chunk) {
        if (seen === count) return number
        number = number * 256 + byte
        seen += 1
      }
    return number
  }

  /** Takes out `length` bytes, of which there have to be as many: a view on their chunk, joined if they span several. */
  take(length: number): Uint8Array {
    this.#length -= length
    const first = this.#chunks[0]
    if (first !== undefined && first.length >= length) {
      if (first.length === length) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(length)
      return first.subarray(0, length)
    }

    // Not zero-filled: every byte is overwritten below, and the buffer is no slice of a shared pool.
    const joined = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
    let filled = 0
    let used = 0
    for (const chunk of this.#chunks) {
      const rest = length - filled
      if (chunk.length > rest) {
        joined.set(chunk.subarray(0, rest), filled)
        this.#chunks[used] = chunk.subarray(rest)
        break
      }
      joined.set(chunk, filled)
      filled += chunk.length
      used += 1
      if (filled === length) break
    }
    this.#chunks.splice(0, used)
    return joined
  }
}
