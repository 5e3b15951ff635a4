import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import type { Acceptance } from '../aggregation/acceptance.ts'
import type { ContributionStore } from '../aggregation/contribution-store.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type { AggregateDxo, Aggregator } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { mapOf, readDxo } from '../model/dxo.ts'
import { HEADER, META } from '../model/fl-model.ts'

/** Arguments under our names (workflows.md §8.1). */
export interface InTimeWeightedAggregatorSettings {
  readonly exclude?: ((name: string) => boolean) | undefined
  readonly aggregationWeights: ReadonlyMap<string, number>
  readonly expectedKind: 'WEIGHT_DIFF' | 'WEIGHTS' | 'METRICS'
  /** `false`: sites have multiplied by their weights already. */
  readonly weighByLocalIter: boolean
}

/** Weighted mean of the contributions of a round, taken at its end in sorted order of the sites. */
export class InTimeWeightedAggregator implements Aggregator {
  readonly #settings: InTimeWeightedAggregatorSettings
  readonly #context: Pick<RunContext, 'contributions'>
  #store: ContributionStore | undefined

  constructor(
    settings: InTimeWeightedAggregatorSettings,
    context: Pick<RunContext, 'contributions'>,
  ) {
    this.#settings = settings
    this.#context = context
  }

  async accept(site: string, result: Shareable, round: number): Promise<Acceptance> {
    const { expectedKind, exclude, aggregationWeights } = this.#settings
    const jar = result.headers.get(HEADER.cookieJar)
    const from = jar instanceof Map ? jar.get(HEADER.contributionRound) : undefined
    if (from !== round)
      return { accepted: false, reason: `it belongs to round ${String(from)}, not ${round}` }
    const dxo = readDxo(result)
    if (dxo.kind !== expectedKind)
      return {
        accepted: false,
        reason: `it is ${dxo.kind}, the aggregator expects ${expectedKind}`,
      }
    const data = mapOf(dxo)
    const params = exclude ? new Map([...data].filter(([name]) => !exclude(name))) : data
    const weight = (aggregationWeights.get(site) ?? 1) * stepsOf(dxo.meta)
    const algorithm = dxo.meta.get(META.processedAlgorithm)
    this.#store ??= this.#context.contributions.create()
    return this.#store.add({
      site,
      params,
      weight,
      kind: typeof algorithm === 'string' ? algorithm : '',
    })
  }

  async aggregate(round: number): Promise<AggregateDxo> {
    if (this.#store === undefined || this.#store.size === 0)
      throw new LearningError('ERR_ROUND', `no contribution of round ${round} was accepted`)
    const { weighByLocalIter, expectedKind } = this.#settings
    const { params, sites, kind } = await this.#store.mean({ preweighted: !weighByLocalIter })
    const meta = new Map<string, FobsValue>(kind === '' ? [] : [[META.processedAlgorithm, kind]])
    return { dxo: { kind: expectedKind, data: params, meta }, sites }
  }

  async reset(): Promise<void> {
    const store = this.#store
    this.#store = undefined
    await store?.clear()
  }
}
