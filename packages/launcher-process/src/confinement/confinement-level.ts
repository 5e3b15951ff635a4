/**
 * How strictly a trainer is held, weakest first; `docs/confinement.md`.
 * - `none`: a plain process of the site's user. Only where a site says that this is enough.
 * - `node-permission`: Node's permission model. A seat belt against mistakes, not a wall against attackers.
 * - `namespaces`: a machine of its own: no network, no other processes, only the granted folders. Node's
 *   permission model comes on top where the runtime is Node.
 */
export type ConfinementLevel = 'none' | 'node-permission' | 'namespaces'

const ORDER: readonly ConfinementLevel[] = ['none', 'node-permission', 'namespaces']

/** True when `level` holds at least as strictly as `minimum`. */
export function meetsLevel(level: ConfinementLevel, minimum: ConfinementLevel): boolean {
  return ORDER.indexOf(level) >= ORDER.indexOf(minimum)
}
