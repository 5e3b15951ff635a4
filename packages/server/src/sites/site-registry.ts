import type { Clock } from '@hanse/contract'
import type { TokenClaims } from '@hanse/session'
import type { KnownSite } from './site-book.ts'

/** What the server knows of one site that has logged in. */
export interface SiteRecord {
  readonly name: string
  /** Cell to address; never derived from the name. */
  readonly cell: string
  readonly claims: TokenClaims
  readonly organization: string
  /** What the site's software says it is; information from the peer. */
  readonly software: string
  /** Whitelisted facts the site reports about itself, JSON text; empty if none. */
  readonly siteConfig: string
  readonly registeredAt: number
  readonly lastHeartbeat: number
  /** Its link is up, and it has sent a heartbeat over it: from then on it answers commands. */
  readonly connected: boolean
}

/** Why a site's part in running jobs is over, or in doubt. */
export type SiteAbsence =
  /** Its link is gone; it may come back within the grace. */
  | 'connection-lost'
  /** No heartbeat for `heart_beat_timeout`. */
  | 'heartbeat-missed'
  /** It logged in anew: the process that ran its jobs is no more. */
  | 'restarted'
  | 'quit'
  | SiteBar

/** Why a name may not take part: until it is enabled, or until it is reinstated. */
export type SiteBar = 'disabled' | 'revoked'

export interface SiteRegistryEvents {
  /** The first heartbeat after a login, or after an absence. */
  onPresent(site: SiteRecord): void
  onAbsent(site: SiteRecord, why: SiteAbsence): void
  /**
   * What a site said at its last login, for one that comes back with its token after a restart of the server.
   * @param fingerprint of the certificate that the token was issued to
   */
  recall?(name: string, fingerprint: string): KnownSite | undefined
}

export interface SiteRegistryOptions {
  readonly maxSites: number
  readonly heartbeatTimeoutMs: number
}

/**
 * The table of sites: one entry a name, replaced by a newer login. Holds no timers: the server calls
 * {@link SiteRegistry.sweep}.
 */
export class SiteRegistry {
  readonly #clock: Clock
  readonly #events: SiteRegistryEvents
  readonly #options: SiteRegistryOptions
  readonly #sites = new Map<string, SiteRecord>()
  readonly #bars = new Map<string, ReadonlySet<SiteBar>>()

  constructor(clock: Clock, events: SiteRegistryEvents, options: SiteRegistryOptions) {
    this.#clock = clock
    this.#events = events
    this.#options = options
  }

  get(name: string): SiteRecord | undefined {
    return this.#sites.get(name)
  }

