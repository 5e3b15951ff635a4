import type { Cell } from '@hanse/cellnet'
import type { Logger } from '@hanse/contract'
import { carriesDxo, type Dxo, type RunEvent, readDxo } from '@hanse/learning'
import {
  EVENT_TOPIC,
  handleAux,
  type PublicProperties,
  participantLookup,
  type Shareable,
} from '@hanse/session'

export interface SiteEventsComponents {
  readonly cell: Cell
  readonly logger: Logger
  /** Tells the run's components; awaited, one event after the other. */
  fire(event: RunEvent): Promise<void>
  /** Any event of a participant; it lives. */
  onSign(site: string): void
}

export interface SiteEventsOptions {
  readonly jobId: string
  /** Cells of the participants by site name. */
  readonly participants: ReadonlyMap<string, string>
  readonly ownProperties: PublicProperties
  /** Events that may wait for the run's components; what comes past it is dropped. Default 1000. */
  readonly maxWaiting?: number
  /** Ids of events that are remembered of each site, so that a repeat is known for one. Default 2000. */
  readonly maxRemembered?: number
}

const MAX_NAME_CHARS = 200
const MAX_ID_CHARS = 64

/** Takes the events that site jobs tell, e.g. numbers that trainers log (`spec/session.md` §6.14). */
export class SiteEvents {
  readonly #components: SiteEventsComponents
  readonly #options: Required<SiteEventsOptions>
  readonly #seen = new Map<string, Set<string>>()
  #last: Promise<void> = Promise.resolve()
  #waiting = 0
  #dropped = 0

  constructor(components: SiteEventsComponents, options: SiteEventsOptions) {
    this.#components = components
    this.#options = { maxWaiting: 1_000, maxRemembered: 2_000, ...options }
    const participantOf = participantLookup(options.jobId, options.participants)
    handleAux(components.cell, EVENT_TOPIC, options.ownProperties, ({ origin, body }) => {
      const site = participantOf(origin)
      if (site === undefined) components.logger.warn('event of a stranger dropped', { origin })
      else this.#take(site, body)
      return undefined
    })
  }

  /** Resolves when all events that came so far have been told. */
  async settled(): Promise<void> {
    await this.#last
    if (this.#dropped > 0)
      this.#components.logger.warn('events of sites were dropped: too many at once', {
        dropped: this.#dropped,
      })
  }

  #take(site: string, body: Shareable): void {
    this.#components.onSign(site)
    const name = body.textHeader('_event_type') ?? ''
    if (name === '' || name.length > MAX_NAME_CHARS) return
    if (this.#isRepeat(site, body.textHeader('_event_id'))) return
    if (this.#waiting >= this.#options.maxWaiting) {
      this.#dropped += 1
      return
    }
    this.#waiting += 1
    const event: RunEvent = {
      type: 'site-event',
      name,
      site,
      data: body.content,
      dxo: dxoOf(body),
    }
    this.#last = this.#last
      .then(() => this.#components.fire(event))
      .catch((error: unknown) =>
        this.#components.logger.error('event of a site not told', { site, error }),
      )
      .finally(() => {
        this.#waiting -= 1
      })
  }

  /** Events without an id are of older peers, and never known for repeats. */
  #isRepeat(site: string, id: string | undefined): boolean {
    if (id === undefined || id.length > MAX_ID_CHARS) return false
    const seen = this.#seen.get(site) ?? new Set()
    this.#seen.set(site, seen)
    if (seen.has(id)) return true
    if (seen.size >= this.#options.maxRemembered) seen.delete(seen.values().next().value!)
    seen.add(id)
    return false
  }
}

function dxoOf(body: Shareable): Dxo | undefined {
  if (!carriesDxo(body)) return undefined
  try {
    return readDxo(body)
  } catch {
    return undefined
  }
}
