import type { Clock } from '@hanse/contract'

/** A deadline that can be pushed back cheaply: renewing only notes the time, it starts no timer. */
export class StageTimer implements Disposable {
  readonly #clock: Clock
  readonly #durationMs: number
  readonly #onElapsed: () => void
  #deadline: number
  #timer: Disposable | undefined

  constructor(clock: Clock, durationMs: number, onElapsed: () => void) {
    this.#clock = clock
    this.#durationMs = durationMs
    this.#onElapsed = onElapsed
    this.#deadline = clock.now() + durationMs
    this.#arm(durationMs)
  }

  /** The full duration counts anew from now. */
  renew(): void {
    this.#deadline = this.#clock.now() + this.#durationMs
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => {
      const leftMs = this.#deadline - this.#clock.now()
      if (leftMs > 0) this.#arm(leftMs)
      else this.#onElapsed()
    })
  }
}
