import type { Shareable } from '@hanse/session'
import type { Filter, FilterContext } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import { carriesDxo, type Dxo, mapOf, readDxo, type ValueMap, withDxo } from '../model/dxo.ts'
import { META } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'

/** What a filter does to the data of one DXO. Pure: a new map, or the same one when nothing changes. */
export type DxoChange = (
  data: ValueMap,
  dxo: Dxo,
  context: FilterContext,
) => ValueMap | { readonly data: ValueMap; readonly meta: ValueMap }

/**
 * Base of filters that change model data (workflows.md §17): passes on what carries no DXO, error results
 * and other kinds; writes its name into the DXO's history.
 *
 * Collections hold several DXOs; these filters refuse them, since passing one on unseen would let through
 * what the filter is there to hold back.
 */
export class DxoFilter implements Filter {
  readonly #name: string
  readonly kinds: ReadonlySet<DataKind>
  readonly #change: DxoChange

  /** @param name of the stock class, as histories show it */
  constructor(name: string, kinds: readonly DataKind[], change: DxoChange) {
    this.#name = name
    this.kinds = new Set(kinds)
    this.#change = change
  }

  process(message: Shareable, context: FilterContext): Shareable {
    if (taskReturnCode(message) !== 'OK' || !carriesDxo(message)) return message
    const dxo = readDxo(message)
    if (dxo.kind === 'COLLECTION')
      throw new LearningError('ERR_FILTER', `${this.#name} cannot filter a collection`)
    if (!this.kinds.has(dxo.kind)) return message
    const changed = this.#change(mapOf(dxo), dxo, context)
    const { data, meta } =
      changed instanceof Map ? { data: changed, meta: dxo.meta } : pair(changed, dxo)
    const history = meta.get(META.filterHistory)
    const names = Array.isArray(history) ? [...history, this.#name] : [this.#name]
    return withDxo(
      {
        kind: dxo.kind,
        data: new Map(data),
        meta: new Map([...meta, [META.filterHistory, names]]),
      },
      message,
    )
  }
}

function pair(
  changed: ReturnType<DxoChange>,
  dxo: Dxo,
): { readonly data: ValueMap; readonly meta: ValueMap } {
  return 'data' in changed ? changed : { data: changed, meta: dxo.meta }
}
