import type { JsonObject, JsonValue } from '@hanse/contract'
import { COMMAND_STATUS, type CommandReply } from '@hanse/session'
import { AdminError } from './admin-error.ts'

/** What a command that went well said. */
export interface CommandOutcome {
  readonly texts: readonly string[]
  /** The first object of the reply. */
  readonly dict: JsonObject | undefined
  readonly token: string | undefined
  readonly meta: JsonObject
}

const SESSION_ENDED = 'session_inactive'
const UNKNOWN_COMMAND = 'Unknown command'

/**
 * Reads how a command ended: first by the status in the meta, then by the items (`spec/admin.md` §4, §10).
 * @throws {AdminError} with the server's own reason
 */
export function outcomeOf({ items, meta }: CommandReply, command: string): CommandOutcome {
  const texts: string[] = []
  let dict: JsonObject | undefined
  let token: string | undefined
  let error: string | undefined
  for (const item of items) {
    if (item.type === 'string' || item.type === 'success') texts.push(item.data)
    else if (item.type === 'dict') dict ??= item.data
    else if (item.type === 'token') token ??= item.data
    else if (item.type === 'error') {
      error = item.data
      break
    }
  }
  const status =
    textIn(meta, 'status') ?? (error === undefined ? COMMAND_STATUS.ok : COMMAND_STATUS.error)
  const reason = textIn(meta, 'info') || error || status
  if (status !== COMMAND_STATUS.ok || error !== undefined)
    throw failure(status, reason, error ?? '', command)
  return { texts, dict, token, meta }
}

function failure(status: string, reason: string, error: string, command: string): AdminError {
  if (status === COMMAND_STATUS.notAuthenticated || error.includes(SESSION_ENDED))
    return new AdminError('ERR_SESSION_ENDED', reason, 'run the command again')
  if (error.startsWith(UNKNOWN_COMMAND))
    return new AdminError(
      'ERR_COMMAND_UNKNOWN',
      `the server has no command ${command}`,
      'it may be a FLARE server, or another version of Hanse; ask its admin',
    )
  switch (status) {
    case COMMAND_STATUS.notAuthorized:
      return new AdminError(
        'ERR_NOT_AUTHORIZED',
        reason,
        "ask the server's admin; its policy is local/authorization.json of the server's kit",
      )
    case COMMAND_STATUS.invalidJobId:
      return new AdminError(
        'ERR_JOB_UNKNOWN',
        error === '' ? `no such job: ${reason}` : error,
        'hanse job list shows the jobs',
      )
    case COMMAND_STATUS.invalidJobDefinition:
      return new AdminError('ERR_JOB_INVALID', reason, 'mend the job folder and submit it again')
    case COMMAND_STATUS.jobRunning:
      return new AdminError(
        'ERR_JOB_RUNNING',
        error === '' ? reason : error,
        'wait for the job with hanse job wait, or end it with hanse job abort',
      )
    default:
      return new AdminError(
        'ERR_COMMAND_FAILED',
        `${command}: ${error === '' ? reason : error}`,
        "the server's log says more",
        { status },
      )
  }
}

function textIn(meta: JsonObject, key: string): string | undefined {
  const value: JsonValue | undefined = Object.hasOwn(meta, key) ? meta[key] : undefined
  return typeof value === 'string' ? value : undefined
}
