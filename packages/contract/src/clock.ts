/** Time as a component: tests hand in one that they move by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
  /** Calls `callback` once after `delayMs`; disposing cancels. Does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Disposable
}

/** Wall-clock time and real timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer: unknown = setTimeout(callback, delayMs)
    // Node's timers are objects that can be told not to hold the process; a browser's are numbers.
    if (
      typeof timer === 'object' &&
      timer !== null &&
      'unref' in timer &&
      typeof timer.unref === 'function'
    )
      timer.unref()
    return { [Symbol.dispose]: () => clearTimeout(timer as number) }
  },
}
