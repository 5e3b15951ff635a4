/** Lets acts on the same thing happen one after the other, in the order in which they were asked for. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Things on which something is done now. */
  get size(): number {
    return this.#last.size
  }

  /** Does `act` once all earlier acts on `key` are over, whatever came of them. */
  take<Result>(key: string, act: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const result = before.then(act)
    const over = result
      .catch(() => undefined)
      .then(() => {
        if (this.#last.get(key) === over) this.#last.delete(key)
      })
    this.#last.set(key, over)
    return result
  }
}
