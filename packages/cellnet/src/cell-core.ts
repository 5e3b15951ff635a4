import {
  type AbortOptions,
  type Clock,
  hasCode,
  type Logger,
  type MessageCipher,
  messageOf as textOf,
} from '@hanse/contract'
import { type FobsRegistry, type FobsValue, joinBytes } from '@hanse/fobs'
import type { CellReply, ReplyMessage, RequestHandler, RequestOptions } from './cell-api.ts'
import { CellError } from './cell-error.ts'
import { CHANNEL_CELL, TOPIC_BULK, TOPIC_BYE, TOPIC_STREAM_DATA } from './channels.ts'
import type { IncomingFilter, OutgoingFilter } from './filters.ts'
import { HEADER, type HeaderValue, textHeader } from './headers.ts'
import type {
  MessagePort,
  MessagePriority,
  OutgoingPortMessage,
  PortMessageHandler,
  UnreachableMessage,
} from './message-port.ts'
import { decodeBody, type EncodedBody, encodeBody } from './messages/body-codec.ts'
import { bulkItems } from './messages/bulk.ts'
import { type CellMessage, checkedMessage, requestIds } from './messages/cell-message.ts'
import { HandlerTable } from './messages/handler-table.ts'
import { MessageReceiver } from './messages/message-receiver.ts'
import { MessageSender } from './messages/message-sender.ts'
import type { OutgoingMessage, SendFailure, SendResult } from './messages/outgoing-message.ts'
import { type RequestOutcome, RequestTable } from './messages/request-table.ts'
import type { KnownReturnCode, ReturnCode } from './return-code.ts'
import type { PeerTable } from './routing/peer-table.ts'
import {
  KEY_EXCHANGE_CHANNEL,
  KEY_EXCHANGE_TOPIC,
  MessageSecurity,
} from './security/message-security.ts'
import type { Frame } from './sfm/frame.ts'
import type { Session } from './sfm/session.ts'

const DEFAULT_TIMEOUT_MS = 10_000
const KEY_EXCHANGE_TIMEOUT_MS = 10_000

export interface CellCoreComponents {
  readonly self: string
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: FobsRegistry
  readonly peers: PeerTable
  readonly cipher: MessageCipher | undefined
  readonly resolve: (fqcn: string) => string
  /** A UUID version 4. */
  readonly randomId: () => string
}

export interface CellCoreOptions {
  readonly maxMessageBytes: number
  readonly maxPendingRequests: number
  readonly maxRequestsPerLink: number
  readonly maxCertificates: number
  readonly certificateMaxAgeMs: number
  /** Whether messages for other cells are passed on. */
  readonly forwards: boolean
}

/** What is known of the work that a link gave us. */
interface LinkWork {
  readonly abort: AbortController
  running: number
}

/** Messages in and out: plain requests and replies, raw messages for the protocols on top, forwarding. */
export class CellCore implements MessagePort {
  readonly fqcn: string
  readonly #components: CellCoreComponents
  readonly #options: CellCoreOptions
  readonly #sender: MessageSender
  readonly #receiver: MessageReceiver
  readonly #security: MessageSecurity | undefined
  readonly #requests: RequestTable
  readonly #handlers = new HandlerTable<RequestHandler>()
  readonly #ports = new HandlerTable<PortMessageHandler>()
  readonly #unreachable = new Map<string, (message: UnreachableMessage) => void>()
  readonly #linkLost: ((fqcn: string) => void)[] = []
  readonly #work = new Map<Session | undefined, LinkWork>()
  readonly #running = new Set<Promise<void>>()
  #closed = false

