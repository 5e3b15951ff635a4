import type { Clock } from '@hanse/contract'

interface Timer {
  readonly at: number
  readonly callback: () => void
}

/** Lets everything that is ready run, promises and macrotasks alike. */
export async function settle(turns = 3): Promise<void> {
  for (let turn = 0; turn < turns; turn++)
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
}

/** A clock that the test moves; nothing happens by itself. */
export class ManualClock implements Clock {
  #now = 1_700_000_000_000
  readonly #timers = new Set<Timer>()

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size
  }

  now(): number {
    return this.#now
  }

  setTimer(delayMs: number, callback: () => void): Disposable {
    const timer: Timer = { at: this.#now + delayMs, callback }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => this.#timers.delete(timer) }
  }

  /** Moves on, running timers in order and letting their consequences happen before the next one. */
  async advance(durationMs: number): Promise<void> {
    const end = this.#now + durationMs
    await settle()
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end)
      const next = due.sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
      await settle()
    }
    this.#now = end
  }
}
