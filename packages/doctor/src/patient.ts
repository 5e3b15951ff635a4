import type { Clock } from '@hanse/contract'
import type { Kit } from '@hanse/provision'

/** Whom the checks of a connection look at, and with what. */
export interface Patient {
  readonly kit: Kit
  /** Where the server is, as this participant sees it. */
  readonly address: Address
  readonly clock: Clock
  /** How long one answer may take. */
  readonly timeoutMs: number
}

export interface Address {
  readonly host: string
  readonly port: number
}

const EVERYWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** A server looks at its own port. */
export function addressOf(kit: Kit): Address {
  if (kit.type !== 'server') return kit.server
  const { host, port } = kit.listen
  return { host: EVERYWHERE.has(host) ? 'localhost' : host, port }
}

/** `host:port` of the server. */
export function placeOf({ address }: Patient): string {
  return `${address.host}:${address.port}`
}
