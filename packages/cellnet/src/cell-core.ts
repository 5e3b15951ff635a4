import {
  type AbortOptions,
  type Clock,
  type Logger,
  type MessageCipher,
  messageOf as textOf,
} from '@hanse/contract'
import { type FobsRegistry, type FobsValue, joinBytes } from '@hanse/fobs'
import type { CellReply, RequestHandler } from './cell-api.ts'
import { CellError } from './cell-error.ts'
import {
  CHANNEL_CELL,
  TOPIC_BULK,
  TOPIC_BYE,
  TOPIC_STREAM_DATA,
  TOPIC_WAY_LOST,
} from './channels.ts'
import type { IncomingFilter, OutgoingFilter } from './filters.ts'
import { HEADER, type HeaderValue, textHeader } from './headers.ts'
import type {
  IncomingPortMessage,
  MessagePort,
  OutgoingPortMessage,
  PortMessageHandler,
  UnreachableMessage,
} from './message-port.ts'
import { decodeBody } from './messages/body-codec.ts'
import { bulkItems } from './messages/bulk.ts'
import { type CellMessage, checkedMessage } from './messages/cell-message.ts'
import { HandlerTable } from './messages/handler-table.ts'
import { MessageReceiver } from './messages/message-receiver.ts'
import { MessageSender } from './messages/message-sender.ts'
import type { OutgoingMessage, SendFailure, SendResult } from './messages/outgoing-message.ts'
import { PlainRequests } from './messages/plain-requests.ts'
import { bodyMisdeed, RequestServer } from './messages/request-server.ts'
import type { ReportMisdeed } from './misdeed.ts'
import type { ReturnCode } from './return-code.ts'
import { fqcnFault, isBehind, isBelow, isSameOrBelow, parentOf } from './routing/fqcn.ts'
import type { PeerTable } from './routing/peer-table.ts'
import {
  KEY_EXCHANGE_CHANNEL,
  KEY_EXCHANGE_TOPIC,
  MessageSecurity,
} from './security/message-security.ts'
import type { Frame } from './sfm/frame.ts'
import type { Session } from './sfm/session.ts'

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
  readonly report: ReportMisdeed
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

/** Where messages of a cell go: to requests and handlers here, to the protocols on top, or on to other cells. */
export class CellCore implements MessagePort {
  readonly fqcn: string
  readonly requests: PlainRequests
  readonly #components: CellCoreComponents
  readonly #forwards: boolean
  readonly #sender: MessageSender
  readonly #receiver: MessageReceiver
  readonly #server: RequestServer
  readonly #security: MessageSecurity | undefined
  readonly #handlers = new HandlerTable<RequestHandler>()
  readonly #ports = new HandlerTable<PortMessageHandler>()
  readonly #unreachable = new Map<string, (message: UnreachableMessage) => void>()
  readonly #linkLost: ((fqcn: string) => void)[] = []
  readonly #wayLost: ((isBehind: (fqcn: string) => boolean) => void)[] = []
  #closed = false

