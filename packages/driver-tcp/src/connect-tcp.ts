import { connect as connectClear, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import {
  type AbortOptions,
  type Connection,
  type LinkSecurity,
  TransportError,
} from '@hanse/contract'
import { connectError } from './explain-error.ts'
import { socketConnection } from './socket-connection.ts'
import { parseAddress } from './tcp-address.ts'
import type { TcpComponents } from './tcp-options.ts'
import {
  checkOwnCertificate,
  checkSecurity,
  contextOptions,
  serverIdentityCheck,
} from './tls-settings.ts'

/** Dials, and for a secure link verifies the listener's certificate and name, within one time limit. */
export async function connectTcp(
  components: TcpComponents,
  url: URL,
  security: LinkSecurity,
  { signal }: AbortOptions = {},
): Promise<Connection> {
  const { clock, limits } = components
  const { scheme, host, port } = parseAddress(url, 'ERR_CONNECT_REFUSED')
  checkSecurity(scheme, security, 'active', 'ERR_TLS_HANDSHAKE')
  checkOwnCertificate(security, clock.now())
  signal?.throwIfAborted()

  const opened = Promise.withResolvers<void>()
  const onError = (error: Error): void => opened.reject(connectError(error, url.host))
  const onClose = (): void =>
    opened.reject(
      new TransportError('ERR_CONNECT_REFUSED', `${url.host} closed before the link was up`),
    )
  const onAbort = (): void => opened.reject(signal?.reason)
  using _deadline = clock.setTimer(limits.connectTimeoutMs, () =>
    opened.reject(
      new TransportError(
        'ERR_CONNECT_TIMEOUT',
        `${url.host} gave no answer for ${limits.connectTimeoutMs} ms`,
        { timeoutMs: limits.connectTimeoutMs },
      ),
    ),
  )
  signal?.addEventListener('abort', onAbort, { once: true })
  const socket = open(host, port, security, opened.resolve)
  socket.on('error', onError)
  socket.on('close', onClose)
  try {
    await opened.promise
  } catch (error) {
    // The error handler stays: it swallows what a destroyed socket still reports.
    socket.destroy()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  const connection = socketConnection(socket, security.mode, components)
  socket.off('error', onError)
  socket.off('close', onClose)
  return connection
}

function open(host: string, port: number, security: LinkSecurity, onOpen: () => void): Socket {
  if (security.mode === 'clear') return connectClear({ host, port }, onOpen)
  return connectTls(
    {
      host,
      port,
      ...contextOptions(security, 'active'),
      // Our listeners need no SNI, but a proxy in front may; addresses are not allowed in it.
      ...(isIP(host) === 0 ? { servername: host } : {}),
      rejectUnauthorized: true,
      checkServerIdentity: serverIdentityCheck(security, host),
    },
    onOpen,
  )
}