  constructor(components: CellCoreComponents, options: CellCoreOptions) {
    const { self, clock, logger, peers, cipher } = components
    this.fqcn = self
    this.#components = components
    this.#options = options
    this.#requests = new RequestTable(clock, options.maxPendingRequests)
    this.#security =
      cipher === undefined
        ? undefined
        : new MessageSecurity(
            {
              cipher,
              clock,
              logger,
              resolve: components.resolve,
              exchange: (fqcn, body) => this.#exchangeKeys(fqcn, body),
            },
            {
              maxCertificates: options.maxCertificates,
              certificateMaxAgeMs: options.certificateMaxAgeMs,
            },
          )
    const security = this.#security
    this.#sender = new MessageSender(
      { self, clock, logger, peers, security },
      options.maxMessageBytes,
    )
    this.#receiver = new MessageReceiver({
      self,
      now: () => clock.now(),
      logger,
      security,
      deliver: (message) => this.#deliver(message),
      forward: (message) => this.#forward(message),
      refuse: (message, code, reason) => this.#refuse(message, code, reason),
    })
  }

  addIncomingFilter(filter: IncomingFilter): void {
    this.#receiver.addFilter(filter)
  }

  addOutgoingFilter(filter: OutgoingFilter): void {
    this.#sender.addFilter(filter)
  }

  handle(channel: string, topic: string, handler: RequestHandler): void {
    this.#handlers.set(channel, topic, handler)
  }

  receive(channel: string, topic: string, handler: PortMessageHandler): void {
    this.#ports.set(channel, topic, handler)
  }

  onUnreachable(channel: string, handler: (message: UnreachableMessage) => void): void {
    this.#unreachable.set(channel, handler)
  }

  onLinkLost(handler: (fqcn: string) => void): void {
    this.#linkLost.push(handler)
  }

  canReach(destination: string): boolean {
    return this.#sender.canReach(destination)
  }

  /** A frame of an admitted peer; a returned promise holds back its link. */
  onData(session: Session, frame: Frame): void | Promise<void> {
    if (this.#closed) return
    return this.#receiver.receive(session, frame)
  }

  /** A session ended: nobody will answer over it, and nobody waits for our answers. */
  onSessionClosed(session: Session, reason: Error | undefined): void {
    const fqcn = session.link?.fqcn
    this.#requests.failVia(
      session,
      `the link to ${fqcn} was lost${reason === undefined ? '' : `: ${reason.message}`}`,
    )
    const work = this.#work.get(session)
    this.#work.delete(session)
    work?.abort.abort(new CellError('ERR_CLOSED', 'the link of the request was lost'))
    if (fqcn !== undefined) for (const handler of this.#linkLost) handler(fqcn)
  }

  async send(message: OutgoingPortMessage, options?: AbortOptions): Promise<ReturnCode> {
    options?.signal?.throwIfAborted()
    const payloadBytes = lengthOf(message.payload)
    const isEmptyControl = payloadBytes === 0 && message.topic !== TOPIC_STREAM_DATA
    const headers = new Map<string, HeaderValue>(message.headers)
    headers.delete(HEADER.serverTransit)
    headers.delete(HEADER.encrypted)
    headers.set(HEADER.messageType, 'req')
    headers.set(HEADER.replyExpected, false)
    headers.set(HEADER.optional, message.optional ?? false)
    headers.set(HEADER.secure, message.secure ?? false)
    headers.set(HEADER.topic, message.topic)
    headers.set(HEADER.channel, message.channel)
    headers.set(HEADER.destination, message.destination)
    headers.set(HEADER.payloadEncoding, isEmptyControl ? 'none' : 'bytes')
    const result = await this.#send(
      {
        headers,
        payload: message.payload,
        payloadBytes,
        priority: message.priority ?? 'normal',
        secure: message.secure ?? false,
      },
      options,
    )
    return result.kind === 'sent' ? 'ok' : result.returnCode
  }

  /** Sends one plain request to each target and waits for all outcomes. */
  async requestAll(
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

  /** Sends one plain message that wants no reply. */
  async notifyPlain(
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
    const message = this.#requestMessage(target, channel, topic, undefined, encoded, options)
    const result = await this.#send(message, options)
    return result.kind === 'sent' ? 'ok' : result.returnCode
  }

  /** Fails what waits and tells running handlers to stop; resolves once they have, or the deadline passed. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true
    this.#requests.failAll('the cell is closing')
    for (const { abort } of this.#work.values())
      abort.abort(new CellError('ERR_CLOSED', 'the cell is closing'))
    const late = Promise.withResolvers<void>()
    using _timer = this.#components.clock.setTimer(deadlineMs, late.resolve)
    await Promise.race([Promise.allSettled([...this.#running]), late.promise])
  }

  // --- sending

  async #send(message: OutgoingMessage, options?: AbortOptions): Promise<SendResult> {
    const routed = this.#sender.route(message)
    if (routed.kind === 'failed') return routed
    if (routed.kind === 'local') {
      await this.#deliverLocally(message)
      return { kind: 'sent' }
    }
    return await this.#sender.transmit(message, routed.session, options)
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
    if (this.#requests.isFull)
      return this.#failure('comm_error', `${this.#requests.size} requests are under way; no more`)
    const message = this.#requestMessage(target, channel, topic, requestId, body, options)
    const routed = this.#sender.route(message)
    if (routed.kind === 'failed') return this.#failure(routed.returnCode, routed.error)

    const session = routed.kind === 'hop' ? routed.session : undefined
    const { outcome, cancel } = this.#requests.wait(
      requestId,
      target,
      session,
      options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    )
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const sending =
        session === undefined
          ? this.#deliverLocally(message).then((): SendResult => ({ kind: 'sent' }))
          : this.#sender.transmit(message, session, options)
      // A reply may overtake the news that the request was written; a failure to send ends the wait.
      const unsent = sending.then(
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

  #requestMessage(
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
    if (requestId !== undefined) headers.set(HEADER.requestId, requestId)
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

  #readReply(message: CellMessage): ReplyMessage {
    const { headers, origin } = message
    try {
      return {
        returnCode: textHeader(headers, HEADER.returnCode) ?? 'ok',
        error: textHeader(headers, HEADER.error),
        headers,
        body: this.#decode(message),
        origin,
      }
    } catch (error) {
      return this.#failure('comm_error', `the reply of ${origin} is not usable: ${textOf(error)}`)
    }
  }

  #failure(returnCode: ReturnCode, error: string): ReplyMessage {
    return { returnCode, error, headers: new Map(), body: null, origin: this.fqcn }
  }

  async #exchangeKeys(fqcn: string, body: Map<string, Uint8Array>): Promise<FobsValue> {
    const replies = await this.requestAll([fqcn], KEY_EXCHANGE_CHANNEL, KEY_EXCHANGE_TOPIC, body, {
      timeoutMs: KEY_EXCHANGE_TIMEOUT_MS,
    })
    const reply = replies.get(fqcn)
    if (reply?.returnCode !== 'ok')
      throw new CellError(
        'ERR_REFUSED',
        `no certificate of ${fqcn}: ${reply?.returnCode} ${reply?.error ?? ''}`,
        { reason: 'key_exchange' },
      )
    return reply.body
  }

  // --- receiving

  async #deliverLocally(message: OutgoingMessage): Promise<void> {
    const headers = new Map(message.headers)
    headers.set(HEADER.origin, this.fqcn)
    headers.set(HEADER.from, this.fqcn)
    headers.set(HEADER.to, this.fqcn)
    headers.set(HEADER.payloadLength, message.payloadBytes)
    // Copied: the sender's bytes are only borrowed.
    const payload = joinBytes(message.payload).slice()
    // Never within the sender's call: it would not expect an answer before its own return.
    await Promise.resolve()
    await this.#deliver(checkedMessage(headers, payload, undefined))
  }

  #deliver(message: CellMessage): void | Promise<void> {
    if (message.type !== 'req') return this.#deliverReply(message)
    const { channel, topic } = message
    const port = this.#ports.find(channel, topic)
    if (port !== undefined) return this.#deliverToPort(message, port)
    if (channel === CHANNEL_CELL) return this.#deliverControl(message)
    if (channel === KEY_EXCHANGE_CHANNEL && topic === KEY_EXCHANGE_TOPIC) {
      this.#serve(message, (request) => this.#answerKeyExchange(request.origin, request.body))
      return
    }
    const handler = this.#handlers.find(channel, topic)
    if (handler !== undefined) this.#serve(message, handler)
    // The text is what stock cells answer.
    else this.#refuse(message, 'process_exception', 'no callback')
  }

  #deliverReply(message: CellMessage): void {
    let target = message.origin
    if (message.type === 'return') {
      const original = message.headers.get(HEADER.originalHeaders)
      target = (original instanceof Map && textHeader(original, HEADER.destination)) || ''
    }
    for (const requestId of requestIds(message.headers))
      if (!this.#requests.answer(requestId, target, message))
        this.#components.logger.debug('a reply that nobody waits for was dropped', { requestId })
  }

  async #deliverToPort(message: CellMessage, handler: PortMessageHandler): Promise<void> {
    try {
      await handler({
        origin: message.origin,
        headers: message.headers,
        payload: message.payload,
        link: message.session?.link,
      })
    } catch (error) {
      this.#components.logger.error('a message handler failed', {
        channel: message.channel,
        topic: message.topic,
        error: textOf(error),
      })
    }
  }

  #deliverControl(message: CellMessage): void {
    const { topic, session, origin } = message
    if (topic === TOPIC_BULK) {
      this.#deliverBulk(message)
      return
    }
    if (topic !== TOPIC_BYE) {
      this.#refuse(message, 'process_exception', 'no callback')
      return
    }
    // Only a cell itself can say goodbye; a forwarded one would cut off whoever passed it on.
    if (session === undefined || session.link?.fqcn !== origin) {
      this.#refuse(message, 'invalid_request', 'bye counts only from the cell itself')
      return
    }
    this.#reply(message, { returnCode: 'ok' })
    this.#components.peers.remove(session)
  }

  #deliverBulk(message: CellMessage): void {
    let items: CellMessage[]
    try {
      items = bulkItems(message, this.#decode(message))
    } catch (error) {
      this.#refuse(message, 'invalid_request', textOf(error))
      return
    }
    for (const item of items) {
      const handler = this.#handlers.find(item.channel, item.topic)
      if (handler === undefined)
        this.#components.logger.debug('a bulk item without handler was dropped', {
          channel: item.channel,
        })
      else this.#serve(item, handler)
    }
  }

  async #answerKeyExchange(origin: string, body: FobsValue): Promise<CellReply> {
    if (this.#security === undefined)
      return { returnCode: 'service_unavailable', error: 'this cell has no certificate' }
    const answer = await this.#security.answer(origin, body)
    if (answer.fault === undefined) return { body: answer.body }
    return { returnCode: 'process_exception', error: answer.fault, body: answer.body }
  }

  // --- serving requests

  #serve(message: CellMessage, handler: RequestHandler): void {
    const work = this.#workOf(message.session)
    if (work.running >= this.#options.maxRequestsPerLink) {
      this.#refuse(
        message,
        'service_unavailable',
        `${work.running} requests of this link are running`,
      )
      return
    }
    work.running += 1
    const run = this.#run(message, handler, work.abort.signal).finally(() => {
      work.running -= 1
      this.#running.delete(run)
    })
    this.#running.add(run)
  }

  async #run(message: CellMessage, handler: RequestHandler, signal: AbortSignal): Promise<void> {
    const { channel, topic, origin, headers } = message
    let body: FobsValue
    try {
      body = this.#decode(message)
    } catch (error) {
      this.#components.logger.warn('a request body is not usable', {
        channel,
        topic,
        error: textOf(error),
      })
      this.#refuse(message, 'invalid_request', textOf(error))
      return
    }
    let reply: CellReply | undefined
    try {
      const link = message.session?.link
      reply = await handler({ channel, topic, origin, headers, body, link }, { signal })
    } catch (error) {
      reply = this.#replyToError(message, error)
    }
    if (reply !== undefined && headers.get(HEADER.replyExpected) === true)
      this.#reply(message, reply)
  }

  #replyToError({ channel, topic, origin }: CellMessage, error: unknown): CellReply {
    const returnCode = returnCodeOf(error)
    if (returnCode !== undefined) return { returnCode, error: textOf(error) }
    this.#components.logger.error('a request handler failed', { channel, topic, origin, error })
    return {
      returnCode: 'process_exception',
      error: `the request failed in ${this.fqcn}; see its log`,
    }
  }

  #reply(message: CellMessage, reply: CellReply): void {
    let body: EncodedBody
    try {
      body = encodeBody(reply.body, this.#components.registry)
    } catch (error) {
      this.#components.logger.error('a reply cannot be encoded', { error: textOf(error) })
      this.#refuse(message, 'process_exception', 'the reply cannot be encoded')
      return
    }
    const secure = message.headers.get(HEADER.secure) === true
    const headers = new Map<string, HeaderValue>(Object.entries(reply.headers ?? {}))
    headers.set(HEADER.secure, secure)
    this.#sendReply(message, headers, body, reply.returnCode ?? 'ok', reply.error, secure)
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
      replyVia: request.session,
    }
    const sending = this.#send(message).then((result) => {
      if (result.kind === 'sent') return
      this.#components.logger.warn('a reply could not be sent', {
        destination: request.origin,
        channel: request.channel,
        returnCode: result.returnCode,
        error: result.error,
      })
      if (result.returnCode === 'msg_too_big')
        this.#refuse(request, 'msg_too_big', 'the reply is too large for one message')
    })
    this.#track(sending)
  }

  /** Answers a request that is not served; whatever wants no answer gets none. */
  #refuse(message: CellMessage, returnCode: ReturnCode, reason: string): void {
    if (message.type !== 'req' || message.headers.get(HEADER.replyExpected) !== true) return
    if (message.destination !== this.fqcn) {
      this.#return(message, returnCode, reason)
      return
    }
    const empty: EncodedBody = { encoding: 'none', parts: [], length: 0 }
    this.#sendReply(message, new Map(), empty, returnCode, reason, false)
  }

  // --- forwarding

  #forward(message: CellMessage): Promise<void> | undefined {
    if (!this.#options.forwards) {
      this.#forwardFailed(message, {
        kind: 'failed',
        returnCode: 'target_unreachable',
        error: `${this.fqcn} passes no messages on`,
      })
      return undefined
    }
    return this.#sender.forward(message, (failure) => this.#forwardFailed(message, failure))
  }

  #forwardFailed(message: CellMessage, failure: SendFailure): void {
    const { logger } = this.#components
    const { channel, topic, destination, headers } = message
    logger.debug('a message could not be forwarded', {
      channel,
      topic,
      destination,
      error: failure.error,
    })
    try {
      const link = message.session?.link
      this.#unreachable.get(channel)?.({ headers, returnCode: failure.returnCode, link })
    } catch (error) {
      logger.error('a handler of unreachable messages failed', { error: textOf(error) })
    }
    if (message.type === 'req' && headers.get(HEADER.replyExpected) === true)
      this.#return(message, 'comm_error', 'cannot forward')
  }

  /** Sends a request back to where it came from (§4.6); its origin fails the wait at once. */
  #return(message: CellMessage, returnCode: ReturnCode, reason: string): void {
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
    const sending = this.#send({
      headers,
      payload: [],
      payloadBytes: 0,
      priority: 'control',
      secure: false,
      replyVia: message.session,
    })
    this.#track(sending)
  }

  // --- bookkeeping

  #decode(message: CellMessage): FobsValue {
    const encoding = textHeader(message.headers, HEADER.payloadEncoding)
    return decodeBody(message.payload, encoding, this.#components.registry)
  }

  #workOf(session: Session | undefined): LinkWork {
    const known = this.#work.get(session)
    if (known !== undefined) return known
    const work: LinkWork = { abort: new AbortController(), running: 0 }
    if (session?.isClosed === true) work.abort.abort()
    else this.#work.set(session, work)
    return work
  }

  #track(promise: Promise<unknown>): void {
    const tracked = promise.then(
      () => {},
      (error: unknown) =>
        this.#components.logger.error('a message could not be sent', { error: textOf(error) }),
    )
    this.#running.add(tracked)
    void tracked.finally(() => this.#running.delete(tracked))
  }
}

const CODES: readonly (readonly [string, KnownReturnCode])[] = [
  ['ERR_INVALID_REQUEST', 'invalid_request'],
  ['ERR_SERVICE_UNAVAILABLE', 'service_unavailable'],
  ['ERR_INVALID_SESSION', 'invalid_session'],
  ['ERR_AUTHENTICATION', 'authentication_error'],
  ['ERR_ABORT_RUN', 'abort_run'],
]

/** Return code for what a handler threw, if it was meant to be one (§6.3). */
function returnCodeOf(error: unknown): KnownReturnCode | undefined {
  return CODES.find(([code]) => hasCode(error, code))?.[1]
}

/** Small messages may overtake large ones; those of a kind keep their order. */
function priorityOf(bytes: number): MessagePriority {
  return bytes > 256 * 1024 ? 'bulk' : 'normal'
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}
