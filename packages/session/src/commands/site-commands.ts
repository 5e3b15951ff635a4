import type { Cell, CellRequest } from '@hanse/cellnet'
import { type AbortOptions, type Logger, PlatformError } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { AdminMessage } from '../messages/admin-message.ts'
import { CHANNEL } from '../names.ts'
import { SIGNED_COMMAND_HEADER, writeSignedCommand } from '../people/signed-command.ts'
import type { ActingPerson } from './acting-person.ts'

/** Topics of the server's commands to a site (`spec/session.md` §5.2). */
export const COMMAND = {
  checkResource: 'scheduler.check_resource',
  cancelResource: 'scheduler.cancel_resource',
  deploy: 'train.deploy',
  startJob: 'train.start_job',
  abort: 'train.abort',
  deleteRun: 'train.delete_run',
  notifyJobStatus: 'train.notify_job_status',
  checkStatus: 'train.check_status',
  reportVersion: 'sys.report_version',
  reportResources: 'resource_manager.report_resources',
  reportEnvironment: 'sys.report_env',
  configureSiteLog: 'sys.configure_site_log',
  configureJobLog: 'train.configure_job_log',
  getScopes: 'train.get_scopes',
  shutdown: 'train.shutdown',
  restart: 'train.restart',
  showStats: 'info.show_stats',
  showErrors: 'info.show_errors',
  resetErrors: 'info.reset_errors',
} as const

/** Headers of an AdminMessage (`spec/session.md` §5.1). */
export const COMMAND_HEADER = {
  jobId: 'job_id',
  jobMeta: 'job_meta',
  appName: 'app_name',
  adminCommand: 'admin_command',
  requireAuthorization: 'require_authz',
  userName: '_userName',
  userOrganization: '_userOrg',
  userRole: '_userRole',
  submitterName: '_submitterName',
  submitterOrganization: '_submitterOrg',
  submitterRole: '_submitterRole',
  reservation: '_resource_reserve_token',
  returnCode: '_rtnCode',
  /** In an answer: id of the message it answers. */
  reference: '_refMsgId',
} as const

/** What stock puts before the text of a start that failed, under an ok code. */
const ERROR_TEXT_PREFIX = 'NVFLARE_ERROR'

export interface SiteCommand {
  readonly topic: string
  readonly headers: ReadonlyMap<string, FobsValue>
  readonly body: FobsValue
}

/** A site's answer: what it says, or why it did not do it. */
export type CommandOutcome =
  | { readonly ok: true; readonly body: FobsValue }
  | { readonly ok: false; readonly reason: string }

/** Headers that name who acts and whose job it is. */
export function personHeaders(user: ActingPerson, submitter: ActingPerson): [string, string][] {
  return [
    [COMMAND_HEADER.userName, user.name],
    [COMMAND_HEADER.userOrganization, user.organization],
    [COMMAND_HEADER.userRole, user.role],
    [COMMAND_HEADER.submitterName, submitter.name],
    [COMMAND_HEADER.submitterOrganization, submitter.organization],
    [COMMAND_HEADER.submitterRole, submitter.role],
    ...(user.signed === undefined
      ? []
      : [[SIGNED_COMMAND_HEADER, writeSignedCommand(user.signed)] as [string, string]]),
  ]
}

/** Gives one command to one site; never throws but for the signal. */
export async function commandSite(
  cell: Cell,
  target: string,
  command: SiteCommand,
  options: AbortOptions & { readonly timeoutMs: number },
): Promise<CommandOutcome> {
  const message = new AdminMessage(command.topic, command.body, new Map(command.headers))
  const reply = await cell.request(target, CHANNEL.admin, CHANNEL.admin, message, options)
  if (reply.returnCode !== 'ok')
    return {
      ok: false,
      reason: `no answer to ${command.topic}: ${reply.error ?? reply.returnCode}`,
    }
  return outcomeOf(reply.body, command.topic)
}

/** Reads an AdminMessage that answers a command. */
function outcomeOf(body: FobsValue, topic: string): CommandOutcome {
  if (!(body instanceof AdminMessage))
    return { ok: false, reason: `the answer to ${topic} is no admin message` }
  const text = typeof body.body === 'string' ? body.body : undefined
  const code = body.headers.get(COMMAND_HEADER.returnCode)
  if (code !== undefined && code !== '_ok')
    return { ok: false, reason: text ?? 'refused without a reason' }
  if (text?.startsWith(ERROR_TEXT_PREFIX)) return { ok: false, reason: text }
  return { ok: true, body: body.body }
}

/**
 * @returns the answer's body
 * @throws {PlatformError} to refuse with its message; of anything else the asker learns only that it happened
 */
export type SiteCommandHandler = (
  command: SiteCommand,
  request: CellRequest,
) => FobsValue | Promise<FobsValue>

export interface ServeCommandsComponents {
  readonly cell: Cell
  readonly logger: Logger
}

/**
 * Serves commands on channel `admin`. They are told apart by the topic of the AdminMessage: the cell's topic means
 * nothing there. `authorize` is asked before any handler and throws to refuse.
 */
export function serveCommands(
  { cell, logger }: ServeCommandsComponents,
  handlers: ReadonlyMap<string, SiteCommandHandler>,
  authorize: (command: SiteCommand, request: CellRequest) => void | Promise<void>,
): void {
  cell.handle(CHANNEL.admin, '*', async (request) => {
    const { body } = request
    if (!(body instanceof AdminMessage))
      return { returnCode: 'invalid_request', error: 'an admin message was expected' }
    const command: SiteCommand = { topic: body.topic, headers: body.headers, body: body.body }
    const handler = handlers.get(body.topic)
    if (handler === undefined)
      return { body: replyTo(body, '_error', `invalid_request: unknown command ${body.topic}`) }
    try {
      await authorize(command, request)
      return { body: replyTo(body, undefined, await handler(command, request)) }
    } catch (error) {
      if (error instanceof PlatformError) return { body: replyTo(body, '_error', error.message) }
      // Its words may hold paths and values of this place.
      logger.error('a command failed', { topic: body.topic, error })
      return { body: replyTo(body, '_error', 'exception_occurred: the log of this place says why') }
    }
  })
}

/** No code means ok: stock servers take every code beside a Shareable for an error, `_ok` too. */
function replyTo(command: AdminMessage, code: '_error' | undefined, body: FobsValue): AdminMessage {
  const headers = new Map<string, FobsValue>([[COMMAND_HEADER.reference, command.id]])
  if (code !== undefined) headers.set(COMMAND_HEADER.returnCode, code)
  return new AdminMessage(`reply_${command.topic}`, body, headers)
}

/** A header's text; empty if it is absent or of another type. */
export function commandText(command: SiteCommand, header: string): string {
  const value = command.headers.get(header)
  return typeof value === 'string' ? value : ''
}
