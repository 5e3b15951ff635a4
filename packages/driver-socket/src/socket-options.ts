import { type Clock, type Logger, silentLogger, systemClock } from '@hanse/contract'
import { connectTunnel } from './connect-tunnel.ts'
import type { Detour } from './detour.ts'

/** Options of every driver that runs over sockets. */
export interface SocketOptions {
  readonly clock?: Clock | undefined
  /** Hears of refused handshakes, with the reason and the address. */
  readonly logger?: Logger | undefined
  /** Hears of peers that our listener did not let in, for the record. */
  readonly onRefused?: ((refusal: RefusedHandshake) => void) | undefined
  /**
   * HTTP proxy for diallers, asked with CONNECT: `http://proxy.example.com:3128`, with user and password if it wants
   * them. TLS runs through it end to end.
   */
  readonly proxy?: URL | undefined
  /** Longest frame of a peer that is not admitted yet; default 64 KiB. See `Connection.maxFrameBytes`. */
  readonly maxFrameBytes?: number | undefined
  /** For the dialler: everything until the link is up, together. Default 10 s. */
  readonly connectTimeoutMs?: number | undefined
  /** For the listener: everything until one socket is a link, together. Default 10 s. */
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
  /** Certificate subject of a peer that had finished its TLS handshake. */
  readonly peerName: string | undefined
  /** Short and stable: `untrusted`, `expired`, `missing`, `timeout`, `too-many`, `protocol`, … */
  readonly reason: string
  /** A sentence for people. */
  readonly text: string
}

/** {@link SocketOptions} without gaps. */
export interface SocketLimits {
  readonly maxFrameBytes: number
  readonly connectTimeoutMs: number
  readonly handshakeTimeoutMs: number
  readonly sendStallTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly maxPendingHandshakes: number
  readonly maxPendingHandshakesPerAddress: number
}

/** What dialling and accepting need of their driver. */
export interface SocketComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly onRefused: (refusal: RefusedHandshake) => void
  /** The way that diallers take, if not the straight one. */
  readonly detour: Detour | undefined
  readonly limits: SocketLimits
}

/** Fills in the defaults. */
export function socketComponents(options: SocketOptions): SocketComponents {
  return {
    clock: options.clock ?? systemClock,
    logger: options.logger ?? silentLogger,
    onRefused: options.onRefused ?? (() => {}),
    detour: options.proxy === undefined ? undefined : connectTunnel(options.proxy),
    limits: {
      maxFrameBytes: options.maxFrameBytes ?? 64 * 1024,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
      sendStallTimeoutMs: options.sendStallTimeoutMs ?? 30_000,
      closeTimeoutMs: options.closeTimeoutMs ?? 1_000,
      maxPendingHandshakes: options.maxPendingHandshakes ?? 256,
      maxPendingHandshakesPerAddress: options.maxPendingHandshakesPerAddress ?? 64,
    },
  }
}
