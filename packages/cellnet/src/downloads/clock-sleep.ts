import type { Clock } from '@hanse/contract'

/**
 * Waits `delayMs` on the given clock.
 * @throws `signal.reason`
 */
export async function clockSleep(
  clock: Clock,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  using _timer = clock.setTimer(delayMs, resolve)
  try {
    await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
