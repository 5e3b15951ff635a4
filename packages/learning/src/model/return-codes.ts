import type { Shareable } from '@hanse/session'

/** How a task went, in header `__rc__` (session.md §1.3); absent means `OK`. */
export const RETURN_CODES = [
  'OK',
  'BAD_PEER_CONTEXT',
  'BAD_REQUEST_DATA',
  'BAD_TASK_DATA',
  'COMMUNICATION_ERROR',
  'TIMEOUT',
  'ERROR',
  'EXECUTION_EXCEPTION',
  'EXECUTION_RESULT_ERROR',
  'HANDLER_EXCEPTION',
  'MISSING_PEER_CONTEXT',
  'RUN_MISMATCH',
  'TASK_ABORTED',
  'TASK_DATA_FILTER_ERROR',
  'TASK_RESULT_FILTER_ERROR',
  'TASK_UNKNOWN',
  'TASK_UNSUPPORTED',
  'TOPIC_UNKNOWN',
  'MODEL_UNRECOGNIZED',
  'VALIDATE_TYPE_UNKNOWN',
  'EMPTY_RESULT',
  'UNSAFE_JOB',
  'EARLY_TERMINATION',
  'SERVER_NOT_READY',
  'SERVICE_UNAVAILABLE',
] as const

export type ReturnCode = (typeof RETURN_CODES)[number]

const KNOWN: ReadonlySet<unknown> = new Set(RETURN_CODES)

/** The return code that a Shareable carries; what is no known code counts as `ERROR`. */
export function taskReturnCode(shareable: Shareable): ReturnCode {
  const code = shareable.headers.get('__rc__')
  if (code === undefined || code === null) return 'OK'
  return KNOWN.has(code) ? (code as ReturnCode) : 'ERROR' // membership was just checked
}
