import type { FobsValue } from '@hanse/fobs'
import { addTensors, isTensor, sameShape } from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import type { ValueMap } from '../model/dxo.ts'
import { scalarOf } from '../model/numbers.ts'

/** The global model with the differences added, parameter by parameter. @throws {LearningError} `ERR_MODEL` */
export function addDifference(global: ValueMap, difference: ValueMap): Map<string, FobsValue> {
  const sum = new Map<string, FobsValue>(global)
  for (const [name, delta] of difference) {
    const base = global.get(name)
    if (isTensor(base) && isTensor(delta)) sum.set(name, addTensors(base, delta))
    else {
      const [a, b] = [scalarOf(base), scalarOf(delta)]
      if (a === undefined || b === undefined)
        throw new LearningError(
          'ERR_MODEL',
          `parameter "${name.slice(0, 80)}" of a difference is not in the model`,
        )
      sum.set(name, a + b)
    }
  }
  return sum
}

/** Why differences cannot be added to the global model. */
export function differenceMisfit(params: ValueMap, global: ValueMap): string | undefined {
  for (const [name, value] of params) {
    const base = global.get(name)
    const label = `parameter "${name.slice(0, 80)}"`
    if (base === undefined) return `${label} of a difference is not in the global model`
    if (isTensor(base) !== isTensor(value))
      return `${label} is not of the kind that the global model has`
    if (isTensor(base) && isTensor(value) && !sameShape(base.shape, value.shape))
      return `${label} has shape (${value.shape.join(', ')}), the global model (${base.shape.join(', ')})`
  }
  return undefined
}
