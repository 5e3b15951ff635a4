import type { RunContext } from '../components/run-context.ts'
import type { ContributionReport, EventHandler, RunEvent } from '../components/run-events.ts'

/** Arguments under our names. */
export interface MetricsArtifactWriterSettings {
  readonly folder: string
  readonly summaryFile: string
  readonly roundFile: string
  readonly limits: MetricsLimits
}

/** What sites can make us write. */
export interface MetricsLimits {
  readonly maxNameLength: number
  readonly maxMetricsPerSite: number
  readonly maxSites: number
  readonly maxRoundBytes: number
  readonly maxSummaryBytes: number
}

interface NamedValue {
  readonly name: string
  readonly value: number
}

interface SiteRecord {
  readonly name: string
  readonly metrics: readonly NamedValue[]
  readonly weight?: number
  readonly weight_key?: string
}

interface Skipped {
  readonly name: string
  readonly reason: string
  readonly site?: string
}

type KeyMetric = {
  readonly name: string
  readonly mode: 'max' | 'min'
  readonly mode_source: string
}

const FEDAVG = {
  method: 'weighted_average',
  weight_key: 'effective_fedavg_metric_weight',
  metric_policy: 'finite_numeric_metrics_only_per_key_denominator',
  weight_formula: 'aggregation_weight * NUM_STEPS_CURRENT_ROUND',
} as const

/**
 * Writes what was measured: one JSON line per round, and a summary at the end, in the layout of the stock
 * component. Names that sites chose appear as values, never as keys.
 */
export class MetricsArtifactWriter implements EventHandler {
  readonly #settings: MetricsArtifactWriterSettings
  readonly #context: Pick<RunContext, 'files' | 'jobName'>
  #contributions: ContributionReport[] = []
  #final:
    | { readonly round: number; readonly metrics: readonly NamedValue[]; readonly fedAvg: boolean }
    | undefined
  #best: Extract<RunEvent, { type: 'best-model' }> | undefined
  #keyMetric: KeyMetric | undefined

  constructor(
    settings: MetricsArtifactWriterSettings,
    context: Pick<RunContext, 'files' | 'jobName'>,
  ) {
    this.#settings = settings
    this.#context = context
  }

  async onEvent(event: RunEvent): Promise<void> {
    switch (event.type) {
      case 'round-started':
        this.#contributions = []
        return
      case 'contribution':
        if (event.report.accepted && this.#contributions.length < this.#settings.limits.maxSites)
          this.#contributions.push(event.report)
        return
      case 'best-model':
        this.#best = event
        return
      case 'after-aggregation':
        return this.#writeRound(event)
      case 'run-ending':
        return this.#writeSummary()
      default:
    }
  }

  async #writeRound(event: Extract<RunEvent, { type: 'after-aggregation' }>): Promise<void> {
    const skipped: Skipped[] = []
    const fedAvg = event.weighting === 'factor-and-steps'
    const metrics = this.#named(event.metrics, undefined, skipped)
    const sites = event.weighting === undefined ? [] : this.#sites(fedAvg, skipped)
    if (metrics.length === 0 && sites.length === 0 && skipped.length === 0) return
    if (event.stopCondition !== undefined && event.stopCondition.operator !== '=')
      this.#keyMetric = {
        name: event.stopCondition.metric,
        mode: event.stopCondition.operator.startsWith('>') ? 'max' : 'min',
        mode_source: 'derived_from_stop_condition',
      }
    const record = {
      round: event.round,
      aggregated_metrics: metrics,
      sites,
      skipped_metrics: skipped,
      ...(fedAvg ? { aggregation: FEDAVG } : {}),
      ...(this.#keyMetric ? { key_metric: this.#keyMetric } : {}),
    }
    this.#final = { round: event.round, metrics, fedAvg }
    let line = encode(record)
    if (line.length > this.#settings.limits.maxRoundBytes)
      line = encode({
        round: event.round,
        aggregated_metrics: [],
        sites: [],
        skipped_metrics: [{ name: '', reason: 'round_record_too_large' }],
      })
    await this.#context.files.append(`${this.#settings.folder}/${this.#settings.roundFile}`, line)
  }

  async #writeSummary(): Promise<void> {
    if (this.#final === undefined) return
    const best = this.#best
    const keyMetric = best
      ? {
          name: this.#clean(best.metric),
          mode: best.better,
          mode_source: 'IntimeModelSelector.negate_key_metric',
        }
      : this.#keyMetric
    const summary = {
      schema_version: '1',
      status: 'metrics_reported',
      final_round: this.#final.round,
      final_aggregated_metrics: this.#final.metrics,
      round_metrics_file: this.#settings.roundFile,
      notes: [
        'Metrics are averages of what sites reported, weighted as described under "aggregation".',
        'Nonlinear metrics are not the ones that pooled predictions would give.',
      ],
      job_name: this.#clean(this.#context.jobName),
      ...(this.#final.fedAvg ? { metric_source: 'client_reported_flmodel_metrics' } : {}),
      ...(keyMetric ? { key_metric: keyMetric } : {}),
      ...(best
        ? {
            best_round: best.round,
            best_metrics: [{ name: this.#clean(best.metric), value: best.value }],
            best_metric_source: 'IntimeModelSelector',
            best_metric_detail_source: 'initial_metrics',
          }
        : {}),
      ...(this.#final.fedAvg ? { aggregation: FEDAVG } : {}),
    }
    const bytes = new TextEncoder().encode(JSON.stringify(summary, null, 2))
    if (bytes.length > this.#settings.limits.maxSummaryBytes) return
    await this.#context.files.write(`${this.#settings.folder}/${this.#settings.summaryFile}`, [
      bytes,
    ])
  }

  #sites(fedAvg: boolean, skipped: Skipped[]): SiteRecord[] {
    const records: SiteRecord[] = []
    for (const { site, metrics, weight, steps } of this.#contributions) {
      const named = this.#named(metrics, site, skipped)
      if (named.length === 0) continue
      const value = fedAvg ? weight : steps
      records.push({
        name: this.#clean(site),
        metrics: named,
        ...(value !== undefined && value > 0
          ? { weight: value, weight_key: fedAvg ? FEDAVG.weight_key : 'NUM_STEPS_CURRENT_ROUND' }
          : {}),
      })
    }
    return records
  }

  #named(
    metrics: ReadonlyMap<string, number> | undefined,
    site: string | undefined,
    skipped: Skipped[],
  ): NamedValue[] {
    const named: NamedValue[] = []
    const skip = (name: string, reason: string): void => {
      if (skipped.length < this.#settings.limits.maxMetricsPerSite)
        skipped.push({ name, reason, ...(site === undefined ? {} : { site: this.#clean(site) }) })
    }
    for (const [rawName, value] of metrics ?? []) {
      const name = this.#clean(rawName)
      if (named.length >= this.#settings.limits.maxMetricsPerSite) {
        skip(name, 'too_many_metrics')
        break
      }
      if (name === '') skip('', 'empty_metric_name')
      else if (!Number.isFinite(value)) skip(name, 'non_finite_number')
      else named.push({ name, value })
    }
    return named
  }

  /** Without control characters, and not longer than allowed. */
  #clean(text: string): string {
    return [...text.slice(0, this.#settings.limits.maxNameLength)]
      .filter((char) => char >= ' ' && char !== '\x7f')
      .join('')
  }
}

function encode(record: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(record)}\n`)
}
