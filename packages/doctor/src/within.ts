import type { Clock } from '@hanse/contract'

/** What `start` reports first, or `'timeout'`. */
export async function within<T>(
  clock: Clock,
  timeoutMs: number,
  start: (report: (result: T) => void) => void,
): Promise<T | 'timeout'> {
  const { promise, resolve } = Promise.withResolvers<T | 'timeout'>()
  using _deadline = clock.setTimer(timeoutMs, () => resolve('timeout'))
  start(resolve)
  return await promise
}
