import type { Clock } from '@hanse/contract'

/** Time that moves when a test says so. */
export class ManualClock implements Clock {
  #now = 0
  #timers = new Set<{ at: number; callback: () => void }>()

  now(): number {
    return this.#now
  }

  setTimer(delayMs: number, callback: () => void): Disposable {
    const timer = { at: this.#now + delayMs, callback }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => this.#timers.delete(timer) }
  }

  /** Timers that stand. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves on, calling what becomes due in order, and lets what it started run. */
  async advance(ms: number): Promise<void> {
    await settled()
    const end = this.#now + ms
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
      await settled()
    }
    this.#now = end
    await settled()
  }
}

/** Lets everything that is ready run: a turn of the event loop, after all microtasks. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
