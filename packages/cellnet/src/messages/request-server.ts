import { hasCode, type Logger, PlatformError, messageOf as textOf } from '@hanse/contract'
import type { FobsRegistry, FobsValue } from '@hanse/fobs'
import type { CellReply, RequestHandler } from '../cell-api.ts'
import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue, textHeader } from '../headers.ts'
import type { ReportMisdeed } from '../misdeed.ts'
import type { KnownReturnCode, ReturnCode } from '../return-code.ts'
import type { Session } from '../sfm/session.ts'
import { decodeBody, type EncodedBody, encodeBody } from './body-codec.ts'
import { type CellMessage, requestIds } from './cell-message.ts'
import { type OutgoingMessage, priorityOf, type SendResult } from './outgoing-message.ts'

export interface RequestServerComponents {
  readonly self: string
  readonly logger: Logger
  readonly registry: FobsRegistry
  readonly send: (message: OutgoingMessage) => Promise<SendResult>
  readonly report: ReportMisdeed
}

/** The work that one link gave us. */
interface LinkWork {
  readonly abort: AbortController
  running: number
}

const EMPTY: EncodedBody = { encoding: 'none', parts: [], length: 0 }

/** Runs handlers for requests that came as single messages, and answers (`spec/transport.md` §6.2, §6.3). */
export class RequestServer {
  readonly #components: RequestServerComponents
  readonly #maxPerLink: number
  readonly #work = new Map<Session | undefined, LinkWork>()
  readonly #running = new Set<Promise<void>>()

  constructor(components: RequestServerComponents, maxPerLink: number) {
    this.#components = components
    this.#maxPerLink = maxPerLink
  }

