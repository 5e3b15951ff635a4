import {
  isBelow,
  isOnServer,
  leafOf,
  parentOf,
  prefixesOf,
  rootOf,
  SERVER,
} from '../routing/fqcn.ts'

export interface NameResolverOptions {
  readonly self: string
  /** Common name of our own certificate. */
  readonly ownName?: string | undefined
  /** FQCN prefix → common name, e.g. `server` → the server's identity. */
  readonly identities?: ReadonlyMap<string, string> | undefined
}

/**
 * Makes the function that says which certificate name a cell must present (`spec/transport.md` §8.1).
 * By default `site-1` and `site-1.<job>` must both present `site-1`.
 */
export function createNameResolver(options: NameResolverOptions): (fqcn: string) => string {
  const { self, ownName } = options
  const identities = new Map(options.identities)
  if (ownName !== undefined && isOnServer(self) && !identities.has(SERVER))
    identities.set(SERVER, ownName)

  const resolve = (fqcn: string): string => {
    if (fqcn === self && ownName !== undefined) return ownName
    for (const prefix of prefixesOf(fqcn)) {
      // An entry for a cell above us says nothing of those below us.
      if (isBelow(fqcn, self) && isBelow(self, prefix)) continue
      const name = identities.get(prefix)
      if (name !== undefined) return name
    }
    const parent = parentOf(fqcn)
    if (parent !== undefined && leafOf(fqcn).startsWith('-client_api_')) return resolve(parent)
    if (isBelow(fqcn, self)) return rootOf(fqcn.slice(self.length + 1))
    return rootOf(fqcn)
  }
  return resolve
}
