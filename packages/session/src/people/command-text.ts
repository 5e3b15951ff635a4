import type { JsonObject, JsonValue } from '@hanse/contract'
import { SessionError } from '../session-error.ts'

/** Channel and topics between people and the server (`spec/admin.md` §13). */
export const PEOPLE = {
  channel: 'hci_channel',
  commandTopic: 'command',
  expiredTopic: 'SESSION_EXPIRED',
  uploadChannel: 'hci.upload',
  uploadTopic: 'folder',
} as const

/** How a command ended, as its meta says it (`spec/admin.md` §4). */
export const COMMAND_STATUS = {
  ok: 'ok',
  syntaxError: 'syntax_error',
  notAuthorized: 'not_authorized',
  notAuthenticated: 'not_authenticated',
  error: 'error',
  internalError: 'internal_error',
  invalidTarget: 'invalid_target',
  invalidJobDefinition: 'invalid_job_def',
  invalidJobId: 'invalid_job_id',
  jobRunning: 'job_running',
  jobNotRunning: 'job_not_running',
  clientsRunning: 'clients_running',
  noJobs: 'no_jobs',
  noJobComponents: 'no_job_components',
  noReply: 'no_reply',
  noClients: 'no_clients',
  submitTokenConflict: 'submit_token_conflict',
  submitTokenJobDeleted: 'submit_token_job_deleted',
} as const

export type CommandStatus = (typeof COMMAND_STATUS)[keyof typeof COMMAND_STATUS]

/** One item of a reply, in the order of production. */
export type ReplyItem =
  | {
      readonly type: 'string' | 'success' | 'error' | 'token' | 'command' | 'shutdown'
      readonly data: string
    }
  | { readonly type: 'dict'; readonly data: JsonObject }
  /** Row 0 is the header, in upper case. */
  | { readonly type: 'table'; readonly rows: readonly (readonly (string | null)[])[] }

export interface CommandRequest {
  readonly command: string
  readonly token: string | undefined
  readonly meta: JsonObject
}

export interface CommandReply {
  readonly items: readonly ReplyItem[]
  readonly meta: JsonObject
}

/** Longest request or reply text that is read; logs of several sites are the longest. */
const MAX_COMMAND_TEXT_CHARACTERS = 64 * 1024 * 1024

/** @param now for the `time` member: stock's text form, in UTC here */
export function writeCommandRequest(request: CommandRequest, now: Date): string {
  const data: JsonValue[] = [{ type: 'command', data: request.command }]
  if (request.token !== undefined) data.push({ type: 'token', data: request.token })
  return JSON.stringify({ time: timeText(now), data, meta: request.meta })
}

/** @throws {SessionError} `ERR_MESSAGE_SHAPE` */
export function readCommandRequest(text: unknown): CommandRequest {
  const { data, meta } = readText(text, 'command')
  let command: string | undefined
  let token: string | undefined
  for (const item of data) {
    if (!isMembers(item) || typeof item['data'] !== 'string') continue
    if (item['type'] === 'command') command ??= item['data']
    if (item['type'] === 'token') token ??= item['data']
  }
  if (command === undefined) throw malformed('command', 'it names no command')
  return { command, token, meta }
}

export function writeCommandReply({ items, meta }: CommandReply, now: Date): string {
  return JSON.stringify({ time: timeText(now), data: items, meta })
}

/** @throws {SessionError} `ERR_MESSAGE_SHAPE` */
export function readCommandReply(text: unknown): CommandReply {
  const { data, meta } = readText(text, 'reply')
  return { items: data.map((item) => readItem(item)), meta }
}

function readItem(item: JsonValue): ReplyItem {
  if (!isMembers(item)) throw malformed('reply', 'an item is no object')
  const { type, data, rows } = item as { type?: JsonValue; data?: JsonValue; rows?: JsonValue }
  switch (type) {
    case 'string':
    case 'success':
    case 'error':
    case 'token':
    case 'command':
    case 'shutdown':
      if (typeof data !== 'string') throw malformed('reply', `an item of type ${type} has no text`)
      return { type, data }
    case 'dict':
      if (!isMembers(data)) throw malformed('reply', 'an item of type dict has no object')
      return { type, data }
    case 'table':
      if (!Array.isArray(rows)) throw malformed('reply', 'a table has no rows')
      return { type, rows: rows.map((row: JsonValue) => readRow(row)) }
    default:
      throw malformed('reply', 'an item has an unknown type')
  }
}

function readRow(row: JsonValue): readonly (string | null)[] {
  if (!Array.isArray(row)) throw malformed('reply', 'a row of a table is no array')
  // Stock's cells are texts, but for numbers that some handlers forget to write as text.
  return row.map((cell: JsonValue) =>
    cell === null ? null : typeof cell === 'string' ? cell : JSON.stringify(cell),
  )
}

function readText(
  text: unknown,
  what: string,
): { readonly data: readonly JsonValue[]; readonly meta: JsonObject } {
  if (typeof text !== 'string') throw malformed(what, 'it is no text')
  if (text.length > MAX_COMMAND_TEXT_CHARACTERS)
    throw malformed(
      what,
      `it has ${text.length} characters; at most ${MAX_COMMAND_TEXT_CHARACTERS} are read`,
    )
  let value: JsonValue
  try {
    value = JSON.parse(text) as JsonValue
  } catch {
    throw malformed(what, 'it is no JSON')
  }
  if (!isMembers(value)) throw malformed(what, 'it is no JSON object')
  const data = value['data'] ?? []
  const meta = value['meta'] ?? {}
  if (!Array.isArray(data)) throw malformed(what, 'its data is no array')
  if (!isMembers(meta)) throw malformed(what, 'its meta is no object')
  return { data: data as readonly JsonValue[], meta }
}

function isMembers(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function timeText(now: Date): string {
  return `${now.toISOString().slice(0, -1).replace('T', ' ')}000`
}

function malformed(what: string, why: string): SessionError {
  return new SessionError('ERR_MESSAGE_SHAPE', `a ${what} text cannot be read: ${why}`)
}
