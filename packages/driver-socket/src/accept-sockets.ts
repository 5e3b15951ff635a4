import { createServer, type Server, Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import {
  type AbortOptions,
  type LinkSecurity,
  type Listener,
  TransportError,
} from '@hanse/contract'
import { peerNameOf } from './describe-socket.ts'
import { explainNetwork, explainTls } from './explain-error.ts'
import { HandshakeGate } from './handshake-gate.ts'
import { parseAddress } from './link-address.ts'
import type { SocketComponents } from './socket-options.ts'
import { checkSecurity, contextOptions } from './tls-settings.ts'

/** A socket at the door, TLS done if the link asks for it. Its deadline runs until one of the two is called. */
export interface Entry {
  readonly socket: Socket
  /** The socket is a link now: ends its deadline and frees its place among the handshakes. */
  admit(): void
  /** Logs and reports why not, and destroys the socket, or lets `last` say it to the peer first. */
  refuse(reason: string, text: string, last?: () => void): void
}

export interface AcceptOptions extends AbortOptions {
  /** The one protocol to agree on inside TLS; diallers that do not are refused. */
  readonly alpn?: string | undefined
}

/**
 * Listens until disposed; what was admitted lives on. Every socket has its own deadline, and a place among a limited
 * number of handshakes, so that silent peers keep nobody else out.
 */
export async function acceptSockets(
  components: SocketComponents,
  url: URL,
  security: LinkSecurity,
  { signal, alpn }: AcceptOptions,
  onSocket: (entry: Entry) => void,
): Promise<Listener> {
  const { scheme, host, port } = parseAddress(url, 'ERR_LISTEN')
  checkSecurity(scheme, security, 'passive', 'ERR_LISTEN')
  signal?.throwIfAborted()

  const door = new Door(components, onSocket)
  const tls = security.mode === 'clear' ? undefined : tlsHandshakes(door, security, alpn)
  const server = createServer((socket) => {
    if (!door.enter(socket)) return
    if (tls === undefined) onSocket(door.entry(socket))
    else tls(socket)
  })
  await listening(server, host === '0' ? undefined : host, port, url)
  server.on('error', (error) =>
    components.logger.error('listener failed', { reason: explainNetwork(error) }),
  )

  const close = (): void => {
    signal?.removeEventListener('abort', close)
    server.close()
    door.close()
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

/** Who came and is not admitted yet. */
class Door {
  readonly #components: SocketComponents
  readonly #gate: HandshakeGate
  readonly onSocket: (entry: Entry) => void

  constructor(components: SocketComponents, onSocket: (entry: Entry) => void) {
    this.#components = components
    this.onSocket = onSocket
    this.#gate = new HandshakeGate({
      maxPending: components.limits.maxPendingHandshakes,
      maxPendingPerAddress: components.limits.maxPendingHandshakesPerAddress,
    })
  }

  /** Starts the deadline of a raw socket, unless there are too many. */
  enter(socket: Socket): boolean {
    const { clock, limits } = this.#components
    // Until an owner listens, a socket may break without harm to the process.
    socket.on('error', () => {})
    const loser = this.#gate.enter(socket)
    if (loser !== undefined) {
      const text = 'too many handshakes are in progress'
      this.refuse(loser.address, 'too-many', text, loser.peerName)
      loser.socket.destroy()
      if (loser.socket === socket) return false
    }
    const deadline = clock.setTimer(limits.handshakeTimeoutMs, () => {
      const late = this.#gate.pending(socket)
      if (late?.socket !== socket) return
      this.refuse(
        late.address,
        'timeout',
        `the handshake took longer than ${limits.handshakeTimeoutMs} ms`,
        late.peerName,
      )
      socket.destroy()
    })
    socket.once('close', () => deadline[Symbol.dispose]())
    return true
  }

  entry(socket: Socket): Entry {
    // A destroyed socket has forgotten its address.
    const remoteAddress = socket.remoteAddress ?? 'unknown'
    const peerName = peerNameOf(socket)
    const pending = this.#gate.pending(socket)
    if (pending !== undefined) pending.peerName = peerName
    return {
      socket,
      admit: () => this.#gate.leave(socket),
      refuse: (reason, text, last) => {
        this.refuse(remoteAddress, reason, text, peerName)
        // The deadline goes on: it cuts a peer that does not take in its last message.
        if (last === undefined) socket.destroy()
        else last()
      },
    }
  }

  refuse(remoteAddress: string, reason: string, text: string, peerName?: string): void {
    this.#components.logger.warn('connection refused', { remoteAddress, peerName, reason, text })
    this.#components.onRefused({ remoteAddress, peerName, reason, text })
  }

  /** Cuts those who are not admitted. */
  close(): void {
    this.#gate.destroyAll()
  }
}

/** @returns what takes over a raw socket that has entered, for its TLS handshake */
function tlsHandshakes(
  door: Door,
  security: LinkSecurity,
  alpn: string | undefined,
): (socket: Socket) => void {
  /** For the log: a destroyed socket has forgotten its address. */
  const addresses = new WeakMap<Socket, string>()
  // Never listens itself: sockets come in one by one through the door.
  const server = createTlsServer({
    ...contextOptions(security, 'passive'),
    requestCert: security.mode === 'mtls',
    rejectUnauthorized: security.mode === 'mtls',
    ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    const entry = door.entry(socket)
    if (alpn !== undefined && socket.alpnProtocol !== alpn)
      entry.refuse('alpn', `the peer does not speak ${alpn} inside TLS`)
    else door.onSocket(entry)
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
    door.refuse(
      remoteAddress,
      tls?.reason ?? 'lost',
      `the TLS handshake failed: ${tls?.text ?? explainNetwork(cause)}`,
    )
    socket.destroy()
    if (raw instanceof Socket) raw.destroy()
  })
  return (socket) => {
    addresses.set(socket, socket.remoteAddress ?? 'unknown')
    server.emit('connection', socket)
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
