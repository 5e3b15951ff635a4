import type { AbortOptions } from '@hanse/contract'
import type { ServerApp } from '../catalogue/build-app.ts'
import type { RunContext } from '../components/run-context.ts'
import type { TaskBoard } from '../tasks/task-board.ts'

/**
 * Runs an app's workflows one after the other (jobs.md §4.3): tells components that the run begins and, at
 * its end, also after a failure, that it ends. The board is left to its owner, which tells sites that the
 * run is over.
 * @param onWorkflow called as each one begins, and with `undefined` after the last
 * @throws what a workflow throws; `signal.reason` when the run is aborted
 */
export async function runWorkflows(
  app: ServerApp,
  {
    context,
    board,
    onWorkflow,
  }: {
    readonly context: RunContext
    readonly board: TaskBoard
    readonly onWorkflow?: (current: ServerApp['workflows'][number] | undefined) => void
  },
  { signal }: AbortOptions & { readonly signal: AbortSignal },
): Promise<void> {
  await context.events.fire({ type: 'run-started' })
  try {
    for (const current of app.workflows) {
      signal.throwIfAborted()
      board.startWorkflow(current.id)
      onWorkflow?.(current)
      context.log.info('workflow started', { workflow: current.id })
      await current.workflow.run({ ...context, workflowId: current.id, tasks: board, signal })
      context.log.info('workflow finished', { workflow: current.id })
    }
    signal.throwIfAborted()
  } finally {
    onWorkflow?.(undefined)
    await context.events.fire({ type: 'run-ending' })
  }
}
