import type { LinkSecurity } from '@hanse/contract'
import type { Kit } from './kit.ts'

type LinkFacts = Pick<Kit, 'server' | 'identity'>

/** Where a participant dials its server. */
export function serverUrl({ server }: LinkFacts): URL {
  return new URL(`${server.scheme}://${server.host}:${server.port}`)
}

/**
 * How a participant protects its link. Behind a proxy that ends TLS, the proxy's root may stand in for the
 * project's; with mutual TLS, which ends at the server, it may not.
 */
export function linkSecurity({ server, identity }: LinkFacts): LinkSecurity {
  const ca = server.connectionSecurity === 'tls' ? server.customRootPem : undefined
  return {
    mode: server.connectionSecurity,
    tls: ca === undefined ? identity.tls : { ...identity.tls, ca },
    serverName: server.host,
  }
}

/**
 * Names that links must prove, by cell: with mutual TLS the server its own. What ends TLS before the server proves
 * another name, and a clear link none; who the server is, the login proves then.
 */
export function provenIdentities({ server }: LinkFacts): ReadonlyMap<string, string> {
  return server.connectionSecurity === 'mtls' ? new Map([['server', server.identity]]) : new Map()
}

/** How long a link may be silent before it counts as dead, whatever its heartbeat. */
const SILENCE_MS = 60_000
const MIN_MISSED_PONGS = 3

/** How often a participant shows on its links that it lives: often heartbeats keep a link open, and cut none sooner. */
export function heartbeatOf({ hanse }: Pick<Kit, 'hanse'>): {
  readonly heartbeatIntervalMs: number
  readonly maxMissedPongs: number
} {
  const heartbeatIntervalMs = hanse.heartbeatSeconds * 1000
  const maxMissedPongs = Math.max(MIN_MISSED_PONGS, Math.ceil(SILENCE_MS / heartbeatIntervalMs))
  return { heartbeatIntervalMs, maxMissedPongs }
}
