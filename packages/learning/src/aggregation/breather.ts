/** Elements that are summed before other work gets a turn: a few milliseconds. */
const ELEMENTS_PER_TURN = 1_000_000

/**
 * Keeps long sums from blocking a process: heartbeats, polls and other jobs' messages get a turn after a
 * fixed amount of work.
 */
export class Breather {
  #done = 0

  /** Counts work; after enough of it, resolves in a later turn of the event loop. */
  async worked(elements: number): Promise<void> {
    this.#done += elements
    if (this.#done < ELEMENTS_PER_TURN) return
    this.#done = 0
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
}