  /** Starts `handler`; the link goes on meanwhile. */
  serve(message: CellMessage, handler: RequestHandler): void {
    const work = this.#workOf(message.session)
    if (work.running >= this.#maxPerLink) {
      const reason = `${work.running} requests of this link are running`
      this.refuse(message, 'service_unavailable', reason)
      return
    }
    work.running += 1
    const run = this.#run(message, handler, work.abort.signal).finally(() => {
      work.running -= 1
      this.#running.delete(run)
    })
    this.#running.add(run)
  }

  reply(message: CellMessage, reply: CellReply): void {
    let body: EncodedBody
    try {
      body = encodeBody(reply.body, this.#components.registry)
    } catch (error) {
      this.#components.logger.error('a reply cannot be encoded', { error: textOf(error) })
      this.refuse(message, 'process_exception', 'the reply cannot be encoded')
      return
    }
    const secure = message.headers.get(HEADER.secure) === true
    const headers = new Map<string, HeaderValue>(Object.entries(reply.headers ?? {}))
    headers.set(HEADER.secure, secure)
    this.#sendReply(message, headers, body, reply.returnCode ?? 'ok', reply.error, secure)
  }

  /** Answers a request that is not served; whatever wants no answer gets none. */
  refuse(message: CellMessage, returnCode: ReturnCode, reason: string): void {
    if (message.type !== 'req' || message.headers.get(HEADER.replyExpected) !== true) return
    if (message.destination !== this.#components.self) {
      // Its origin believes such an answer from the destination only, or as a return.
      this.sendBack(message, returnCode, reason)
      return
    }
    this.#sendReply(message, new Map(), EMPTY, returnCode, reason, false)
  }

  /** Returns a request that cannot be passed on to where it came from (§4.6). */
  sendBack(message: CellMessage, returnCode: ReturnCode, reason: string): void {
    const original = new Map(message.headers)
    // Copies within copies could outgrow the header section.
    original.delete(HEADER.originalHeaders)
    const headers = new Map<string, HeaderValue>([
      [HEADER.returnCode, returnCode],
      [HEADER.error, reason],
      [HEADER.originalHeaders, original],
      [HEADER.destination, message.origin],
      [HEADER.requestId, requestIds(message.headers)],
      [HEADER.messageType, 'return'],
      [HEADER.returnReason, 'cant_forward'],
      [HEADER.payloadEncoding, 'none'],
    ])
    this.#sendTracked(
      {
        headers,
        payload: [],
        payloadBytes: 0,
        priority: 'control',
        secure: false,
        via: message.session,
      },
      () => {},
    )
  }

  /** Stops the handlers of a link that is lost: nobody waits for their answers. */
  onSessionClosed(session: Session): void {
    const work = this.#work.get(session)
    this.#work.delete(session)
    work?.abort.abort(new CellError('ERR_CLOSED', 'the link of the request was lost'))
  }

  /** Tells all handlers to stop; resolves when they have and all answers are out. */
  async close(): Promise<void> {
    for (const { abort } of this.#work.values())
      abort.abort(new CellError('ERR_CLOSED', 'the cell is closing'))
    await Promise.allSettled([...this.#running])
  }

  async #run(message: CellMessage, handler: RequestHandler, signal: AbortSignal): Promise<void> {
    const { channel, topic, origin, headers, payload } = message
    let body: FobsValue
    try {
      const encoding = textHeader(headers, HEADER.payloadEncoding)
      body = decodeBody(payload, encoding, this.#components.registry)
    } catch (error) {
      const fields = { channel, topic, origin, error: textOf(error) }
      this.#components.logger.warn('a request body is not usable', fields)
      this.#components.report(message.session?.link, 'body', bodyMisdeed(channel, topic, error))
      this.refuse(message, 'invalid_request', textOf(error))
      return
    }
    let reply: CellReply | undefined
    try {
      const link = message.session?.link
      reply = await handler({ channel, topic, origin, headers, body, link }, { signal })
    } catch (error) {
      reply = replyToError(error, this.#components.self)
      if (returnCodeOf(error) === undefined)
        this.#components.logger.error('a request handler failed', { channel, topic, origin, error })
    }
    if (reply !== undefined && headers.get(HEADER.replyExpected) === true)
      this.reply(message, reply)
  }

  #sendReply(
    request: CellMessage,
    headers: Map<string, HeaderValue>,
    body: EncodedBody,
    returnCode: ReturnCode,
    error: string | undefined,
    secure: boolean,
  ): void {
    headers.set(HEADER.optional, request.headers.get(HEADER.optional) === true)
    headers.set(HEADER.returnCode, returnCode)
    if (error !== undefined) headers.set(HEADER.error, error)
    headers.set(HEADER.channel, request.channel)
    headers.set(HEADER.topic, request.topic)
    headers.set(HEADER.destination, request.origin)
    headers.set(HEADER.requestId, request.headers.get(HEADER.requestId) ?? '')
    headers.set(HEADER.messageType, 'reply')
    headers.set(HEADER.payloadEncoding, body.encoding)
    const message: OutgoingMessage = {
      headers,
      payload: body.parts,
      payloadBytes: body.length,
      priority: priorityOf(body.length),
      secure,
      via: request.session,
    }
    this.#sendTracked(message, (result) => {
      this.#components.logger.warn('a reply could not be sent', {
        destination: request.origin,
        channel: request.channel,
        returnCode: result.returnCode,
        error: result.error,
      })
      if (result.returnCode === 'msg_too_big')
        this.refuse(request, 'msg_too_big', 'the reply is too large for one message')
      else if (secure) this.refuse(request, 'comm_error', 'the reply could not be encrypted')
    })
  }

  #sendTracked(
    message: OutgoingMessage,
    onFailed: (failure: Extract<SendResult, { kind: 'failed' }>) => void,
  ): void {
    const tracked = this.#components
      .send(message)
      .then(
        (result) => {
          if (result.kind === 'failed') onFailed(result)
        },
        (error: unknown) =>
          this.#components.logger.error('an answer could not be sent', { error: textOf(error) }),
      )
      .finally(() => this.#running.delete(tracked))
    this.#running.add(tracked)
  }

  #workOf(session: Session | undefined): LinkWork {
    const known = this.#work.get(session)
    if (known !== undefined) return known
    const work: LinkWork = { abort: new AbortController(), running: 0 }
    if (session?.isClosed === true) work.abort.abort()
    else this.#work.set(session, work)
    return work
  }
}

/** Says where and of which kind, not how exactly: details would make each attempt a kind of its own. */
export function bodyMisdeed(channel: string, topic: string, error: unknown): string {
  const code = error instanceof PlatformError ? ` (${error.code})` : ''
  return `the body of ${channel}/${topic} is not usable${code}`
}

const CODES: readonly (readonly [string, KnownReturnCode])[] = [
  ['ERR_INVALID_REQUEST', 'invalid_request'],
  ['ERR_SERVICE_UNAVAILABLE', 'service_unavailable'],
  ['ERR_INVALID_SESSION', 'invalid_session'],
  ['ERR_AUTHENTICATION', 'authentication_error'],
  ['ERR_ABORT_RUN', 'abort_run'],
]

/** Return code for what a handler threw, if it was meant to be one (§6.3). */
export function returnCodeOf(error: unknown): KnownReturnCode | undefined {
  return CODES.find(([code]) => hasCode(error, code))?.[1]
}

/** What a peer gets to know of an error: its text only if it was meant for peers. */
export function replyToError(error: unknown, self: string): CellReply {
  const returnCode = returnCodeOf(error)
  if (returnCode !== undefined) return { returnCode, error: textOf(error) }
  return { returnCode: 'process_exception', error: `the request failed in ${self}; see its log` }
}
