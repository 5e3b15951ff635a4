import type { Socket } from 'node:net'
import type { ConnectionSecurity, Driver } from '@hanse/contract'
import {
  acceptSockets,
  checkScheme,
  describeSocket,
  dialSocket,
  lostError,
  StreamConnection,
  socketComponents,
  tuneSocket,
} from '@hanse/driver-socket'
import type { TcpOptions } from './tcp-options.ts'

const SCHEMES: readonly string[] = ['tcp', 'stcp', 'atcp', 'satcp']

/**
 * Frames over TCP, as mutual TLS, TLS or clear (`spec/transport.md` §2.5). Trusts exactly the CA of the link,
 * never the system's; TLS 1.2 at least, 1.3 with post-quantum key exchange where both sides can.
 * `atcp` and `satcp` are other names for the same bytes.
 */
export function tcp(options: TcpOptions = {}): Driver {
  const components = socketComponents(options)
  const { clock, limits } = components
  const connectionOn = (socket: Socket, mode: ConnectionSecurity): StreamConnection => {
    tuneSocket(socket, options.noDelay)
    const { info, peerName } = describeSocket(socket, 'tcp', mode)
    return new StreamConnection(
      { stream: socket, clock, info, peerName, explain: lostError },
      limits,
    )
  }
  return {
    schemes: SCHEMES,
    async connect(url, security, abort = {}) {
      checkScheme('tcp', SCHEMES, url)
      return await dialSocket(components, url, security, abort, (socket) =>
        connectionOn(socket, security.mode),
      )
    },
    async listen(url, security, onConnection, abort = {}) {
      checkScheme('tcp', SCHEMES, url)
      return await acceptSockets(components, url, security, abort, ({ socket, admit }) => {
        admit()
        onConnection(connectionOn(socket, security.mode))
      })
    },
  }
}
