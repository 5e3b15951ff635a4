import type { AbortOptions, Clock } from '@hanse/contract'

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it fires. */
export function abortableDelay(
  clock: Clock,
  delayMs: number,
  { signal }: AbortOptions = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      timer[Symbol.dispose]()
      reject(signal?.reason)
    }
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
