/** Some bytes of a file. */
export interface Stretch {
  readonly start: number
  readonly length: number
}

const PAGE_BYTES = 4096

/** Hands out stretches of a file, and those that were given back before it makes the file longer. */
export class Room {
  /** In order of their start; no two touch. */
  readonly #free: Stretch[] = []
  #end = 0

  /** Where the file ends. */
  get end(): number {
    return this.#end
  }

  /** A stretch of at least `bytes` bytes: the shortest that fits. */
  take(bytes: number): Stretch {
    const length = Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES
    let best = -1
    for (const [index, free] of this.#free.entries())
      if (free.length >= length && (best < 0 || free.length < (this.#free[best]?.length ?? 0)))
        best = index
    const found = this.#free[best]
    if (found === undefined) {
      const start = this.#end
      this.#end += length
      return { start, length }
    }
    const { start } = found
    if (found.length === length) this.#free.splice(best, 1)
    else this.#free[best] = { start: start + length, length: found.length - length }
    return { start, length }
  }

  /** Takes a stretch back, once, and joins it with its free neighbours. */
  giveBack({ start, length }: Stretch): void {
    let at = this.#free.findIndex((free) => free.start > start)
    if (at < 0) at = this.#free.length
    const before = this.#free[at - 1]
    const after = this.#free[at]
    const touchesBefore = before !== undefined && before.start + before.length === start
    const touchesAfter = after !== undefined && start + length === after.start
    const joined = {
      start: touchesBefore ? before.start : start,
      length: length + (touchesBefore ? before.length : 0) + (touchesAfter ? after.length : 0),
    }
    const from = touchesBefore ? at - 1 : at
    this.#free.splice(from, (touchesBefore ? 1 : 0) + (touchesAfter ? 1 : 0), joined)
  }
}
