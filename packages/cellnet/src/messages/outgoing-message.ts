import type { HeaderValue } from '../headers.ts'
import type { MessagePriority } from '../message-port.ts'
import type { ReturnCode } from '../return-code.ts'
import type { Session } from '../sfm/session.ts'

/** A message of our own before it is routed. */
export interface OutgoingMessage {
  /** Owned; the sender adds what every hop needs. Holds type, destination, channel and topic. */
  readonly headers: Map<string, HeaderValue>
  /** Consecutive parts, borrowed until the message was sent. */
  readonly payload: readonly Uint8Array[]
  readonly payloadBytes: number
  readonly priority: MessagePriority
  readonly secure: boolean
  /**
   * The link to go over, open or not: for a reply the one its request came in by, for a login the one to be opened.
   */
  readonly via?: Session | undefined
}

/** Where a message goes, its headers complete. */
export type RoutedMessage =
  | { readonly kind: 'local' }
  | { readonly kind: 'hop'; readonly session: Session }
  | SendFailure

export interface SendFailure {
  readonly kind: 'failed'
  readonly returnCode: ReturnCode
  readonly error: string
}

export type SendResult = { readonly kind: 'sent' } | SendFailure

export function sendFailure(returnCode: ReturnCode, error: string): SendFailure {
  return { kind: 'failed', returnCode, error }
}

const BULK_BYTES = 256 * 1024

/** Small messages may overtake large ones; those of a kind keep their order. */
export function priorityOf(bytes: number): MessagePriority {
  return bytes > BULK_BYTES ? 'bulk' : 'normal'
}
