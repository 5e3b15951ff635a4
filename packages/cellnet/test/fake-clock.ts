import type { Clock } from '@hanse/contract'

export interface FakeClock extends Clock {
  /** Moves time on, firing what becomes due. */
  advance(ms: number): void
  readonly pending: number
}

/** Time that stands still until it is moved. */
export function fakeClock(start = 1_700_000_000_000): FakeClock {
  let now = start
  const timers = new Set<{ at: number; callback: () => void }>()
  return {
    now: () => now,
    setTimer(delayMs, callback) {
      const timer = { at: now + delayMs, callback }
      timers.add(timer)
      return { [Symbol.dispose]: () => void timers.delete(timer) }
    },
    advance(ms) {
      const until = now + ms
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        now = Math.max(now, due.at)
        timers.delete(due)
        due.callback()
      }
      now = until
    },
    get pending() {
      return timers.size
    },
  }
}
