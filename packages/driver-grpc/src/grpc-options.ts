import type { SocketOptions } from '@hanse/driver-socket'

export interface GrpcOptions extends SocketOptions {
  /**
   * Silence after which the peer is asked for a sign of life with an HTTP/2 ping. Default 60 s as listener, and 310 s
   * as dialler: stock listeners hang up on diallers that ping idle links more often than every 5 minutes.
   */
  readonly keepAliveIntervalMs?: number | undefined
  /** How long the answer may take before the connection is cut; default 20 s. */
  readonly keepAliveTimeoutMs?: number | undefined
}

export interface KeepAliveOptions {
  readonly intervalMs: number
  readonly timeoutMs: number
}
