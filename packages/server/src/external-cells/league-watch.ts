import type { Cell, CellRequest } from '@hanse/cellnet'
import type { Logger } from '@hanse/contract'
import { CHANNEL, type TokenClaims } from '@hanse/session'

export interface LeagueWatchComponents {
  readonly cell: Cell
  readonly logger: Logger
  claimsOf(request: CellRequest): TokenClaims | undefined
  mayWatch(cell: string): boolean
  /** What is there now: names of connected sites, and ids of the jobs that run. */
  snapshot(): { readonly sites: readonly string[]; readonly jobs: readonly string[] }
}

/** Texts under short names; a change of a site or a job. */
export type LeagueChange = Readonly<Record<string, string>>

interface Watcher {
  sequence: number
  waiting: LeagueChange[]
  isSending: boolean
}

/** Then changes are left out; the watcher sees the gap in their numbers. */
const MAX_WAITING = 256
const TIMEOUT_MS = 10_000

/**
 * Tells external cells that may watch what changes in the league, as requests that they answer, one after the other.
 * Who does not answer is told no more until it asks again.
 */
export class LeagueWatch {
  readonly #components: LeagueWatchComponents
  readonly #watchers = new Map<string, Watcher>()

  constructor(components: LeagueWatchComponents) {
    this.#components = components
    components.cell.handle(CHANNEL.externalCells, 'watch', (request) => {
      const claims = components.claimsOf(request)
      if (claims?.kind !== 'external' || !components.mayWatch(claims.cell))
        return { returnCode: 'unauthenticated', error: 'this server does not let you watch' }
      this.#watchers.set(claims.cell, { sequence: 0, waiting: [], isSending: false })
      const { sites, jobs } = components.snapshot()
      return { body: new Map([['sites', [...sites]] as const, ['jobs', [...jobs]] as const]) }
    })
  }

  tell(change: LeagueChange): void {
    for (const [cell, watcher] of this.#watchers) {
      watcher.sequence += 1
      if (watcher.waiting.length >= MAX_WAITING) continue
      watcher.waiting.push({ ...change, sequence: String(watcher.sequence) })
      if (!watcher.isSending) void this.#send(cell, watcher)
    }
  }

  forget(cell: string): void {
    this.#watchers.delete(cell)
  }

  async #send(target: string, watcher: Watcher): Promise<void> {
    watcher.isSending = true
    const { cell, logger } = this.#components
    // A newer watch of the same cell starts from its own snapshot.
    while (watcher.waiting.length > 0 && this.#watchers.get(target) === watcher) {
      const body = new Map(Object.entries(watcher.waiting.shift()!))
      const { returnCode } = await cell.request(target, CHANNEL.externalCells, 'change', body, {
        timeoutMs: TIMEOUT_MS,
        optional: true,
      })
      if (returnCode === 'ok' || this.#watchers.get(target) !== watcher) continue
      logger.warn('an external cell is told no more', { target, returnCode })
      this.#watchers.delete(target)
    }
    watcher.isSending = false
  }
}
