import { connect as connectClear, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { type AbortOptions, type LinkSecurity, TransportError } from '@hanse/contract'
import { connectError } from './explain-error.ts'
import { parseAddress } from './link-address.ts'
import { lookupName } from './lookup-name.ts'
import type { SocketComponents } from './socket-options.ts'
import {
  checkOwnCertificate,
  checkSecurity,
  contextOptions,
  serverIdentityCheck,
} from './tls-settings.ts'

export interface DialOptions extends AbortOptions {
  /** The one protocol to agree on inside TLS; a listener that does not is refused. */
  readonly alpn?: string | undefined
}

/**
 * Dials, for a secure link verifies the listener's certificate and name, and hands the socket to `finish`, which
 * makes the link of it: all within one time limit. Whatever fails, the socket is destroyed.
 * @throws {TransportError} `ERR_CONNECT_REFUSED`, `ERR_TLS_HANDSHAKE`, `ERR_CONNECT_TIMEOUT`; what `finish` threw
 */
export async function dialSocket<Link>(
  components: SocketComponents,
  url: URL,
  security: LinkSecurity,
  { signal, alpn }: DialOptions,
  finish: (socket: Socket) => Link | Promise<Link>,
): Promise<Link> {
  const { clock, limits, detour } = components
  const target = parseAddress(url, 'ERR_CONNECT_REFUSED')
  checkSecurity(target.scheme, security, 'active', 'ERR_TLS_HANDSHAKE')
  checkOwnCertificate(security, clock.now())
  signal?.throwIfAborted()

  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const address =
    detour === undefined ? url.host : `${url.host} through ${detour.host}:${detour.port}`
  // Later: what `finish` builds on the socket may break it, and knows better why.
  const onError = (error: Error): void =>
    void setImmediate(() => failed.reject(connectError(error, address)))
  const onClose = (): void =>
    void setImmediate(() =>
      failed.reject(
        new TransportError('ERR_CONNECT_REFUSED', `${address} closed before the link was up`),
      ),
    )
  const onAbort = (): void => failed.reject(signal?.reason)
  using _deadline = clock.setTimer(limits.connectTimeoutMs, () =>
    failed.reject(
      new TransportError(
        'ERR_CONNECT_TIMEOUT',
        `${address} gave no answer for ${limits.connectTimeoutMs} ms`,
        { timeoutMs: limits.connectTimeoutMs },
      ),
    ),
  )
  signal?.addEventListener('abort', onAbort, { once: true })
  const sockets: Socket[] = []
  const watched = (socket: Socket): Socket => {
    socket.on('error', onError)
    socket.on('close', onClose)
    sockets.push(socket)
    return socket
  }
  const open = async (): Promise<Link> => {
    let socket = watched(
      connectClear({
        host: lookupName(detour?.host ?? target.host),
        port: detour?.port ?? target.port,
      }),
    )
    // TLS starts on the unconnected socket: a round trip through the event loop less.
    if (detour !== undefined) {
      await connected(socket, 'connect')
      await detour.open(socket, target)
    }
    if (security.mode === 'clear') {
      if (detour === undefined) await connected(socket, 'connect')
    } else {
      // TLS takes over below the stream; a listener says nothing before we do.
      if (socket.readableLength > 0)
        throw new TransportError('ERR_TLS_HANDSHAKE', `${address} spoke before TLS began`, {
          reason: 'not-tls',
        })
      const secure = secured(socket, target.host, security, alpn)
      socket = watched(secure)
      await connected(secure, 'secureConnect')
      if (alpn !== undefined && secure.alpnProtocol !== alpn)
        throw new TransportError(
          'ERR_TLS_HANDSHAKE',
          `${url.host} does not speak ${alpn} inside TLS; is it another kind of listener?`,
          { address: url.host, reason: 'alpn' },
        )
    }
    return await finish(socket)
  }
  try {
    const link = await Promise.race([open(), failed.promise])
    for (const socket of sockets) socket.off('close', onClose)
    // The last one has an owner who listens now; one below it only ever repeats what the owner hears.
    sockets.at(-1)?.off('error', onError)
    return link
  } catch (error) {
    // The error handlers stay: they swallow what a destroyed socket still reports.
    for (const socket of sockets) socket.destroy()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Errors are heard elsewhere; the promise is left behind then. */
function connected(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve) => socket.once(event, resolve))
}

function secured(
  socket: Socket,
  host: string,
  security: LinkSecurity,
  alpn: string | undefined,
): TLSSocket {
  return connectTls({
    socket,
    ...contextOptions(security, 'active'),
    // Our listeners need no SNI, but a proxy in front may; addresses are not allowed in it.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    rejectUnauthorized: true,
    checkServerIdentity: serverIdentityCheck(security, host),
  })
}
