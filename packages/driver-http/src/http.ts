import type { Socket } from 'node:net'
import type { ConnectionSecurity, Driver } from '@hanse/contract'
import {
  acceptSockets,
  checkScheme,
  describeSocket,
  dialSocket,
  socketComponents,
  tuneSocket,
} from '@hanse/driver-socket'
import type { WebSocket } from 'ws'
import { dialWebSocket } from './dial-websocket.ts'
import type { HttpOptions } from './http-options.ts'
import { upgradeServer } from './upgrade-server.ts'
import { WebSocketConnection } from './websocket-connection.ts'

const SCHEMES: readonly string[] = ['http', 'https']

/** Stock diallers drop the connection on longer messages (`spec/transport.md` §2.7). */
const STOCK_DIALLER_MAX_BYTES = 4 * 1024 * 1024

/**
 * Frames over WebSocket, as mutual TLS, TLS or clear (`spec/transport.md` §2.7): for networks that let only HTTP
 * through, and for browsers. The mode decides on TLS, not the scheme; `https` only demands it.
 */
export function http(options: HttpOptions = {}): Driver {
  const components = socketComponents(options)
  const { clock, limits } = components
  const { allowedOrigins = [] } = options

  const connectionOn = (
    socket: Socket,
    websocket: WebSocket,
    mode: ConnectionSecurity,
    maxSendBytes: number | undefined,
  ): WebSocketConnection => {
    tuneSocket(socket)
    const { info, peerName } = describeSocket(socket, 'http', mode)
    return new WebSocketConnection(
      { websocket, socket, clock, info: { ...info, maxSendBytes }, peerName },
      limits,
    )
  }
  return {
    schemes: SCHEMES,
    async connect(url, security, abort = {}) {
      checkScheme('http', SCHEMES, url)
      return await dialSocket(components, url, security, abort, (socket) =>
        dialWebSocket(socket, url, limits.maxFrameBytes, (websocket) =>
          connectionOn(socket, websocket, security.mode, undefined),
        ),
      )
    },
    async listen(url, security, onConnection, abort = {}) {
      checkScheme('http', SCHEMES, url)
      const upgrade = upgradeServer(
        { maxFrameBytes: limits.maxFrameBytes, allowedOrigins },
        ({ entry: { socket }, websocket, takesLongMessages }) =>
          onConnection(
            connectionOn(
              socket,
              websocket,
              security.mode,
              takesLongMessages ? undefined : STOCK_DIALLER_MAX_BYTES,
            ),
          ),
      )
      return await acceptSockets(components, url, security, abort, upgrade)
    },
  }
}
