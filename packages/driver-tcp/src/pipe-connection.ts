import type { Duplex } from 'node:stream'
import { type Clock, type Connection, systemClock, TransportError } from '@hanse/contract'
import { StreamConnection } from '@hanse/driver-socket'

export interface PipeConnectionOptions {
  /** What to call the pipe in logs, e.g. `job 3f2a…`. */
  readonly name?: string | undefined
  readonly clock?: Clock | undefined
  /** Longest frame accepted at first; default 64 KiB, raised by the cell once the peer is admitted. */
  readonly maxFrameBytes?: number | undefined
  readonly sendStallTimeoutMs?: number | undefined
  readonly closeTimeoutMs?: number | undefined
}

/**
 * Frames over any duplex stream, with TCP's framing: for the private pipe between a parent and its job process
 * (an inherited socket). Takes over `duplex`. The link is as private as the descriptor: it proves no name.
 */
export function pipeConnection(duplex: Duplex, options: PipeConnectionOptions = {}): Connection {
  const name = options.name ?? 'pipe'
  return new StreamConnection(
    {
      stream: duplex,
      clock: options.clock ?? systemClock,
      info: { driver: 'pipe', mode: 'clear', localAddress: 'pipe', remoteAddress: name },
      peerName: undefined,
      explain: (error) =>
        new TransportError(
          'ERR_CONNECTION_LOST',
          `the pipe broke: ${error.message}`,
          {},
          { cause: error },
        ),
    },
    {
      maxFrameBytes: options.maxFrameBytes ?? 64 * 1024,
      sendStallTimeoutMs: options.sendStallTimeoutMs ?? 30_000,
      closeTimeoutMs: options.closeTimeoutMs ?? 1_000,
    },
  )
}
