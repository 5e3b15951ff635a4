/** Chunks shorter than this are copied together. */
const SMALL_BYTES = 64 * 1024

/**
 * Collects a body as a list of parts without joining them. Chunks of 64 KiB and more are kept as they are
 * (views on the received frame); shorter ones are copied into blocks of 64 KiB, since a short view would keep
 * a long frame alive and a peer could make us hold many times what it sent.
 */
export class PartList {
  readonly #parts: Uint8Array[] = []
  #block: Uint8Array | undefined
  #blockUsed = 0
  #length = 0

  /** Bytes collected so far. */
  get length(): number {
    return this.#length
  }

  /** Takes over `chunk`. */
  push(chunk: Uint8Array): void {
    this.#length += chunk.length
    if (chunk.length >= SMALL_BYTES) {
      this.#closeBlock()
      this.#parts.push(chunk)
      return
    }
    let rest = chunk
    while (rest.length > 0) {
      this.#block ??= new Uint8Array(SMALL_BYTES)
      const room = this.#block.length - this.#blockUsed
      const taken = rest.subarray(0, room)
      this.#block.set(taken, this.#blockUsed)
      this.#blockUsed += taken.length
      rest = rest.subarray(taken.length)
      if (this.#blockUsed === this.#block.length) this.#closeBlock()
    }
  }

  /** Hands over the parts; the list is empty afterwards. */
  take(): Uint8Array[] {
    this.#closeBlock()
    this.#length = 0
    return this.#parts.splice(0)
  }

  #closeBlock(): void {
    if (this.#block === undefined) return
    if (this.#blockUsed > 0) this.#parts.push(this.#block.subarray(0, this.#blockUsed))
    this.#block = undefined
    this.#blockUsed = 0
  }
}
