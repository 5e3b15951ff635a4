import type { Clock } from '@hanse/contract'

/** Calls one function at a steady pace while there is something to watch: one timer for thousands of streams. */
export class Ticker implements Disposable {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #onTick: (now: number) => boolean
  #timer: Disposable | undefined
  #disposed = false

  /** @param onTick returns whether to go on */
  constructor(clock: Clock, intervalMs: number, onTick: (now: number) => boolean) {
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#onTick = onTick
  }

  /** Starts ticking unless it does already. */
  wake(): void {
    if (this.#timer !== undefined || this.#disposed) return
    this.#timer = this.#clock.setTimer(this.#intervalMs, () => {
      this.#timer = undefined
      if (this.#onTick(this.#clock.now())) this.wake()
    })
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }
}
