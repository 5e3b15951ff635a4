import {
  type AbortOptions,
  type Clock,
  hasCode,
  type Logger,
  messageOf as textOf,
} from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import { CHANNEL_STREAM, TOPIC_STREAM_DATA } from '../channels.ts'
import type { OutgoingFilter } from '../filters.ts'
import { HEADER, type HeaderValue, textHeader } from '../headers.ts'
import type { MessagePriority } from '../message-port.ts'
import { nextHop, type RouteChoice } from '../routing/next-hop.ts'
import type { PeerTable } from '../routing/peer-table.ts'
import type { MessageSecurity } from '../security/message-security.ts'
import type { Session } from '../sfm/session.ts'
import { encodeMap } from '../sfm/wire-map.ts'
import { appendHop, type CellMessage, routeNames } from './cell-message.ts'
import {
  type OutgoingMessage,
  priorityOf,
  type RoutedMessage,
  type SendFailure,
  type SendResult,
  sendFailure,
} from './outgoing-message.ts'

export interface MessageSenderComponents {
  readonly self: string
  readonly clock: Clock
  readonly logger: Logger
  readonly peers: PeerTable
  readonly security: MessageSecurity | undefined
}

/** Finds the next hop of a message, completes its headers and hands it to the link. */
export class MessageSender {
  readonly #components: MessageSenderComponents
  readonly #maxMessageBytes: number
  readonly #filters: OutgoingFilter[] = []

  constructor(components: MessageSenderComponents, maxMessageBytes: number) {
    this.#components = components
    this.#maxMessageBytes = maxMessageBytes
  }

  addFilter(filter: OutgoingFilter): void {
    this.#filters.push(filter)
  }

  /** Whether there is a next hop for `destination` now. */
  canReach(destination: string): boolean {
    return this.#choose(destination, false, [], undefined).kind !== 'fail'
  }

  /** Chooses the hop of a message of our own and completes its headers. */
  route(message: OutgoingMessage): RoutedMessage {
    const { self, clock } = this.#components
    const { headers } = message
    const destination = textHeader(headers, HEADER.destination) ?? ''
    const transit = headers.get(HEADER.serverTransit) === true
    let hop = this.#firstHop(message, destination, transit)
    if (hop.kind !== 'hop') return hop

    headers.set(HEADER.from, self)
    headers.set(HEADER.to, hopName(hop.session))
    headers.set(HEADER.origin, self)
    headers.delete(HEADER.route)
    appendHop(headers, self, clock.now())
    const fault = this.#filter(headers, hopName(hop.session), false)
    if (fault !== undefined) return fault
    if (!transit && headers.get(HEADER.serverTransit) === true) {
      hop = this.#firstHop({ ...message, via: undefined }, destination, true)
      if (hop.kind !== 'hop') return hop
      headers.set(HEADER.to, hopName(hop.session))
    }
    return hop
  }

