import type { Cell } from '@hanse/cellnet'
import { type Clock, type Logger, messageOf } from '@hanse/contract'
import type { SiteRegistry } from '../sites/site-registry.ts'
import type { Revocation, RevocationList } from './revocation-list.ts'

export interface RevocationServiceComponents {
  readonly list: RevocationList
  readonly cell: Cell
  readonly sites: SiteRegistry
  readonly clock: Clock
  readonly logger: Logger
  /** Name of the server itself, which cannot be revoked: its members would have nobody to hear it from. */
  readonly ownName: string
}

export type RevocationOutcome = 'done' | 'already' | 'own-name'

/** Enforces the list of revoked participants on logins, connections and every message, from the moment it changes. */
export class RevocationService {
  readonly #components: RevocationServiceComponents

  constructor(components: RevocationServiceComponents) {
    this.#components = components
    for (const { name } of components.list.list()) components.sites.disable(name, 'revoked')
  }

  /** Why whoever has this certificate name may do nothing here; `undefined` if it may. */
  objection(name: string | undefined): string | undefined {
    const revocation = name === undefined ? undefined : this.#components.list.get(name)
    if (revocation === undefined) return undefined
    const reason = revocation.reason === '' ? '' : `: ${revocation.reason}`
    return `'${revocation.name}' was revoked by ${revocation.by}${reason}`
  }

  /** All revocations, by name. */
  list(): readonly Revocation[] {
    return this.#components.list.list()
  }

  async revoke(name: string, by: string, reason: string): Promise<RevocationOutcome> {
    const { list, sites, clock, ownName } = this.#components
    if (name === ownName) return 'own-name'
    const saved = list.revoke({ name, by, at: clock.now(), reason })
    // In force before it is on the disk: the members' next message counts.
    sites.disable(name, 'revoked')
    this.#cutLinks(name)
    return (await saved) ? 'done' : 'already'
  }

  async reinstate(name: string): Promise<RevocationOutcome> {
    const { list, sites } = this.#components
    if (!(await list.reinstate(name))) return 'already'
    sites.enable(name, 'revoked')
    return 'done'
  }

  #cutLinks(name: string): void {
    const { cell, logger } = this.#components
    for (const { peerName, fqcn, connection } of cell.peers.values()) {
      if (peerName !== name) continue
      Promise.resolve(connection[Symbol.asyncDispose]()).catch((error: unknown) =>
        logger.warn('link of a revoked participant not closed in order', {
          peer: fqcn,
          reason: messageOf(error),
        }),
      )
    }
  }
}
