import type { HeaderValue } from './headers.ts'
import type { PeerLink } from './peer-link.ts'
import type { ReturnCode } from './return-code.ts'

/** What a filter sees of a message that arrived, for us or for another cell; headers are always clear. */
export interface IncomingFilterMessage {
  readonly headers: Map<string, HeaderValue>
  readonly link: PeerLink | undefined
  /** False for a message that only passes through. */
  readonly forMe: boolean
}

/**
 * Lets a message pass (`undefined`), drops it without a word, or rejects it: a request that waits for a reply
 * then gets `reject` as its return code; anything else is dropped. Synchronous, called for every message.
 */
export type IncomingFilter = (
  message: IncomingFilterMessage,
) => undefined | { drop: string } | { reject: ReturnCode; reason: string }

/** What a filter sees of a message about to leave. */
export interface OutgoingFilterMessage {
  readonly headers: Map<string, HeaderValue>
  readonly nextHop: string
  /** True for a message that only passes through. */
  readonly forwarded: boolean
}

/**
 * Adds or removes headers of a message about to leave, e.g. for authentication. One that sets the transit flag
 * makes the message take the way across the server. Throwing stops the message: `filter_error`.
 */
export type OutgoingFilter = (message: OutgoingFilterMessage) => void
