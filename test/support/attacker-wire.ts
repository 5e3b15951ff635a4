import { once } from 'node:events'
import { connect as connectClear, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Driver, LinkSecurity } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import type { Identity } from '@hanse/pki'

/** What an attacker sends bytes over. */
export interface Wire {
  write(bytes: Uint8Array): void
  close(): void
  readonly isClosed: boolean
  /** Called once. */
  listen(onBytes: (bytes: Uint8Array) => void, onClose: () => void): void
}

/** Drivers that the suite is run over, beside bare TLS sockets, which are those of `tcp`. */
export type AttackScheme = 'tcp' | 'http' | 'grpc'

/** Chosen by the project of the test runner. */
export const ATTACK_SCHEME: AttackScheme = schemeOf(process.env['HANSE_ATTACK_SCHEME'])

function schemeOf(name = 'tcp'): AttackScheme {
  if (name === 'tcp' || name === 'http' || name === 'grpc') return name
  throw new Error(`HANSE_ATTACK_SCHEME is ${name}; tcp, http or grpc is expected`)
}

/** Bytes over a socket, as they are. */
export function socketWire(socket: Socket): Wire {
  socket.on('error', () => undefined)
  return {
    write: (bytes) => void socket.write(bytes),
    close: () => socket.destroy(),
    get isClosed() {
      return socket.destroyed
    },
    listen(onBytes, onClose) {
      socket.on('data', onBytes)
      socket.on('close', onClose)
    },
  }
}

export async function clearWire(port: number): Promise<Wire> {
  const socket = connectClear(port, '127.0.0.1')
  await once(socket, 'connect')
  return socketWire(socket)
}

export interface TlsOptions {
  readonly localAddress?: string | undefined
  /** What to agree on inside TLS. */
  readonly alpn?: string | undefined
}

/** TLS that takes any server; without an identity no certificate is shown. */
export async function tlsSocket(
  port: number,
  identity: Identity | undefined,
  { localAddress, alpn }: TlsOptions = {},
): Promise<TLSSocket> {
  const tls = identity?.tls
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    ...(tls === undefined ? {} : { ca: tls.ca, cert: tls.cert, key: tls.key }),
    rejectUnauthorized: false,
    servername: 'localhost',
  })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  return socket
}

/**
 * Whatever bytes as messages of a driver. Some drivers tell a dialler at once that it is not welcome: then the wire is
 * closed from the start.
 */
export async function driverWire(
  scheme: 'http' | 'grpc',
  port: number,
  security: LinkSecurity,
): Promise<Wire> {
  const driver: Driver = scheme === 'http' ? http() : grpc()
  let isClosed = false
  try {
    const connection = await driver.connect(new URL(`${scheme}://127.0.0.1:${port}`), security)
    connection.maxFrameBytes = 2 ** 26
    return {
      write: (bytes) => void connection.send([bytes]).catch(() => undefined),
      close: () => void connection[Symbol.asyncDispose](),
      get isClosed() {
        return isClosed
      },
      listen(onBytes, onClose) {
        const over = (): void => {
          isClosed = true
          onClose()
        }
        connection.receive(onBytes).then(over, over)
      },
    }
  } catch {
    return {
      write() {},
      close() {},
      isClosed: true,
      listen: (_onBytes, onClose) => onClose(),
    }
  }
}
