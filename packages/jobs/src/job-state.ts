import type { JobState } from '@hanse/contract'

/** From each state, the states that may follow it (`spec/jobs.md` §4). Terminal states have none. */
const TRANSITIONS: Readonly<Record<JobState, readonly JobState[]>> = {
  SUBMITTED: [
    'DISPATCHED',
    'FINISHED:ABORTED',
    'FINISHED:CAN_NOT_SCHEDULE',
    'FINISHED:FAILED_TO_RUN',
  ],
  DISPATCHED: ['RUNNING', 'FINISHED:ABORTED', 'FINISHED:FAILED_TO_RUN', 'FINISHED:ABANDONED'],
  RUNNING: [
    'FINISHED:COMPLETED',
    'FINISHED:ABORTED',
    'FINISHED:EXECUTION_EXCEPTION',
    'FINISHED:ABNORMAL',
    'FINISHED:ABANDONED',
  ],
  'FINISHED:COMPLETED': [],
  'FINISHED:ABORTED': [],
  'FINISHED:EXECUTION_EXCEPTION': [],
  'FINISHED:ABNORMAL': [],
  'FINISHED:CAN_NOT_SCHEDULE': [],
  'FINISHED:FAILED_TO_RUN': [],
  'FINISHED:ABANDONED': [],
}

/** True if a job may go from one state to the other in one step. */
export function canFollow(from: JobState, to: JobState): boolean {
  return TRANSITIONS[from].includes(to)
}

/** True for states that a job never leaves; only then can its results be downloaded. */
export function isTerminal(state: JobState): boolean {
  return TRANSITIONS[state].length === 0
}

/** True while the job occupies sites: it counts against the server's limit and cannot be deleted. */
export function isActive(state: JobState): boolean {
  return state === 'DISPATCHED' || state === 'RUNNING'
}

/** The state in which a server job process leaves its job, from its exit code (`spec/jobs.md` §4). */
export function stateOfExit(exitCode: number): JobState {
  switch (exitCode) {
    case 0:
      return 'FINISHED:COMPLETED'
    case 9:
      return 'FINISHED:ABORTED'
    case 104:
      return 'FINISHED:ABNORMAL'
    default:
      return 'FINISHED:EXECUTION_EXCEPTION'
  }
}
