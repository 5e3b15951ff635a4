import { createServer, type Server, Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import {
  type AbortOptions,
  type Connection,
  type LinkSecurity,
  type Listener,
  TransportError,
} from '@hanse/contract'
import { explainNetwork, explainTls } from './explain-error.ts'
import { HandshakeGate } from './handshake-gate.ts'
import { socketConnection } from './socket-connection.ts'
import { parseAddress } from './tcp-address.ts'
import type { TcpComponents } from './tcp-options.ts'
import { checkSecurity, contextOptions } from './tls-settings.ts'

interface Acceptor {
  accept(socket: Socket): void
  /** Ends the handshakes in progress. */
  close(): void
}

/** Listens until disposed; connections that were handed over live on. */
export async function listenTcp(
  components: TcpComponents,
  url: URL,
  security: LinkSecurity,
  onConnection: (connection: Connection) => void,
  { signal }: AbortOptions = {},
): Promise<Listener> {
  const { scheme, host, port } = parseAddress(url, 'ERR_LISTEN')
  checkSecurity(scheme, security, 'passive', 'ERR_LISTEN')
  signal?.throwIfAborted()

  const acceptor =
    security.mode === 'clear'
      ? acceptClear(components, onConnection)
      : acceptTls(components, security, onConnection)
  const server = createServer((socket) => acceptor.accept(socket))
  await listening(server, host === '0' ? undefined : host, port, url)
  server.on('error', (error) =>
    components.logger.error('listener failed', { reason: explainNetwork(error) }),
  )

  const close = (): void => {
    signal?.removeEventListener('abort', close)
    server.close()
    acceptor.close()
  }
  signal?.addEventListener('abort', close, { once: true })
  const address = server.address()
  const boundPort = typeof address === 'object' && address !== null ? address.port : port
  return {
    url: new URL(`${scheme}://${url.hostname}:${boundPort}`),
    async [Symbol.asyncDispose]() {
      close()
    },
  }
}

function acceptClear(
  components: TcpComponents,
  onConnection: (connection: Connection) => void,
): Acceptor {
  return {
    accept: (socket) => onConnection(socketConnection(socket, 'clear', components)),
    close() {},
  }
}

function acceptTls(
  components: TcpComponents,
  security: LinkSecurity,
  onConnection: (connection: Connection) => void,
): Acceptor {
  const { clock, logger, limits } = components
  const refuse = (remoteAddress: string, reason: string, text: string): void => {
    logger.warn('connection refused', { remoteAddress, reason, text })
    components.onRefused({ remoteAddress, reason, text })
  }
  const gate = new HandshakeGate({
    maxPending: limits.maxPendingHandshakes,
    maxPendingPerAddress: limits.maxPendingHandshakesPerAddress,
  })
  /** For the log: a destroyed socket has forgotten its address. */
  const addresses = new WeakMap<Socket, string>()
  // Never listens itself: sockets come in one by one through the gate, each with its own deadline, so that a
  // silent peer keeps nobody else out.
  const server = createTlsServer({
    ...contextOptions(security, 'passive'),
    requestCert: security.mode === 'mtls',
    rejectUnauthorized: security.mode === 'mtls',
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    gate.leave(socket)
    onConnection(socketConnection(socket, security.mode, components))
  })
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    // Node keeps the wrapped socket there; without it the log lacks an address, nothing more.
    const raw: unknown = Reflect.get(socket, '_parent')
    const remoteAddress = (raw instanceof Socket && addresses.get(raw)) || 'unknown'
    // A certificate that did not verify shows as a hang-up, with the reason beside it.
    const fault: unknown = socket.authorizationError
    const cause =
      typeof fault === 'string' ? Object.assign(new Error(fault), { code: fault }) : error
    const tls = explainTls(cause)
    refuse(
      remoteAddress,
      tls?.reason ?? 'lost',
      `the TLS handshake failed: ${tls?.text ?? explainNetwork(cause)}`,
    )
    socket.destroy()
    if (raw instanceof Socket) raw.destroy()
  })
  return {
    accept(socket) {
      const remoteAddress = socket.remoteAddress ?? 'unknown'
      if (!gate.enter(socket)) {
        refuse(remoteAddress, 'too-many', 'too many handshakes are in progress')
        socket.destroy()
        return
      }
      addresses.set(socket, remoteAddress)
      const deadline = clock.setTimer(limits.handshakeTimeoutMs, () => {
        if (!gate.isPending(socket)) return
        refuse(
          remoteAddress,
          'timeout',
          `the TLS handshake took longer than ${limits.handshakeTimeoutMs} ms`,
        )
        socket.destroy()
      })
      socket.once('close', () => deadline[Symbol.dispose]())
      server.emit('connection', socket)
    },
    close: () => gate.destroyAll(),
  }
}

function listening(
  server: Server,
  host: string | undefined,
  port: number,
  url: URL,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error): void =>
      reject(
        new TransportError(
          'ERR_LISTEN',
          `cannot listen on ${url.host}: ${explainNetwork(cause)}`,
          { address: url.host },
          { cause },
        ),
      )
    server.once('error', onError)
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', onError)
      resolve()
    })
  })
}
