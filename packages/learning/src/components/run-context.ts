import type { Clock, Logger } from '@hanse/contract'
import type { ContributionStores } from '../aggregation/contribution-store.ts'
import type { TaskPoster } from '../tasks/task.ts'
import type { RunEvents } from './run-events.ts'
import type { RunFiles } from './run-files.ts'
import type { RunState } from './run-state.ts'

/** What a server-side component may use. Handed in when it is made, the same object for all of a run. */
export interface RunContext {
  readonly jobId: string
  readonly jobName: string
  /** Sites of the job, in the order of their registration. */
  sites(): readonly string[]
  /** A component of the job by its id; `undefined` when the job has none. Complete once all are made. */
  component(id: string): unknown
  readonly state: RunState
  readonly events: RunEvents
  readonly files: RunFiles
  readonly contributions: ContributionStores
  readonly log: Logger
  readonly clock: Clock
  /** Uniform in [0, 1), for choices that need not be secret. */
  readonly random: () => number
}

/** What a workflow may use besides. */
export interface WorkflowContext extends RunContext {
  readonly workflowId: string
  readonly tasks: TaskPoster
  /** The run is over: stop soon, throw `signal.reason`. */
  readonly signal: AbortSignal
}
