/**
 * Memory that is used again: new memory costs several times as much as filling it. What is given back is detached
 * from all views first, so nobody sees what comes there next.
 */
export class SpareMemory {
  readonly #maxBytes: number
  #spare: ArrayBuffer[] = []
  #bytes = 0

  /** @param maxBytes kept for later, in all */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** At least `bytes` bytes and not much more, if there are any; their content is whatever was there. */
  take(bytes: number): ArrayBuffer | undefined {
    const at = this.#spare.findIndex(
      ({ byteLength }) => byteLength >= bytes && byteLength <= bytes + bytes / 4,
    )
    if (at < 0) return undefined
    const [found] = this.#spare.splice(at, 1)
    this.#bytes -= found!.byteLength // findIndex found it
    return found
  }

  giveBack(buffer: ArrayBuffer): void {
    if (buffer.byteLength === 0) return
    const kept = buffer.transfer()
    // The oldest go first: lengths that are not asked for any more must not stay.
    while (this.#spare.length > 0 && this.#bytes + kept.byteLength > this.#maxBytes) {
      const oldest = this.#spare.shift()!
      this.#bytes -= oldest.byteLength
      oldest.transfer(0)
    }
    if (kept.byteLength > this.#maxBytes) {
      kept.transfer(0)
      return
    }
    this.#spare.push(kept)
    this.#bytes += kept.byteLength
  }
}
