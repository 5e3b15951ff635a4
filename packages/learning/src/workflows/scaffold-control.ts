import type { FobsValue } from '@hanse/fobs'
import { allocate, elementCount, isTensor, lanesOf, Tensor } from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import { isValueMap, type ValueMap } from '../model/dxo.ts'
import type { FedAvgExtension } from './fed-avg-extension.ts'
import { addDifference, differenceMisfit } from './model-difference.ts'

const GLOBAL_CONTROL = 'scaffold_c_global'
const CONTROL_DIFFERENCE = 'scaffold_c_diff'
/** Marks differences of the control among the parameters; no parameter of a model begins so. */
const PREFIX = `${CONTROL_DIFFERENCE}\0`

/**
 * SCAFFOLD's global control variate (workflows.md §4.5): sites get it with the model and return by how much
 * theirs changed; the weighted mean of that is added to it.
 */
export class ScaffoldControl implements FedAvgExtension {
  #control: ValueMap = new Map()

  begin(model: ValueMap): void {
    this.#control = new Map([...model].map(([name, value]) => [name, zeroOf(value)]))
  }

  taskMeta(): ValueMap {
    return new Map([[GLOBAL_CONTROL, new Map(this.#control)]])
  }

  contribution(params: ValueMap, meta: ValueMap): ValueMap {
    const difference = meta.get(CONTROL_DIFFERENCE)
    if (!isValueMap(difference) || difference.size === 0)
      throw new LearningError(
        'ERR_CONTRIBUTION',
        `its meta has no "${CONTROL_DIFFERENCE}" with what changed in the control variate`,
      )
    const misfit = differenceMisfit(difference, new Map([...params, ...this.#control]))
    if (misfit !== undefined)
      throw new LearningError('ERR_CONTRIBUTION', `${CONTROL_DIFFERENCE}: ${misfit}`)
    return new Map([
      ...params,
      ...[...difference].map(([name, value]): [string, FobsValue] => [`${PREFIX}${name}`, value]),
    ])
  }

  takeMeans(means: ReadonlyMap<string, FobsValue>): Map<string, FobsValue> {
    const params = new Map<string, FobsValue>()
    const difference = new Map<string, FobsValue>()
    for (const [name, value] of means)
      if (name.startsWith(PREFIX)) difference.set(name.slice(PREFIX.length), value)
      else params.set(name, value)
    const control = new Map<string, FobsValue>(this.#control)
    // Sites may train what the server's model did not have before.
    for (const [name, value] of difference)
      if (!control.has(name)) control.set(name, zeroOf(params.get(name) ?? value))
    this.#control = addDifference(control, difference)
    return params
  }
}

function zeroOf(value: FobsValue): FobsValue {
  if (!isTensor(value)) return 0
  const { dtype, shape, framework } = value
  return new Tensor(dtype, shape, allocate(dtype, elementCount(shape) * lanesOf(dtype)), framework)
}
