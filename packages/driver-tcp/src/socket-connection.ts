import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectionInfo, ConnectionSecurity } from '@hanse/contract'
import { lostError } from './explain-error.ts'
import { StreamConnection } from './stream-connection.ts'
import type { TcpComponents } from './tcp-options.ts'

const KEEP_ALIVE_MS = 60_000

/** Makes a connection of a socket whose handshake is done; takes the socket over. */
export function socketConnection(
  socket: Socket,
  mode: ConnectionSecurity,
  { clock, limits, noDelay }: TcpComponents,
): StreamConnection {
  socket.setNoDelay(noDelay)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  const addresses = {
    driver: 'tcp',
    mode,
    localAddress: `${socket.localAddress}:${socket.localPort}`,
    remoteAddress: `${socket.remoteAddress}:${socket.remotePort}`,
  }
  const { info, peerName } =
    socket instanceof TLSSocket ? describeTls(socket, addresses) : { info: addresses }
  return new StreamConnection(
    { stream: socket, clock, info, peerName, explain: lostError },
    {
      maxFrameBytes: limits.maxFrameBytes,
      sendStallTimeoutMs: limits.sendStallTimeoutMs,
      closeTimeoutMs: limits.closeTimeoutMs,
    },
  )
}

function describeTls(
  socket: TLSSocket,
  addresses: ConnectionInfo,
): { info: ConnectionInfo; peerName: string | undefined } {
  // Known to the dialler only; Node 26 reports hybrid groups by name too.
  const group: unknown = Reflect.get(socket.getEphemeralKeyInfo() ?? {}, 'name')
  const certificate = socket.getPeerX509Certificate()
  const info: ConnectionInfo = {
    ...addresses,
    tlsVersion: socket.getProtocol() ?? undefined,
    keyExchange: typeof group === 'string' ? group : undefined,
    peerCertificateExpiry: certificate?.validToDate.getTime(),
    peerFingerprint: certificate?.fingerprint256.replaceAll(':', '').toLowerCase(),
  }
  // A subject with several common names has none that could be relied on; Node lists them as an array.
  const name: unknown = certificate?.toLegacyObject().subject?.CN
  return { info, peerName: typeof name === 'string' ? name : undefined }
}
