import type { AbortOptions } from '@hanse/contract'
import type { HeaderValue, MessageHeaders } from './headers.ts'
import type { PeerLink } from './peer-link.ts'
import type { ReturnCode } from './return-code.ts'

/**
 * Which frames overtake which on one connection: `control` (ACKs, errors, small requests) goes before
 * `normal`, that before `bulk` (chunks). Messages of one priority to one destination keep their order.
 */
export type MessagePriority = 'control' | 'normal' | 'bulk'

/** One fire-and-forget cell message, payload encoding `bytes`. */
export interface OutgoingPortMessage {
  readonly destination: string
  readonly channel: string
  readonly topic: string
  /** Application headers; the cell adds its own `cn__*` (and does not let these override them). */
  readonly headers: ReadonlyMap<string, HeaderValue>
  /** Consecutive parts of the payload, borrowed until the promise settles. */
  readonly payload: readonly Uint8Array[]
  /** Encrypt end to end; default false. */
  readonly secure?: boolean | undefined
  /** Failures are of interest at debug level only; default false. */
  readonly optional?: boolean | undefined
  /** Default `normal`. */
  readonly priority?: MessagePriority | undefined
}

/** A message for this cell, decrypted, its filters passed. */
export interface IncomingPortMessage {
  /** Creator of the message as its headers say; on direct links bound to the peer. */
  readonly origin: string
  readonly headers: MessageHeaders
  /** Owned by the handler: a view on the received frame, which it keeps alive. */
  readonly payload: Uint8Array
  /** Physical link it arrived on; `undefined` for a message to ourselves. */
  readonly link: PeerLink | undefined
  /** Gives the memory of a long payload back: for handlers that copied it. Views on it are empty afterwards. */
  readonly release?: (() => void) | undefined
}

/** Takes one message. A returned promise holds back the connection: nothing further is read from it. */
export type PortMessageHandler = (message: IncomingPortMessage) => void | Promise<void>

/** A message that this cell could not pass on (`spec/transport.md` §4.6), or that a filter of it refused. */
export interface UnreachableMessage {
  readonly headers: MessageHeaders
  /** `target_unreachable` (no route), another local code, or the filter's. */
  readonly returnCode: string
  /** A filter's reason, which the sender may know; sending again would not help. */
  readonly refusal?: string | undefined
  readonly link: PeerLink | undefined
}

/**
 * What a protocol that sits on cells (streams) needs of one: fire-and-forget messages of raw bytes, routed,
 * filtered and, if asked, encrypted by the cell.
 */
export interface MessagePort {
  readonly fqcn: string
  /**
   * Sends to another cell, or to this one. Resolves once the first hop's connection has taken the message:
   * awaiting it is the backpressure.
   * @returns `ok`, or a local failure (`target_unreachable`, `comm_error`, `invalid_target`, `msg_too_big`, …)
   * @throws only `signal.reason`
   */
  send(message: OutgoingPortMessage, options?: AbortOptions): Promise<ReturnCode>
  /**
   * Registers the one handler of `channel` and `topic`, or of every topic with `'*'`. Messages of one
   * connection are handed over in the order they arrived, each after the handler of the one before returned.
   */
  receive(channel: string, topic: string, handler: PortMessageHandler): void
  /** Registers what happens when a message of `channel` could not be forwarded, or was refused by a filter. */
  onUnreachable(channel: string, handler: (message: UnreachableMessage) => void): void
  /** Whether there is a next hop for `destination` right now (true for this cell itself). */
  canReach(destination: string): boolean
  /** Called after a directly connected cell is gone; {@link canReach} tells what became unreachable. */
  onLinkLost(handler: (fqcn: string) => void): void
  /**
   * Called when what was under way to and from some cells may be lost, because a link behind our own is gone; the way
   * may be whole again by now.
   */
  onWayLost(handler: (isBehind: (fqcn: string) => boolean) => void): void
}
