import type { Cell, CellRequest } from '@hanse/cellnet'
import type { AbortOptions } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import { CHANNEL } from '../names.ts'

/** Public properties that a cell tells with its messages (`spec/session.md` §1.4). */
export type PublicProperties = ReadonlyMap<string, FobsValue>

export interface AuxRequest {
  readonly origin: string
  readonly topic: string
  readonly body: Shareable
  /** What the sender says of itself: claims, not proofs. */
  readonly peerProperties: PublicProperties
  readonly cellRequest: CellRequest
}

export type AuxHandler = (
  request: AuxRequest,
  options: { readonly signal: AbortSignal },
) => Shareable | undefined | Promise<Shareable | undefined>

/** Return codes inside a Shareable that our own code answers with; the full list is in `spec/session.md` §1.3. */
export type ApplicationReturnCode =
  | 'OK'
  | 'ERROR'
  | 'BAD_REQUEST_DATA'
  | 'MISSING_PEER_CONTEXT'
  | 'EXECUTION_EXCEPTION'
  | 'TASK_ABORTED'
  | 'TASK_UNKNOWN'
  | 'TOPIC_UNKNOWN'
  | 'TIMEOUT'
  | 'COMMUNICATION_ERROR'
  | 'SERVER_NOT_READY'
  // What a cell refused keeps the cell's word for it.
  | 'unauthenticated'
  | 'abort_run'
  | 'invalid_request'
  | 'invalid_session'
  | 'service_unavailable'

/** What a cell's return code becomes for whoever sent an aux message (`spec/session.md` §6.8); `ERROR` for others. */
const CODE_OF_CELL: ReadonlyMap<string, ApplicationReturnCode> = new Map([
  ['timeout', 'TIMEOUT'],
  ['comm_error', 'COMMUNICATION_ERROR'],
  ['target_unreachable', 'COMMUNICATION_ERROR'],
  ['process_exception', 'EXECUTION_EXCEPTION'],
  ['authentication_error', 'unauthenticated'],
  ['unauthenticated', 'unauthenticated'],
  ['abort_run', 'abort_run'],
  ['invalid_request', 'invalid_request'],
  ['invalid_session', 'invalid_session'],
  ['service_unavailable', 'service_unavailable'],
])

/** An empty Shareable that only says how something went. */
export function outcome(returnCode: ApplicationReturnCode): Shareable {
  const body = new Shareable()
  body.headers.set('__rc__', returnCode)
  return body
}

/**
 * Serves one aux topic, or every other one with `'*'` (`spec/session.md` §6.8). The reply carries our public
 * properties; a handler that returns nothing answers nothing.
 */
export function handleAux(
  cell: Cell,
  topic: string,
  ownProperties: PublicProperties,
  handler: AuxHandler,
): void {
  cell.handle(CHANNEL.aux, topic, async (request, options) => {
    const reply = await answer(request, handler, options)
    if (reply === undefined) return undefined
    const cookies =
      request.body instanceof Shareable ? request.body.headers.get('__cookie_jar__') : undefined
    if (cookies !== undefined) reply.headers.set('__cookie_jar__', cookies)
    reply.headers.set('__peer_ctx__', FLContext.ofPublic(ownProperties))
    return { body: reply }
  })
}

async function answer(
  request: CellRequest,
  handler: AuxHandler,
  options: { readonly signal: AbortSignal },
): Promise<Shareable | undefined> {
  const { body } = request
  if (!(body instanceof Shareable)) return outcome('BAD_REQUEST_DATA')
  const peerProperties = body.headers.get('__peer_props__')
  if (!(peerProperties instanceof Map) || peerProperties.size === 0)
    return outcome('MISSING_PEER_CONTEXT')
  return handler(
    {
      origin: request.origin,
      topic: request.topic,
      body,
      peerProperties: new Map(
        [...peerProperties].filter(
          (entry): entry is [string, FobsValue] => typeof entry[0] === 'string',
        ),
      ),
      cellRequest: request,
    },
    options,
  )
}

export interface AuxOptions extends AbortOptions {
  readonly timeoutMs?: number
  readonly optional?: boolean
}

/**
 * Sends an aux message and waits for its answer.
 * @returns the answering Shareable; a failure below becomes one with the code that stock gives it
 */
export async function requestAux(
  cell: Cell,
  target: string,
  topic: string,
  body: Shareable,
  ownProperties: PublicProperties,
  options: AuxOptions = {},
): Promise<Shareable> {
  const reply = await cell.request(
    target,
    CHANNEL.aux,
    topic,
    stamped(body, topic, ownProperties),
    options,
  )
  if (reply.returnCode !== 'ok') return outcome(CODE_OF_CELL.get(reply.returnCode) ?? 'ERROR')
  return reply.body instanceof Shareable ? reply.body : outcome('ERROR')
}

/** Sends an aux message that nobody answers. */
export async function notifyAux(
  cell: Cell,
  target: string,
  topic: string,
  body: Shareable,
  ownProperties: PublicProperties,
  options: AuxOptions = {},
): Promise<void> {
  await cell.notify(target, CHANNEL.aux, topic, stamped(body, topic, ownProperties), options)
}

function stamped(body: Shareable, topic: string, ownProperties: PublicProperties): Shareable {
  body.headers.set('__topic__', topic)
  body.headers.set('__peer_props__', new Map(ownProperties))
  return body
}

/** The application return code of a Shareable; absent means `OK`. */
export function returnCodeOf(body: Shareable): string {
  return body.textHeader('__rc__') ?? 'OK'
}
