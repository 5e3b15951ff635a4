import type { MetaValue, TrainerModel } from '@hanse/client/core'
import { messageOf } from '@hanse/contract'
import { subtractTensors, type Tensor } from '@hanse/tensor'
import { asArray } from './model-conversion.ts'
import { TrainerError } from './trainer-error.ts'

/**
 * What training changed: each parameter that both models have, result minus received; the rest of the result
 * as it is (client-api.md §2, transfer type `DIFF`). A result that is a difference already stays as it is.
 * @throws {TrainerError} `ERR_TRAINER_RESULT` without a common parameter, or when shapes differ
 */
export function asDifference(
  result: TrainerModel<MetaValue>,
  received: TrainerModel<MetaValue>,
): TrainerModel<MetaValue> {
  if (result.params === undefined || result.paramsType === 'DIFF') return result
  const before = new Map(Object.entries(received.params ?? {}))
  const changed: [string, Tensor][] = []
  for (const [name, value] of Object.entries(result.params)) {
    const [tensor, old] = [asArray(value), asArray(before.get(name))]
    if (tensor === undefined || old === undefined) continue
    try {
      changed.push([name, subtractTensors(tensor, old)])
    } catch (cause) {
      throw new TrainerError(
        'ERR_TRAINER_RESULT',
        `a parameter of the result does not fit the one received: ${messageOf(cause)}`,
        {},
        { cause },
      )
    }
  }
  if (changed.length === 0)
    throw new TrainerError(
      'ERR_TRAINER_RESULT',
      'the result has no parameter of the model received',
    )
  return { ...result, params: Object.fromEntries(changed), paramsType: 'DIFF' }
}