  constructor(components: CellCoreComponents, options: CellCoreOptions) {
    const { self, clock, logger, peers, registry, report } = components
    this.fqcn = self
    this.#components = components
    this.#forwards = options.forwards
    const security = this.#createSecurity(options)
    this.#security = security
    const parts = { self, clock, logger, peers, security }
    this.#sender = new MessageSender(parts, options.maxMessageBytes)
    this.requests = new PlainRequests(
      {
        self,
        clock,
        logger,
        registry,
        randomId: components.randomId,
        sessionOf: (link) => peers.sessionOf(link),
        route: (message) => this.#sender.route(message),
        transmit: (message, session, abort) => this.#transmit(message, session, abort),
      },
      options.maxPendingRequests,
    )
    this.#server = new RequestServer(
      { self, logger, registry, report, send: (message) => this.#send(message) },
      options.maxRequestsPerLink,
    )
    this.#receiver = new MessageReceiver({
      self,
      now: () => clock.now(),
      logger,
      report,
      security,
      deliver: (message) => this.#deliver(message),
      forward: (message) => this.#forward(message),
      refuse: (message, code, reason) => this.#server.refuse(message, code, reason),
      onRejected: (message, code, reason) => this.#tellUnreachable(message, code, reason),
    })
    this.receive(CHANNEL_CELL, TOPIC_WAY_LOST, (message) => this.#takeWayLost(message))
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

  onWayLost(handler: (isBehind: (fqcn: string) => boolean) => void): void {
    this.#wayLost.push(handler)
  }

  canReach(destination: string): boolean {
    return this.#sender.canReach(destination)
  }

  async send(message: OutgoingPortMessage, options?: AbortOptions): Promise<ReturnCode> {
    options?.signal?.throwIfAborted()
    const payloadBytes = message.payload.reduce((sum, part) => sum + part.length, 0)
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
    // As stock cells label them: an empty chunk is bytes, an ACK has no body.
    const isBodiless = payloadBytes === 0 && message.topic !== TOPIC_STREAM_DATA
    headers.set(HEADER.payloadEncoding, isBodiless ? 'none' : 'bytes')
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

  /** A frame of an admitted peer; a returned promise holds back its link. */
  onData(session: Session, frame: Frame): void | Promise<void> {
    if (this.#closed) return
    return this.#receiver.receive(session, frame)
  }

  /** A session ended: nobody will answer over it, and nobody waits for our answers. */
  onSessionClosed(session: Session, reason: Error | undefined): void {
    const fqcn = session.link?.fqcn
    const because = reason === undefined ? '' : `: ${reason.message}`
    this.requests.failVia(session, `the link to ${fqcn} was lost${because}`)
    this.#server.onSessionClosed(session)
    if (fqcn === undefined) return
    for (const handler of this.#linkLost) handler(fqcn)
    this.#tellBelow(fqcn)
  }

  /** Fails what waits and tells running handlers to stop; resolves once they have, or the deadline passed. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true
    this.requests.close()
    const late = Promise.withResolvers<void>()
    using _timer = this.#components.clock.setTimer(deadlineMs, late.resolve)
    await Promise.race([this.#server.close(), late.promise])
  }

  async #send(message: OutgoingMessage, options?: AbortOptions): Promise<SendResult> {
    const routed = this.#sender.route(message)
    if (routed.kind === 'failed') return routed
    return await this.#transmit(
      message,
      routed.kind === 'hop' ? routed.session : undefined,
      options,
    )
  }

  async #transmit(
    message: OutgoingMessage,
    session: Session | undefined,
    options?: AbortOptions,
  ): Promise<SendResult> {
    if (session !== undefined) return await this.#sender.transmit(message, session, options)
    await this.#deliverLocally(message)
    return { kind: 'sent' }
  }

  /** A message to ourselves never touches the network, its filters or its encryption. */
  async #deliverLocally(message: OutgoingMessage): Promise<void> {
    const headers = new Map(message.headers)
    headers.delete(HEADER.route)
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
    if (message.type !== 'req') {
      this.requests.deliver(message)
      return
    }
    const { channel, topic } = message
    const port = this.#ports.find(channel, topic)
    if (port !== undefined) return this.#deliverToPort(message, port)
    if (channel === CHANNEL_CELL && topic === TOPIC_BYE) this.#takeBye(message)
    else if (channel === CHANNEL_CELL && topic === TOPIC_BULK) this.#unpackBulk(message)
    else if (channel === KEY_EXCHANGE_CHANNEL && topic === KEY_EXCHANGE_TOPIC)
      this.#server.serve(message, ({ origin, body }) => this.#answerKeyExchange(origin, body))
    else this.#serve(message)
  }

  #serve(message: CellMessage): void {
    const handler = this.#handlers.find(message.channel, message.topic)
    if (handler !== undefined) this.#server.serve(message, handler)
    // The text is what stock cells answer.
    else this.#server.refuse(message, 'process_exception', 'no callback')
  }

  async #deliverToPort(message: CellMessage, handler: PortMessageHandler): Promise<void> {
    const { origin, headers, payload, session, channel, topic, release } = message
    try {
      await handler({ origin, headers, payload, link: session?.link, release })
    } catch (error) {
      const fields = { channel, topic, error: textOf(error) }
      this.#components.logger.error('a message handler failed', fields)
    }
  }

  /** Only a cell itself can say goodbye: a forwarded one would cut off whoever passed it on. */
  #takeBye(message: CellMessage): void {
    const { session, origin } = message
    if (session === undefined || session.link?.fqcn !== origin) {
      this.#server.refuse(message, 'invalid_request', 'bye counts only from the cell itself')
      return
    }
    this.#server.reply(message, { returnCode: 'ok' })
    this.#components.peers.remove(session)
  }

  /** Who speaks through us cannot see that a link of ours took what it sent with it, and would wait in vain. */
  #tellBelow(lost: string): void {
    if (this.#closed) return
    const payload = [new TextEncoder().encode(lost)]
    for (const fqcn of this.#components.peers.links.keys())
      if (isBelow(fqcn, this.fqcn) && !isSameOrBelow(fqcn, lost))
        this.send({
          destination: fqcn,
          channel: CHANNEL_CELL,
          topic: TOPIC_WAY_LOST,
          headers: new Map(),
          payload,
          optional: true,
          priority: 'control',
        }).catch((error: unknown) =>
          this.#components.logger.debug('not told', { fqcn, error: textOf(error) }),
        )
  }

  /** Only our parent can know. */
  #takeWayLost({ origin, payload, link }: IncomingPortMessage): void {
    const lost = new TextDecoder().decode(payload)
    const isParent = link?.fqcn === origin && origin === parentOf(this.fqcn)
    if (!isParent || fqcnFault(lost) !== undefined) return
    const isMeant = (target: string): boolean => isBehind(target, lost, this.fqcn)
    this.requests.failTo(isMeant, `the link from ${origin} to ${lost} was lost`)
    for (const handler of this.#wayLost) handler(isMeant)
    this.#tellBelow(lost)
  }

  #unpackBulk(message: CellMessage): void {
    let items: CellMessage[]
    try {
      const encoding = textHeader(message.headers, HEADER.payloadEncoding)
      items = bulkItems(message, decodeBody(message.payload, encoding, this.#components.registry))
    } catch (error) {
      this.#components.logger.warn('a bulk message was dropped', { error: textOf(error) })
      const { session, channel, topic } = message
      this.#components.report(session?.link, 'body', bodyMisdeed(channel, topic, error))
      this.#server.refuse(message, 'invalid_request', textOf(error))
      return
    }
    for (const item of items) this.#serve(item)
  }

  #forward(message: CellMessage): Promise<void> | undefined {
    const onFailed = (failure: SendFailure): void => this.#forwardFailed(message, failure)
    if (this.#forwards) return this.#sender.forward(message, onFailed)
    const error = `${this.fqcn} passes no messages on`
    onFailed({ kind: 'failed', returnCode: 'target_unreachable', error })
    return undefined
  }

  #tellUnreachable(
    { channel, headers, session }: CellMessage,
    code: string,
    reason?: string,
  ): void {
    const link = session?.link
    try {
      this.#unreachable.get(channel)?.({ headers, returnCode: code, refusal: reason, link })
    } catch (fault) {
      const error = textOf(fault)
      this.#components.logger.error('a handler of unreachable messages failed', { error })
    }
  }

  #forwardFailed(message: CellMessage, failure: SendFailure): void {
    const { logger } = this.#components
    const { channel, topic, destination, headers } = message
    const { returnCode, error } = failure
    logger.debug('a message could not be forwarded', { channel, topic, destination, error })
    this.#tellUnreachable(message, returnCode)
    if (message.type === 'req' && headers.get(HEADER.replyExpected) === true)
      this.#server.sendBack(message, 'comm_error', 'cannot forward')
  }

  #createSecurity(options: CellCoreOptions): MessageSecurity | undefined {
    const { cipher, clock, logger, resolve } = this.#components
    if (cipher === undefined) return undefined
    return new MessageSecurity(
      { cipher, clock, logger, resolve, exchange: (fqcn, body) => this.#exchangeKeys(fqcn, body) },
      {
        maxCertificates: options.maxCertificates,
        certificateMaxAgeMs: options.certificateMaxAgeMs,
      },
    )
  }

  async #exchangeKeys(fqcn: string, body: Map<string, Uint8Array>): Promise<FobsValue> {
    const replies = await this.requests.request(
      [fqcn],
      KEY_EXCHANGE_CHANNEL,
      KEY_EXCHANGE_TOPIC,
      body,
      { timeoutMs: KEY_EXCHANGE_TIMEOUT_MS },
    )
    const reply = replies.get(fqcn)
    if (reply?.returnCode === 'ok') return reply.body
    throw new CellError(
      'ERR_REFUSED',
      `no certificate of ${fqcn}: ${reply?.returnCode} ${reply?.error ?? ''}`,
      { reason: 'key_exchange' },
    )
  }

  async #answerKeyExchange(origin: string, body: FobsValue): Promise<CellReply> {
    if (this.#security === undefined)
      return { returnCode: 'service_unavailable', error: 'this cell has no certificate' }
    const answer = await this.#security.answer(origin, body)
    if (answer.fault === undefined) return { body: answer.body }
    return { returnCode: 'process_exception', error: answer.fault, body: answer.body }
  }
}
