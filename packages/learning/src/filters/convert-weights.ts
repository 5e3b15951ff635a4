import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import { addTensors, isTensor, subtractTensors } from '@hanse/tensor'
import type { Filter, FilterContext } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import { carriesDxo, mapOf, readDxo, type ValueMap, withDxo } from '../model/dxo.ts'
import { META } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'

export type ConvertDirection = 'weights_to_diff' | 'diff_to_weights'

const NAME = 'ConvertWeights'

/**
 * Turns the whole model of a result into what changed since its task, or back (policies.md §5.2). Leaves
 * alone what is of the other kind, was processed, or answers a task without weights.
 *
 * A parameter that the task did not have is refused: it has no difference, and stock would send it on
 * under a wrong name.
 */
export class ConvertWeights implements Filter {
  /** It changes the form of a result and holds nothing back. */
  readonly kinds: ReadonlySet<DataKind> = new Set()
  readonly #direction: ConvertDirection

  constructor(direction: ConvertDirection) {
    this.#direction = direction
  }

  process(message: Shareable, { task, log, taskName }: FilterContext): Shareable {
    if (taskReturnCode(message) !== 'OK' || !carriesDxo(message)) return message
    const toDiff = this.#direction === 'weights_to_diff'
    const result = readDxo(message)
    const base = baseOf(task)
    const isOther = result.kind !== (toDiff ? 'WEIGHTS' : 'WEIGHT_DIFF')
    if (base === undefined || isOther || isProcessed(result.meta)) {
      log.warn('ConvertWeights changes nothing in this result', { taskName, kind: result.kind })
      return message
    }
    const data = new Map<string, FobsValue>()
    for (const [name, value] of mapOf(result)) {
      const start = base.get(name)
      if (!isTensor(value) || !isTensor(start))
        throw new LearningError(
          'ERR_FILTER',
          `${NAME}: parameter "${name.slice(0, 80)}" is not an array in both task and result`,
        )
      data.set(name, toDiff ? subtractTensors(value, start) : addTensors(value, start))
    }
    const history = result.meta.get(META.filterHistory)
    const names = Array.isArray(history) ? [...history, NAME] : [NAME]
    return withDxo(
      {
        kind: toDiff ? 'WEIGHT_DIFF' : 'WEIGHTS',
        data,
        meta: new Map([...result.meta, [META.filterHistory, names]]),
      },
      message,
    )
  }
}

function baseOf(task: Shareable | undefined): ValueMap | undefined {
  if (task === undefined || !carriesDxo(task)) return undefined
  const dxo = readDxo(task)
  return dxo.kind === 'WEIGHTS' && !isProcessed(dxo.meta) ? mapOf(dxo) : undefined
}

function isProcessed(meta: ValueMap): boolean {
  const algorithm = meta.get(META.processedAlgorithm)
  return algorithm !== undefined && algorithm !== null && algorithm !== ''
}
