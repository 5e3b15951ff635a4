import { hasCode, type Logger, messageOf as textOf } from '@hanse/contract'
import type { IncomingFilter } from '../filters.ts'
import { HEADER, type HeaderValue } from '../headers.ts'
import type { ReportMisdeed } from '../misdeed.ts'
import { mayOriginate } from '../routing/peer-table.ts'
import type { MessageSecurity } from '../security/message-security.ts'
import type { Frame } from '../sfm/frame.ts'
import type { Session } from '../sfm/session.ts'
import { appendHop, type CellMessage, parseMessage } from './cell-message.ts'

/** Encrypted messages of one origin that may wait for its certificate. */
const MAX_SEALED_MESSAGES = 64
const MAX_SEALED_BYTES = 64 * 1024 * 1024

export interface MessageReceiverComponents {
  readonly self: string
  readonly now: () => number
  readonly logger: Logger
  readonly security: MessageSecurity | undefined
  /** A message for this cell, clear, allowed. A returned promise holds back its link. */
  readonly deliver: (message: CellMessage) => void | Promise<void>
  readonly forward: (message: CellMessage) => Promise<void> | undefined
  readonly report: ReportMisdeed
  /** Tells the sender of a request why it is not served; quiet for everything else. */
  readonly refuse: (message: CellMessage, returnCode: string, reason: string) => void
  /** A filter rejected a message whose origin is true; after `refuse`. */
  readonly onRejected: (message: CellMessage, returnCode: string, reason: string) => void
}

interface SealedQueue {
  readonly messages: CellMessage[]
  bytes: number
}

/** The way in: checks, filters, forwarding, decryption; in the order of arrival for each link. */
export class MessageReceiver {
  readonly #components: MessageReceiverComponents
  readonly #filters: IncomingFilter[] = []
  readonly #sealed = new Map<string, SealedQueue>()

  constructor(components: MessageReceiverComponents) {
    this.#components = components
  }

  addFilter(filter: IncomingFilter): void {
    this.#filters.push(filter)
  }

  receive(session: Session, frame: Frame): void | Promise<void> {
    const { self, logger, now, refuse, report } = this.#components
    const peer = session.link?.fqcn
    if (peer === undefined) return
    let message: CellMessage
    try {
      message = parseMessage(frame, session)
    } catch (error) {
      logger.warn('message dropped: headers not usable', { peer, reason: textOf(error) })
      report(session.link, 'headers', 'the headers of a message are not usable')
      return
    }
    if (!mayOriginate(self, peer, message.origin)) {
      logger.warn('message refused: forged origin', { peer })
      report(
        session.link,
        'forged_origin',
        `a message for ${message.channel}/${message.topic} in the name of '${message.origin}'`,
      )
      refuse(message, 'unauthenticated', `${peer} may not send in the name of another cell`)
      return
    }
    if (!this.#passesFilters(message)) return
    if (message.destination !== self) return this.#components.forward(message)
    appendHop(message.headers, self, now())
    return this.#open(message)
  }

  #passesFilters(message: CellMessage): boolean {
    const { self, logger, refuse, onRejected } = this.#components
    for (const filter of this.#filters) {
      let verdict: ReturnType<IncomingFilter>
      try {
        verdict = filter({
          headers: message.headers,
          link: message.session?.link,
          forMe: message.destination === self,
        })
      } catch (error) {
        logger.error('an incoming filter failed; the message is refused', { error: textOf(error) })
        verdict = { reject: 'filter_error', reason: 'an incoming filter failed' }
      }
      if (verdict === undefined) continue
      if ('drop' in verdict) logger.debug('message dropped by a filter', { reason: verdict.drop })
      else {
        refuse(message, verdict.reject, verdict.reason)
        onRejected(message, verdict.reject, verdict.reason)
      }
      return false
    }
    return true
  }

  #open(message: CellMessage): void | Promise<void> {
    const { security, refuse, deliver } = this.#components
    if (message.headers.get(HEADER.encrypted) !== true) return deliver(message)
    if (security === undefined) {
      refuse(message, 'invalid_request', 'this cell has no key to decrypt messages with')
      return
    }
    const queue = this.#sealed.get(message.origin)
    if (queue === undefined && security.knows(message.origin))
      return this.#openNow(message, security)
    return this.#openLater(message, security, queue)
  }

  /**
   * Waits for the sender's certificate without holding back the link: the certificate itself comes over it.
   * What the same origin sends meanwhile waits behind.
   */
  #openLater(
    message: CellMessage,
    security: MessageSecurity,
    waiting: SealedQueue | undefined,
  ): void {
    const queue = waiting ?? { messages: [], bytes: 0 }
    if (
      queue.messages.length >= MAX_SEALED_MESSAGES ||
      queue.bytes + message.payload.length > MAX_SEALED_BYTES
    ) {
      this.#components.refuse(
        message,
        'service_unavailable',
        'too many messages await a certificate',
      )
      return
    }
    queue.messages.push(message)
    queue.bytes += message.payload.length
    if (waiting !== undefined) return
    this.#sealed.set(message.origin, queue)
    void this.#drain(message.origin, queue, security)
  }

  async #drain(origin: string, queue: SealedQueue, security: MessageSecurity): Promise<void> {
    try {
      await security.certificateOf(origin)
      for (let next = queue.messages.shift(); next !== undefined; next = queue.messages.shift()) {
        queue.bytes -= next.payload.length
        await this.#openNow(next, security)
      }
    } catch (error) {
      const reason = `no certificate of ${origin}: ${textOf(error)}`
      this.#components.logger.warn('encrypted messages refused', { origin, reason: textOf(error) })
      for (const message of queue.messages.splice(0))
        this.#components.refuse(message, 'invalid_request', reason)
    } finally {
      this.#sealed.delete(origin)
    }
  }

  async #openNow(message: CellMessage, security: MessageSecurity): Promise<void> {
    const { logger, refuse, deliver } = this.#components
    let payload: Uint8Array
    try {
      payload = await security.open(message.origin, message.payload)
    } catch (error) {
      // Perhaps its key was renewed: the next message asks for the certificate again.
      if (hasCode(error, 'ERR_ENVELOPE_SIGNATURE')) security.forget(message.origin)
      logger.warn('an encrypted message could not be opened', {
        origin: message.origin,
        reason: textOf(error),
      })
      refuse(message, 'invalid_request', 'the message could not be decrypted')
      return
    }
    const headers = new Map<string, HeaderValue>(message.headers)
    if (headers.get(HEADER.clearPayloadLength) !== payload.length) {
      refuse(message, 'invalid_request', 'the decrypted payload has another length than announced')
      return
    }
    headers.delete(HEADER.encrypted)
    headers.delete(HEADER.clearPayloadLength)
    await deliver({ ...message, headers, payload, release: undefined })
  }
}
