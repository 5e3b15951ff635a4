import type { Driver } from '@hanse/contract'
import { acceptSockets, checkScheme, dialSocket, socketComponents } from '@hanse/driver-socket'
import { acceptCalls } from './accept-calls.ts'
import { dialCall } from './dial-call.ts'
import type { GrpcOptions } from './grpc-options.ts'

const SCHEMES: readonly string[] = ['grpc', 'grpcs', 'agrpc', 'agrpcs']
const ALPN = 'h2'

/** Stock listeners count pings on an idle link that come more often than every 5 minutes, and hang up. */
const DIALLER_PING_MS = 310_000

/**
 * Frames over one bidirectional gRPC call, as mutual TLS, TLS or clear (`spec/transport.md` §2.6). `agrpc` and
 * `agrpcs` are other names for the same bytes. The mode decides on TLS, not the scheme; `grpcs` only demands it.
 */
export function grpc(options: GrpcOptions = {}): Driver {
  const components = socketComponents(options)
  const timeoutMs = options.keepAliveTimeoutMs ?? 20_000
  return {
    schemes: SCHEMES,
    async connect(url, security, { signal } = {}) {
      checkScheme('grpc', SCHEMES, url)
      const keepAlive = { intervalMs: options.keepAliveIntervalMs ?? DIALLER_PING_MS, timeoutMs }
      return await dialSocket(components, url, security, { signal, alpn: ALPN }, (socket) =>
        dialCall(components, socket, url, security.mode, keepAlive),
      )
    },
    async listen(url, security, onConnection, { signal } = {}) {
      checkScheme('grpc', SCHEMES, url)
      const keepAlive = { intervalMs: options.keepAliveIntervalMs ?? 60_000, timeoutMs }
      const accept = acceptCalls(components, security.mode, keepAlive, onConnection)
      return await acceptSockets(components, url, security, { signal, alpn: ALPN }, accept)
    },
  }
}
