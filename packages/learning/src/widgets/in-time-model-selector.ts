import { meanMetrics } from '../aggregation/mean-metrics.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type { RunContext } from '../components/run-context.ts'
import type { EventHandler, RunEvent } from '../components/run-events.ts'
import { isValueMap } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import { scalarOf } from '../model/numbers.ts'

/** Arguments under our names (workflows.md §8.6). */
export interface InTimeModelSelectorSettings {
  readonly weighByLocalIter: boolean
  readonly aggregationWeights: ReadonlyMap<string, number>
  /** Name in the DXO's meta under which sites report. */
  readonly metricSource: string
  readonly keyMetric: string
  /** Lower is better. */
  readonly negate: boolean
}

/**
 * Finds the best global model by what sites measured on the model they received, so it speaks of the model
 * before the round's update, and never of round 0, when there is no model yet.
 */
export class InTimeModelSelector implements EventHandler {
  readonly #settings: InTimeModelSelectorSettings
  readonly #context: Pick<RunContext, 'events' | 'log' | 'state'>
  /** Site → its metric of this round. */
  readonly #measured = new Map<string, { metrics: ReadonlyMap<string, number>; weight: number }>()
  #best = -Infinity

  constructor(
    settings: InTimeModelSelectorSettings,
    context: Pick<RunContext, 'events' | 'log' | 'state'>,
  ) {
    this.#settings = settings
    this.#context = context
  }

  async onEvent(event: RunEvent): Promise<void> {
    if (event.type === 'round-started') this.#measured.clear()
    else if (event.type === 'before-contribution') this.#measure(event)
    else if (event.type === 'before-aggregation') await this.#select(event.round)
  }

  #measure({ dxo, round, site, result }: Extract<RunEvent, { type: 'before-contribution' }>): void {
    const { metricSource, keyMetric, weighByLocalIter, aggregationWeights } = this.#settings
    if (round === 0 || dxo === undefined) return
    if (dxo.kind !== 'WEIGHTS' && dxo.kind !== 'WEIGHT_DIFF' && dxo.kind !== 'COLLECTION') return
    const jar = result.headers.get(HEADER.cookieJar)
    if (!(jar instanceof Map) || jar.get(HEADER.contributionRound) !== round) return
    const reported = dxo.meta.get(metricSource)
    const value = scalarOf(isValueMap(reported) ? reported.get(keyMetric) : reported)
    if (value === undefined || !Number.isFinite(value)) {
      this.#context.log.warn('a site reports no usable metric for choosing the best model', {
        site,
        round,
        keyMetric,
      })
      return
    }
    const weight = (weighByLocalIter ? stepsOf(dxo.meta) : 1) * (aggregationWeights.get(site) ?? 1)
    this.#measured.set(site, { metrics: new Map([[keyMetric, value]]), weight })
  }

  async #select(round: number): Promise<void> {
    const { keyMetric, negate } = this.#settings
    const parts = [...this.#measured].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, part]) => part)
    const value = meanMetrics(parts).get(keyMetric)
    if (value === undefined) return
    const score = negate ? -value : value
    if (!(score > this.#best)) return
    this.#best = score
    const { events, log, state } = this.#context
    log.info('new best model', { round, metric: keyMetric, value })
    await events.fire({
      type: 'best-model',
      round,
      metric: keyMetric,
      value,
      better: negate ? 'min' : 'max',
      model: state.globalModel,
    })
  }
}
