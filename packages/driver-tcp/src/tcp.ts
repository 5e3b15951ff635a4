import type { AbortOptions, Connection, Driver, LinkSecurity } from '@hanse/contract'
import { silentLogger, systemClock, TransportError } from '@hanse/contract'
import { connectTcp } from './connect-tcp.ts'
import { listenTcp } from './listen-tcp.ts'
import type { TcpComponents, TcpOptions } from './tcp-options.ts'

const SCHEMES: readonly string[] = ['tcp', 'stcp', 'atcp', 'satcp']

/**
 * Frames over TCP, as mutual TLS, TLS or clear (`spec/transport.md` §2.5). Trusts exactly the CA of the link,
 * never the system's; TLS 1.2 at least, 1.3 with post-quantum key exchange where both sides can.
 * `atcp` and `satcp` are other names for the same bytes.
 */
export function tcp(options: TcpOptions = {}): Driver {
  const components: TcpComponents = {
    clock: options.clock ?? systemClock,
    logger: options.logger ?? silentLogger,
    onRefused: options.onRefused ?? (() => {}),
    limits: {
      maxFrameBytes: options.maxFrameBytes ?? 64 * 1024,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
      sendStallTimeoutMs: options.sendStallTimeoutMs ?? 30_000,
      closeTimeoutMs: options.closeTimeoutMs ?? 1_000,
      maxPendingHandshakes: options.maxPendingHandshakes ?? 256,
      maxPendingHandshakesPerAddress: options.maxPendingHandshakesPerAddress ?? 64,
    },
    noDelay: options.noDelay ?? true,
  }
  const checkScheme = (url: URL): void => {
    const scheme = url.protocol.slice(0, -1)
    if (!SCHEMES.includes(scheme))
      throw new TransportError(
        'ERR_SCHEME_UNKNOWN',
        `tcp serves ${SCHEMES.join(', ')}, not ${scheme}`,
      )
  }
  return {
    schemes: SCHEMES,
    async connect(url: URL, security: LinkSecurity, abort?: AbortOptions): Promise<Connection> {
      checkScheme(url)
      return await connectTcp(components, url, security, abort)
    },
    async listen(url, security, onConnection, abort) {
      checkScheme(url)
      return await listenTcp(components, url, security, onConnection, abort)
    },
  }
}
