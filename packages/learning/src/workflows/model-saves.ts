/**
 * Saves one model after the other while the next round goes on: a file that is safe on the disk takes longer than a
 * sum. Who ends a run waits for the last one.
 */
export class ModelSaves implements AsyncDisposable {
  #last: Promise<void> = Promise.resolve()

  /**
   * Begins a save once the one before it is done.
   * @param save of what it was given: the run's model may be another by the time it gets to it
   * @throws what went wrong with the one before
   */
  async begin(save: () => Promise<void>): Promise<void> {
    await this.#last
    this.#last = save()
    // Told to whoever waits for it.
    this.#last.catch(() => {})
  }

  /** Resolves when the last model is saved. @throws what went wrong with it */
  done(): Promise<void> {
    return this.#last
  }

  /** Waits for the last save, however it ends: nobody may write into a run's folder after its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last.catch(() => {})
  }
}
