import type { Clock, Logger } from '@hanse/contract'

export interface TcpOptions {
  readonly clock?: Clock | undefined
  /** Hears of refused handshakes, with the reason and the address. */
  readonly logger?: Logger | undefined
  /** Hears of peers that our listener did not let in, for the record. */
  readonly onRefused?: ((refusal: RefusedHandshake) => void) | undefined
  /** Send small frames at once; default true. */
  readonly noDelay?: boolean | undefined
  /** Longest frame of a peer that is not admitted yet; default 64 KiB. See `Connection.maxFrameBytes`. */
  readonly maxFrameBytes?: number | undefined
  /** For the dialler: TCP and TLS together. Default 10 s. */
  readonly connectTimeoutMs?: number | undefined
  /** For the listener: the TLS handshake of one socket. Default 10 s. */
  readonly handshakeTimeoutMs?: number | undefined
  /** Longest time in which a peer accepts no byte before the connection is cut; default 30 s. */
  readonly sendStallTimeoutMs?: number | undefined
  /** How long closing waits for queued frames to leave; default 1 s. */
  readonly closeTimeoutMs?: number | undefined
  /** Sockets in their handshake at one time; more are closed at once. Default 256. */
  readonly maxPendingHandshakes?: number | undefined
  /** The same for one remote address; default 64. */
  readonly maxPendingHandshakesPerAddress?: number | undefined
}

/** A connection that ended before it was one. */
export interface RefusedHandshake {
  readonly remoteAddress: string
  /** Short and stable: `untrusted`, `expired`, `missing`, `timeout`, `too-many`, … */
  readonly reason: string
  /** A sentence for people. */
  readonly text: string
}

export interface TcpLimits {
  readonly maxFrameBytes: number
  readonly connectTimeoutMs: number
  readonly handshakeTimeoutMs: number
  readonly sendStallTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly maxPendingHandshakes: number
  readonly maxPendingHandshakesPerAddress: number
}

export interface TcpComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly onRefused: (refusal: RefusedHandshake) => void
  readonly limits: TcpLimits
  readonly noDelay: boolean
}
