import { messageOf } from '@hanse/contract'
import type { Shareable } from '@hanse/session'
import type { Filter, FilterContext } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import { carriesDxo, readDxo } from '../model/dxo.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import { limitResult } from './limit-result.ts'

/** A filter with the name that logs and records show. */
export interface PlaceFilter {
  readonly name: string
  readonly filter: Filter
}

/** What became of one message at the filters of a place. */
export interface PlaceFilterReport {
  readonly taskName: string
  readonly payload: FilterContext['payload']
  /** Those that ran and let it pass, in order. */
  readonly filters: readonly string[]
  /** Why it must not go on; empty if it may. */
  readonly refusal: string
}

export interface PlaceFilterChainOptions {
  /**
   * True where the message comes from code that the place does not trust: nothing passes that none of the filters looks
   * at, and what passes beside the model is bounded (`limitResult`).
   */
  readonly distrusts?: boolean
  /** Awaited before the message goes on. */
  readonly onReport?: (report: PlaceFilterReport) => void | Promise<void>
}

/** Filters that a place demands, one after the other. */
export class PlaceFilterChain implements Filter {
  readonly #filters: readonly PlaceFilter[]
  readonly #options: PlaceFilterChainOptions

  constructor(filters: readonly PlaceFilter[], options: PlaceFilterChainOptions = {}) {
    this.#filters = filters
    this.#options = options
  }

  async process(message: Shareable, context: FilterContext): Promise<Shareable> {
    const { onReport } = this.#options
    const { taskName, payload } = context
    const filters: string[] = []
    let filtered: Shareable
    try {
      filtered = await this.#filter(message, context, filters)
    } catch (error) {
      await onReport?.({ taskName, payload, filters, refusal: messageOf(error) })
      throw error
    }
    await onReport?.({ taskName, payload, filters, refusal: '' })
    return filtered
  }

  /** @param passed gets the name of every filter that let the message pass */
  async #filter(message: Shareable, context: FilterContext, passed: string[]): Promise<Shareable> {
    const { distrusts = false } = this.#options
    let current = distrusts ? limitResult(message, context.log) : message
    // Nothing is left in it but the code and its reason.
    if (distrusts && taskReturnCode(current) !== 'OK') return current
    let unseen = distrusts ? kindOf(current) : undefined
    for (const { name, filter } of this.#filters) {
      const kind = kindOf(current)
      if (filter.kinds === undefined || (kind !== undefined && filter.kinds.has(kind)))
        unseen = undefined
      current = await filter.process(current, context)
      passed.push(name)
    }
    // Metrics are a few numbers: `limitResult` has seen to it.
    if (unseen !== undefined && unseen !== 'METRICS')
      throw new LearningError(
        'ERR_FILTER',
        `no filter of the privacy scope looks at data of kind ${unseen}, so that it stays here`,
      )
    return current
  }
}

function kindOf(message: Shareable): DataKind | undefined {
  return carriesDxo(message) ? readDxo(message).kind : undefined
}
