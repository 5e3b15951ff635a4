import type { Shareable } from '@hanse/session'
import type { Acceptance } from '../aggregation/acceptance.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type {
  AggregateDxo,
  Aggregator,
  Assembler,
  ModelAggregator,
} from '../components/contracts.ts'
import { isAssembler } from '../components/guards.ts'
import { needComponent } from '../components/need-component.ts'
import type { RunContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { type Dxo, mapOf, readDxo, type ValueMap } from '../model/dxo.ts'
import { type FLModel, HEADER } from '../model/fl-model.ts'

/** Contributions of a round, kept whole until an assembler makes one model of them. */
class Collection {
  readonly #assemblerId: string
  readonly #context: Pick<RunContext, 'component'>
  readonly #parts = new Map<string, ValueMap>()

  constructor(assemblerId: string, context: Pick<RunContext, 'component'>) {
    this.#assemblerId = assemblerId
    this.#context = context
  }

  /** @throws {LearningError} `ERR_CONTRIBUTION` */
  add(site: string, dxo: Pick<Dxo, 'kind' | 'data' | 'meta'>): void {
    const { expectedKind } = this.#assembler()
    if (dxo.kind !== expectedKind)
      throw new LearningError('ERR_CONTRIBUTION', `it is ${dxo.kind}, ${expectedKind} is expected`)
    if (this.#parts.has(site))
      throw new LearningError('ERR_CONTRIBUTION', 'the site has contributed to this round before')
    this.#parts.set(site, this.#assembler().read(mapOf(dxo)))
  }

  assemble(): { readonly sites: readonly string[]; readonly params: ValueMap } {
    if (this.#parts.size === 0) throw new LearningError('ERR_ROUND', 'no contribution was accepted')
    const sorted = new Map([...this.#parts].sort(([a], [b]) => (a < b ? -1 : 1)))
    return { sites: [...sorted.keys()], params: this.#assembler().assemble(sorted) }
  }

  clear(): void {
    this.#parts.clear()
  }

  #assembler(): Assembler {
    return needComponent(this.#context, this.#assemblerId, isAssembler, 'assembler')
  }
}

/** Has an assembler make the next model of FedAvg (workflows.md §8.2). */
export class CollectAndAssembleModelAggregator implements ModelAggregator {
  readonly #collection: Collection

  constructor(assemblerId: string, context: Pick<RunContext, 'component'>) {
    this.#collection = new Collection(assemblerId, context)
  }

  acceptModel(site: string, { paramsType, params, meta }: FLModel): void {
    const kind = paramsType === 'DIFF' ? 'WEIGHT_DIFF' : 'WEIGHTS'
    this.#collection.add(site, { kind, data: new Map(params ?? []), meta })
  }

  aggregateModel(): FLModel {
    const { params } = this.#collection.assemble()
    return { paramsType: 'FULL', params, meta: new Map() }
  }

  reset(): void {
    this.#collection.clear()
  }
}

/** Has an assembler make the next model of ScatterAndGather (workflows.md §8.2). */
export class CollectAndAssembleAggregator implements Aggregator {
  readonly #collection: Collection

  constructor(assemblerId: string, context: Pick<RunContext, 'component'>) {
    this.#collection = new Collection(assemblerId, context)
  }

  async accept(site: string, result: Shareable, round: number): Promise<Acceptance> {
    const jar = result.headers.get(HEADER.cookieJar)
    const from = jar instanceof Map ? jar.get(HEADER.contributionRound) : undefined
    if (from !== round)
      return { accepted: false, reason: `it belongs to round ${String(from)}, not ${round}` }
    const dxo = readDxo(result)
    this.#collection.add(site, dxo)
    return { accepted: true, weight: stepsOf(dxo.meta) }
  }

  async aggregate(): Promise<AggregateDxo> {
    const { sites, params } = this.#collection.assemble()
    return { dxo: { kind: 'WEIGHTS', data: new Map(params), meta: new Map() }, sites }
  }

  async reset(): Promise<void> {
    this.#collection.clear()
  }
}
