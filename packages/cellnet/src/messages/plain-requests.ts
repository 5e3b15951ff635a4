import { type AbortOptions, type Clock, type Logger, messageOf as textOf } from '@hanse/contract'
import type { FobsRegistry } from '@hanse/fobs'
import type { ReplyMessage, RequestOptions } from '../cell-api.ts'
import { HEADER, type HeaderValue, textHeader } from '../headers.ts'
import type { PeerLink } from '../peer-link.ts'
import type { ReturnCode } from '../return-code.ts'
import type { Session } from '../sfm/session.ts'
import { decodeBody, type EncodedBody, encodeBody } from './body-codec.ts'
import { type CellMessage, requestIds } from './cell-message.ts'
import {
  type OutgoingMessage,
  priorityOf,
  type RoutedMessage,
  type SendFailure,
  type SendResult,
} from './outgoing-message.ts'
import { type RequestOutcome, RequestTable } from './request-table.ts'

const DEFAULT_TIMEOUT_MS = 10_000

export interface PlainRequestsComponents {
  readonly self: string
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: FobsRegistry
  /** A UUID version 4. */
  readonly randomId: () => string
  readonly sessionOf: (link: PeerLink) => Session | undefined
  readonly route: (message: OutgoingMessage) => RoutedMessage
  readonly transmit: (
    message: OutgoingMessage,
    session: Session | undefined,
    options?: AbortOptions,
  ) => Promise<SendResult>
}

/** Requests of our own that travel as single messages, and the replies to them (`spec/transport.md` §6). */
export class PlainRequests {
  readonly #components: PlainRequestsComponents
  readonly #table: RequestTable
  #closed = false

  constructor(components: PlainRequestsComponents, maxPending: number) {
    this.#components = components
    this.#table = new RequestTable(components.clock, maxPending)
  }

  /** Sends one request to each target, its body encoded once, and waits for all outcomes. */
  async request(
    targets: readonly string[],
    channel: string,
    topic: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<Map<string, ReplyMessage>> {
    options.signal?.throwIfAborted()
    const requestId = this.#components.randomId()
    let encoded: EncodedBody
    try {
      encoded = encodeBody(body, this.#components.registry)
    } catch (error) {
      const failure = `the body cannot be encoded: ${textOf(error)}`
      return new Map(targets.map((target) => [target, this.#failure('invalid_request', failure)]))
    }
    const replies = await Promise.all(
      [...new Set(targets)].map(
        async (target): Promise<[string, ReplyMessage]> => [
          target,
          await this.#request(target, channel, topic, requestId, encoded, options),
        ],
      ),
    )
    return new Map(replies)
  }

  /** Sends one message that wants no reply. */
  async notify(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<ReturnCode> {
    let encoded: EncodedBody
    try {
      encoded = encodeBody(body, this.#components.registry)
    } catch (error) {
      this.#components.logger.warn('a notification cannot be encoded', { error: textOf(error) })
      return 'invalid_request'
    }
    const message = requestMessage(target, channel, topic, undefined, encoded, options)
    const routed = this.#components.route(message)
    if (routed.kind === 'failed') return routed.returnCode
    const session = routed.kind === 'hop' ? routed.session : undefined
    const result = await this.#components.transmit(message, session, options)
    return result.kind === 'sent' ? 'ok' : result.returnCode
  }

  /** Hands a reply or return to whoever waits for it. */
  deliver(message: CellMessage): void {
    let target = message.origin
    if (message.type === 'return') {
      const original = message.headers.get(HEADER.originalHeaders)
      target = (original instanceof Map && textHeader(original, HEADER.destination)) || ''
    }
    for (const requestId of requestIds(message.headers))
      if (!this.#table.answer(requestId, target, message))
        this.#components.logger.debug('a reply that nobody waits for was dropped', { requestId })
  }

  /** Fails what went out over a link that is lost: its reply would have come back over it. */
  failVia(session: Session, reason: string): void {
    this.#table.failVia(session, reason)
  }

  /** Fails what went out to cells that a link behind ours led to. */
  failTo(isMeant: (target: string) => boolean, reason: string): void {
    this.#table.failTo(isMeant, reason)
  }

  close(): void {
    this.#closed = true
    this.#table.failAll('the cell is closing')
  }

  async #request(
    target: string,
    channel: string,
    topic: string,
    requestId: string,
    body: EncodedBody,
    options: RequestOptions,
  ): Promise<ReplyMessage> {
    if (this.#closed) return this.#failure('comm_error', 'the cell is closed')
    if (this.#table.isFull)
      return this.#failure('comm_error', `${this.#table.size} requests are under way; no more`)
    const via = options.via && this.#components.sessionOf(options.via)
    if (options.via !== undefined && via === undefined)
      return this.#failure('target_unreachable', `the link to ${options.via.fqcn} is gone`)
    const request = requestMessage(target, channel, topic, requestId, body, options)
    const message = { ...request, via }
    const routed = this.#components.route(message)
    if (routed.kind === 'failed') return this.#failure(routed.returnCode, routed.error)

    const session = routed.kind === 'hop' ? routed.session : undefined
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const { outcome, cancel } = this.#table.wait(requestId, target, session, timeoutMs)
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      // A reply may overtake the news that the request was written; a failure to send ends the wait.
      const unsent = this.#components
        .transmit(message, session, options)
        .then(
          (result): Promise<RequestOutcome | SendFailure> =>
            result.kind === 'failed' ? Promise.resolve(result) : outcome,
        )
      const ended = await Promise.race([outcome, unsent, aborted.promise])
      if (ended.kind === 'failed') return this.#failure(ended.returnCode, ended.error)
      return this.#readReply(ended.message)
    } finally {
      cancel()
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  #readReply({ headers, origin, payload }: CellMessage): ReplyMessage {
    try {
      const encoding = textHeader(headers, HEADER.payloadEncoding)
      return {
        returnCode: textHeader(headers, HEADER.returnCode) ?? 'ok',
        error: textHeader(headers, HEADER.error),
        headers,
        body: decodeBody(payload, encoding, this.#components.registry),
        origin,
      }
    } catch (error) {
      return this.#failure('comm_error', `the reply of ${origin} is not usable: ${textOf(error)}`)
    }
  }

  #failure(returnCode: ReturnCode, error: string): ReplyMessage {
    return { returnCode, error, headers: new Map(), body: null, origin: this.#components.self }
  }
}

function requestMessage(
  target: string,
  channel: string,
  topic: string,
  requestId: string | undefined,
  body: EncodedBody,
  options: RequestOptions,
): OutgoingMessage {
  const headers = new Map<string, HeaderValue>(Object.entries(options.headers ?? {}))
  headers.set(HEADER.topic, topic)
  headers.set(HEADER.channel, channel)
  headers.set(HEADER.destination, target)
  if (requestId === undefined) headers.delete(HEADER.requestId)
  else headers.set(HEADER.requestId, requestId)
  headers.set(HEADER.replyExpected, requestId !== undefined)
  headers.set(HEADER.secure, options.secure ?? false)
  headers.set(HEADER.optional, options.optional ?? false)
  headers.set(HEADER.messageType, 'req')
  headers.set(HEADER.payloadEncoding, body.encoding)
  return {
    headers,
    payload: body.parts,
    payloadBytes: body.length,
    priority: priorityOf(body.length),
    secure: options.secure ?? false,
  }
}
