import { randomUUID } from 'node:crypto'
import { type Cell, type Connector, type ConnectorEvents, createCell } from '@hanse/cellnet'
import { type AbortOptions, type Clock, type Driver, hasCode, type Logger } from '@hanse/contract'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  type AdminKit,
  heartbeatOf,
  linkSecurity,
  provenIdentities,
  serverUrl,
} from '@hanse/provision/kit'
import { platformCodecs, SERVER_CELL } from '@hanse/session'
import { AdminError } from './admin-error.ts'

export interface ConnectComponents {
  readonly drivers: readonly Driver[]
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * A cell of its own for one run of a person's tool, linked to the server of the kit. The link comes back by itself
 * while the cell lives, but its first attempt must succeed.
 * @throws {AdminError} `ERR_SERVER_UNREACHABLE`, `ERR_SERVER_IDENTITY`, `ERR_LOGIN_REFUSED`
 */
export async function connectCell(
  kit: AdminKit,
  { drivers, clock, logger }: ConnectComponents,
  { signal }: AbortOptions,
): Promise<{ readonly cell: Cell; readonly connector: Connector }> {
  const cell = createCell(
    `_admin_${randomUUID()}`,
    {
      drivers,
      clock,
      logger,
      // A person's tool talks of commands only: models never come this way but as files.
      registry: createFobsRegistry(coreCodecs, platformCodecs),
    },
    {
      ownName: kit.identity.name,
      identities: provenIdentities(kit),
      forwards: false,
      ...heartbeatOf(kit),
    },
  )
  try {
    return { cell, connector: await firstLink(cell, kit, signal) }
  } catch (error) {
    await cell[Symbol.asyncDispose]()
    throw error
  }
}

async function firstLink(
  cell: Cell,
  kit: AdminKit,
  signal: AbortSignal | undefined,
): Promise<Connector> {
  const { server } = kit
  const address = `${server.host}:${server.port}`
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const connector = cell.dial(serverUrl(kit), linkSecurity(kit), {
    expectedName: SERVER_CELL,
    proofs: true,
  })
  const onAbort = () => reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  using _connected = connector.on('connected', () => resolve())
  using _failed = connector.on('failed', ({ reason, error }) =>
    reject(unreachable(address, reason, error)),
  )
  using _refused = connector.on('refused', (refusal) => reject(refused(address, refusal)))
  try {
    await promise
    return connector
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function refused(address: string, { code, reason }: ConnectorEvents['refused']): AdminError {
  return code === 'identity_mismatch'
    ? new AdminError(
        'ERR_SERVER_IDENTITY',
        `the server at ${address} is not the one of this kit: ${reason}`,
        'see whether another participant of the league listens there',
      )
    : new AdminError(
        'ERR_LOGIN_REFUSED',
        `the server at ${address} does not let us in: ${reason}`,
        'the kit may be of another league, expired or revoked; ask the project admin for a new one',
      )
}

function unreachable(address: string, reason: string, cause: Error): AdminError {
  const isIdentity = hasCode(cause, 'ERR_TLS_HANDSHAKE')
  return new AdminError(
    isIdentity ? 'ERR_SERVER_IDENTITY' : 'ERR_SERVER_UNREACHABLE',
    isIdentity
      ? `the server at ${address} and this kit do not accept each other: ${reason}`
      : `no server answers at ${address}: ${reason}`,
    isIdentity
      ? 'kit and server must be of the same league, and both certificates valid now'
      : 'hanse doctor with this kit says what is wrong; does the server run?',
    {},
    { cause },
  )
}