  /** All sites that logged in and are not gone, by name. */
  list(): readonly SiteRecord[] {
    return [...this.#sites.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Sites that can take part in a job now. */
  online(): readonly SiteRecord[] {
    return this.list().filter((site) => site.connected)
  }

  /** Whether some site does not say that it is Hanse, or none is known yet. */
  mayRunStock(): boolean {
    const sites = [...this.#sites.values()]
    return sites.length === 0 || sites.some(({ software }) => !software.startsWith('hanse '))
  }

  /** Why a login under `name` is refused; `undefined` if it is not. */
  refusal(name: string): string | undefined {
    const bar = this.#barOf(name)
    if (bar !== undefined) return `Client '${name}' is ${bar}`
    if (!this.#sites.has(name) && this.#sites.size >= this.#options.maxSites)
      return 'Maximum number of clients reached'
    return undefined
  }

  /** Why `name` may not take part in anything; `undefined` if it may. */
  barred(name: string): string | undefined {
    const bar = this.#barOf(name)
    return bar && `'${name}' is ${bar}`
  }

  /** Enters a site that has just proven who it is; its first heartbeat follows. An older login of the name ends. */
  register(
    facts: Omit<SiteRecord, 'registeredAt' | 'lastHeartbeat' | 'connected' | 'name' | 'cell'>,
  ): SiteRecord {
    const older = this.#sites.get(facts.claims.name)
    if (older !== undefined) this.#remove(older, 'restarted')
    return this.#enter(facts, false)
  }

  /** Goes on with a site that has proven again who it is, over a new link or because its token gets old. */
  renew(facts: Parameters<SiteRegistry['register']>[0]): SiteRecord {
    const known = this.#sites.get(facts.claims.name)
    if (known === undefined) return this.#enter(facts, false)
    const site = { ...known, ...facts }
    this.#sites.set(site.name, site)
    return site
  }

  /**
   * Takes a heartbeat whose token has been verified. A site that this server does not know comes back with the
   * token of an earlier run of the server.
   * @returns a reason if the name is disabled or another login holds it
   */
  heartbeat(claims: TokenClaims): string | undefined {
    const { name } = claims
    const refusal = this.refusal(name)
    if (refusal !== undefined) return refusal
    const known = this.#sites.get(name)
    if (known === undefined) {
      const book = this.#events.recall?.(name, claims.fingerprint)
      this.#events.onPresent(
        this.#enter(
          {
            claims,
            organization: book?.organization ?? '',
            software: book?.software ?? '',
            siteConfig: book?.siteConfig ?? '',
          },
          true,
        ),
      )
      return undefined
    }
    if (known.claims.nonce !== claims.nonce)
      return `Client ID already registered as a client: ${name}`
    const site = { ...known, lastHeartbeat: this.#clock.now(), connected: true }
    this.#sites.set(name, site)
    if (!known.connected) this.#events.onPresent(site)
    return undefined
  }

  /** Why claims of a site's token no longer hold; for the check of every message. */
  objection(claims: TokenClaims): string | undefined {
    const bar = this.#barOf(claims.name)
    if (bar !== undefined) return `'${claims.name}' is ${bar}`
    const current = this.#sites.get(claims.name)
    // Unknown after a restart of the server: its next heartbeat enters it again.
    if (current === undefined || current.claims.nonce === claims.nonce) return undefined
    return `'${claims.name}' has logged in again since this token was issued`
  }

  linkLost(cell: string): void {
    const site = this.#byCell(cell)
    if (site === undefined || !site.connected) return
    const absent = { ...site, connected: false }
    this.#sites.set(site.name, absent)
    this.#events.onAbsent(absent, 'connection-lost')
  }

  quit(name: string): void {
    const site = this.#sites.get(name)
    if (site !== undefined) this.#remove(site, 'quit')
  }

  /** Keeps a name out: by login, heartbeat and message. @returns whether it was there */
  disable(name: string, why: SiteBar = 'disabled'): boolean {
    this.#bars.set(name, new Set(this.#bars.get(name)).add(why))
    const site = this.#sites.get(name)
    if (site !== undefined) this.#remove(site, why)
    return site !== undefined
  }

  /** Lifts one bar; a name with another stays out. */
  enable(name: string, why: SiteBar = 'disabled'): void {
    const left = new Set(this.#bars.get(name))
    left.delete(why)
    if (left.size > 0) this.#bars.set(name, left)
    else this.#bars.delete(name)
  }

  /** Names that may not log in. */
  disabled(): readonly string[] {
    return [...this.#bars.keys()].toSorted()
  }

  /** Removes sites without a heartbeat for too long. */
  sweep(): void {
    const limit = this.#clock.now() - this.#options.heartbeatTimeoutMs
    for (const site of [...this.#sites.values()])
      if (site.lastHeartbeat < limit) this.#remove(site, 'heartbeat-missed')
  }

  #enter(
    facts: Omit<SiteRecord, 'registeredAt' | 'lastHeartbeat' | 'connected' | 'name' | 'cell'>,
    connected: boolean,
  ): SiteRecord {
    const now = this.#clock.now()
    const { name, cell } = facts.claims
    const site = { ...facts, name, cell, registeredAt: now, lastHeartbeat: now, connected }
    this.#sites.set(name, site)
    return site
  }

  #barOf(name: string): SiteBar | undefined {
    return this.#bars.get(name)?.values().next().value
  }

  #remove(site: SiteRecord, why: SiteAbsence): void {
    this.#sites.delete(site.name)
    this.#events.onAbsent({ ...site, connected: false }, why)
  }

  #byCell(cell: string): SiteRecord | undefined {
    for (const site of this.#sites.values()) if (site.cell === cell) return site
    return undefined
  }
}
