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
