import type { Clock, Logger } from '@hanse/contract'

export interface TcpOptions {
  readonly clock?: Clock | undefined
  /** Hears of refused handshakes, with the reason and the address. */
  readonly logger?: Logger | undefined
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
  readonly limits: TcpLimits
  readonly noDelay: boolean
}
