import type { AbortOptions } from '@hanse/contract'
import { LearningError } from '../learning-error.ts'
import type { StandingTask, TaskOutcome } from '../tasks/task.ts'

/**
 * Waits until the task ends; an abort ends it.
 * @throws what a result handler threw, or `signal.reason`
 */
export async function awaitTask(
  task: StandingTask,
  { signal }: AbortOptions,
): Promise<TaskOutcome> {
  const onAbort = (): void => task.cancel('aborted')
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const outcome = await task.done
    signal?.throwIfAborted()
    if (outcome.cause !== undefined) throw outcome.cause
    if (
      outcome.status === 'cancelled' ||
      outcome.status === 'error' ||
      outcome.status === 'aborted'
    )
      throw new LearningError('ERR_TASK', `task ${task.name} ended with ${outcome.status}`)
    return outcome
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
