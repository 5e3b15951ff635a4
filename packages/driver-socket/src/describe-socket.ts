import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectionInfo, ConnectionSecurity } from '@hanse/contract'

const KEEP_ALIVE_MS = 60_000

export interface SocketDescription {
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
}

/** What is known of the peer of a socket whose handshake is done. */
export function describeSocket(
  socket: Socket,
  driver: string,
  mode: ConnectionSecurity,
): SocketDescription {
  const addresses = {
    driver,
    mode,
    localAddress: `${socket.localAddress}:${socket.localPort}`,
    remoteAddress: `${socket.remoteAddress}:${socket.remotePort}`,
  }
  return socket instanceof TLSSocket
    ? describeTls(socket, addresses)
    : { info: addresses, peerName: undefined }
}

/** For sockets that live long and carry frames of any size. */
export function tuneSocket(socket: Socket, noDelay = true): void {
  socket.setNoDelay(noDelay)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
}

function describeTls(socket: TLSSocket, addresses: ConnectionInfo): SocketDescription {
  // Known to the dialler only; Node 26 reports hybrid groups by name too.
  const group: unknown = Reflect.get(socket.getEphemeralKeyInfo() ?? {}, 'name')
  const certificate = socket.getPeerX509Certificate()
  const info: ConnectionInfo = {
    ...addresses,
    tlsVersion: socket.getProtocol() ?? undefined,
    channelBinding: channelBinding(socket),
    keyExchange: typeof group === 'string' ? group : undefined,
    peerCertificateExpiry: certificate?.validToDate.getTime(),
    peerFingerprint: certificate?.fingerprint256.replaceAll(':', '').toLowerCase(),
  }
  return { info, peerName: nameIn(certificate) }
}

/** Certificate subject at the other end of a socket, if it showed one that was verified. */
export function peerNameOf(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  return nameIn(socket.getPeerX509Certificate())
}

/** A subject with several common names has none that could be relied on; Node lists them as an array. */
function nameIn(certificate: X509Certificate | undefined): string | undefined {
  const name: unknown = certificate?.toLegacyObject().subject?.CN
  return typeof name === 'string' ? name : undefined
}

/** Before TLS 1.3 an exporter may be the same for two connections (RFC 9266, section 4.2). */
function channelBinding(socket: TLSSocket): string | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined
  return socket
    .exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
    .toString('hex')
}
