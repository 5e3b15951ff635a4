import type { Clock } from '@hanse/contract'

export interface ParticipantWatchEvents {
  onDisconnected(site: string, reason: string): void
  onReconnected(site: string): void
}

/**
 * Which participants of a job are alive, as its server job sees it (`spec/session.md` §7.6). A report of death
 * starts the grace; any message of the site ends it; after it the site counts as disconnected.
 */
export class ParticipantWatch {
  readonly #clock: Clock
  readonly #graceMs: number
  readonly #events: ParticipantWatchEvents
  readonly #doubts = new Map<string, Disposable>()
  readonly #disconnected = new Map<string, string>()

  constructor(clock: Clock, graceMs: number, events: ParticipantWatchEvents) {
    this.#clock = clock
    this.#graceMs = graceMs
    this.#events = events
  }

  /** Sites that count as disconnected, each with the reason. */
  get disconnected(): ReadonlyMap<string, string> {
    return this.#disconnected
  }

  /** Starts the grace; repeats are ignored. */
  doubt(site: string, reason: string): void {
    if (this.#doubts.has(site) || this.#disconnected.has(site)) return
    if (this.#graceMs === 0) {
      this.gone(site, reason)
      return
    }
    const grace = `${reason}; not back within ${this.#graceMs / 1000} s`
    this.#doubts.set(
      site,
      this.#clock.setTimer(this.#graceMs, () => this.gone(site, grace)),
    )
  }

  /** The site's part is over for certain: no grace. */
  gone(site: string, reason: string): void {
    this.#doubts.get(site)?.[Symbol.dispose]()
    this.#doubts.delete(site)
    if (this.#disconnected.has(site)) return
    this.#disconnected.set(site, reason)
    this.#events.onDisconnected(site, reason)
  }

  /** A message of the site arrived. */
  alive(site: string): void {
    this.#doubts.get(site)?.[Symbol.dispose]()
    this.#doubts.delete(site)
    if (this.#disconnected.delete(site)) this.#events.onReconnected(site)
  }

  [Symbol.dispose](): void {
    for (const timer of this.#doubts.values()) timer[Symbol.dispose]()
    this.#doubts.clear()
  }
}