  /**
   * Sends a routed message over its link: encrypted if asked for, refused if too large.
   * @throws only `signal.reason`
   */
  async transmit(
    message: OutgoingMessage,
    session: Session,
    { signal }: AbortOptions = {},
  ): Promise<SendResult> {
    const { headers, payloadBytes } = message
    signal?.throwIfAborted()
    if (payloadBytes > this.#maxMessageBytes)
      return sendFailure(
        'msg_too_big',
        `a payload of ${payloadBytes} bytes exceeds ${this.#maxMessageBytes}; stream it`,
      )
    headers.set(HEADER.payloadLength, payloadBytes)
    try {
      const payload = message.secure ? await this.#seal(message) : message.payload
      headers.set(HEADER.sendTime, this.#components.clock.now() / 1000)
      await session.sendData(encodeMap(headers), payload, message.priority, signal)
      return { kind: 'sent' }
    } catch (error) {
      signal?.throwIfAborted()
      // What the peer takes may be less than what we do.
      const code = hasCode(error, 'ERR_FRAME_LENGTH') ? 'msg_too_big' : 'comm_error'
      return sendFailure(code, textOf(error))
    }
  }

  /**
   * Passes on a message for another cell, its payload as it is.
   * @returns what went wrong, or a promise to wait for before more is taken from the message's link
   */
  forward(
    message: CellMessage,
    onFailed: (failure: SendFailure) => void,
  ): Promise<void> | undefined {
    const { self, clock } = this.#components
    const { headers, destination, payload } = message
    const cameFrom = message.session?.link?.fqcn
    const transit = headers.get(HEADER.serverTransit) === true
    const names = routeNames(headers)
    let choice = this.#choose(destination, transit, names, cameFrom)
    const originalRoute = headers.get(HEADER.route)
    if (choice.kind === 'hop') {
      headers.set(HEADER.from, self)
      headers.set(HEADER.to, choice.fqcn)
      appendHop(headers, self, clock.now())
      const fault = this.#filter(headers, choice.fqcn, true)
      if (fault !== undefined) {
        onFailed(fault)
        return undefined
      }
      if (!transit && headers.get(HEADER.serverTransit) === true) {
        choice = this.#choose(destination, true, names, cameFrom)
        if (choice.kind === 'hop') headers.set(HEADER.to, choice.fqcn)
      }
    }
    const session = choice.kind === 'hop' ? this.#components.peers.session(choice.fqcn) : undefined
    if (session === undefined) {
      if (originalRoute !== undefined) headers.set(HEADER.route, originalRoute)
      onFailed(
        choice.kind === 'fail'
          ? sendFailure(choice.returnCode, `no way to ${destination}`)
          : sendFailure('target_unreachable', `no way to ${destination}`),
      )
      return undefined
    }
    headers.set(HEADER.payloadLength, payload.length)
    if (!headers.has(HEADER.payloadEncoding)) headers.set(HEADER.payloadEncoding, 'bytes')
    headers.set(HEADER.sendTime, clock.now() / 1000)
    let encoded: Uint8Array
    try {
      encoded = encodeMap(headers)
    } catch (error) {
      onFailed(sendFailure('comm_error', textOf(error)))
      return undefined
    }
    session.sendData(encoded, [payload], forwardPriority(message)).then(
      // Not when it failed: a connection that broke may still hold what it was writing.
      () => message.release?.(),
      (error: unknown) => onFailed(sendFailure('comm_error', textOf(error))),
    )
    // The frame is ours: the source may go on as long as the next hop's queue has room.
    return session.queue.room()
  }

  #firstHop(message: OutgoingMessage, destination: string, transit: boolean): RoutedMessage {
    const { via } = message
    if (via !== undefined && !via.isClosed && !transit) return { kind: 'hop', session: via }
    const choice = this.#choose(destination, transit, [], undefined)
    if (choice.kind === 'local') return choice
    const session = choice.kind === 'hop' ? this.#components.peers.session(choice.fqcn) : undefined
    if (session !== undefined) return { kind: 'hop', session }
    return choice.kind === 'fail' && choice.returnCode === 'invalid_target'
      ? sendFailure('invalid_target', 'the destination is no valid cell name')
      : sendFailure('target_unreachable', `no way to ${destination}`)
  }

  #choose(
    destination: string,
    serverTransit: boolean,
    route: readonly string[],
    cameFrom: string | undefined,
  ): RouteChoice {
    const { self, peers } = this.#components
    return nextHop({ self, destination, serverTransit, route, cameFrom }, (fqcn) => {
      const session = peers.session(fqcn)
      return session?.link !== undefined && session.isOpen
    })
  }

  #filter(
    headers: Map<string, HeaderValue>,
    hop: string,
    forwarded: boolean,
  ): SendFailure | undefined {
    try {
      for (const filter of this.#filters) filter({ headers, nextHop: hop, forwarded })
      return undefined
    } catch (error) {
      this.#components.logger.warn('an outgoing filter stopped a message', { error: textOf(error) })
      return sendFailure('filter_error', 'an outgoing filter stopped the message')
    }
  }

  async #seal({ headers, payload, payloadBytes }: OutgoingMessage): Promise<Uint8Array[]> {
    const { security } = this.#components
    if (security === undefined)
      throw new CellError('ERR_CLOSED', 'a secure message needs a certificate; this cell has none')
    const envelope = await security.seal(textHeader(headers, HEADER.destination) ?? '', payload)
    headers.set(HEADER.clearPayloadLength, payloadBytes)
    headers.set(HEADER.encrypted, true)
    return [envelope]
  }
}

function hopName(session: Session): string {
  return session.link?.fqcn ?? ''
}

function forwardPriority({ channel, topic, payload }: CellMessage): MessagePriority {
  if (channel === CHANNEL_STREAM) return topic === TOPIC_STREAM_DATA ? 'bulk' : 'control'
  return priorityOf(payload.length)
}
