import type { ContributionReport, EventHandler, RunEvent, RunFiles } from '@hanse/learning'

/** One finished round, as `rounds.jsonl` of the result has it. */
export interface RoundReport {
  readonly round: number
  readonly contributions: readonly ReturnType<typeof plainReport>[]
  /** Weighted means of what the sites reported. */
  readonly metrics: Readonly<Record<string, number>>
}

/** Where a run stands, for people who watch it; plain JSON. */
export interface RunProgress {
  /** The round under way or just finished, counted from 1; 0 before the first. */
  readonly round: number
  readonly totalRounds: number
  readonly sites: readonly { readonly name: string; readonly state: SiteState }[]
  /** Of the last complete round. */
  readonly metrics: Readonly<Record<string, number>>
}

export type SiteState = 'working' | 'contributed' | 'refused'

const FILE = 'rounds.jsonl'

/** Writes what happened in each round into the result and tells whoever watches. */
export class RoundJournal implements EventHandler {
  readonly #files: RunFiles
  readonly #report: (progress: RunProgress) => void
  #progress: RunProgress = { round: 0, totalRounds: 0, sites: [], metrics: {} }
  #contributions: ContributionReport[] = []
  #metrics: ReadonlyMap<string, number> = new Map()
  #round = 0

  constructor(files: RunFiles, report: (progress: RunProgress) => void) {
    this.#files = files
    this.#report = report
  }

  async onEvent(event: RunEvent): Promise<void> {
    switch (event.type) {
      case 'round-started':
        this.#contributions = []
        this.#metrics = new Map()
        this.#round += 1
        return this.#tell({
          round: this.#round,
          totalRounds: event.totalRounds,
          sites: event.sites.map((name) => ({ name, state: 'working' })),
        })
      case 'contribution':
        this.#contributions.push(event.report)
        return this.#tell({
          sites: this.#progress.sites.map((site) => stateAfter(site, event.report)),
        })
      case 'after-aggregation':
        this.#metrics = event.metrics ?? new Map()
        return undefined
      case 'round-finished':
        return this.#finish(event.round)
      default:
        return undefined
    }
  }

  async #finish(round: number): Promise<void> {
    const metrics = Object.fromEntries(this.#metrics)
    const contributions = this.#contributions
      .toSorted((a, b) => (a.site < b.site ? -1 : 1))
      .map(plainReport)
    const report: RoundReport = { round, contributions, metrics }
    await this.#files.append(FILE, new TextEncoder().encode(`${JSON.stringify(report)}\n`))
    this.#tell({ metrics })
  }

  #tell(change: Partial<RunProgress>): void {
    this.#progress = { ...this.#progress, ...change }
    this.#report(this.#progress)
  }
}

function stateAfter(
  site: { readonly name: string; readonly state: SiteState },
  report: ContributionReport,
): { readonly name: string; readonly state: SiteState } {
  if (site.name !== report.site) return site
  return { name: site.name, state: report.accepted ? 'contributed' : 'refused' }
}

function plainReport(report: ContributionReport) {
  const { metrics, ...rest } = report
  return { ...rest, metrics: Object.fromEntries(metrics ?? []) }
}
