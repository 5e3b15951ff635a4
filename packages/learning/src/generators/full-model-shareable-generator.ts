import type { Shareable } from '@hanse/session'
import type { ShareableGenerator } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import { type Dxo, mapOf, withDxo } from '../model/dxo.ts'
import type { Learnable } from '../model/learnable.ts'
import { addDifference } from '../workflows/model-difference.ts'

/** The whole model out; whole models or differences back (workflows.md §8.3). */
export class FullModelShareableGenerator implements ShareableGenerator {
  toShareable(model: Learnable): Shareable {
    return withDxo({ kind: 'WEIGHTS', data: new Map(model.weights), meta: model.meta })
  }

  toLearnable(aggregate: Dxo, current: Learnable): Learnable {
    switch (aggregate.kind) {
      case 'WEIGHT_DIFF':
        return { weights: addDifference(current.weights, mapOf(aggregate)), meta: aggregate.meta }
      case 'WEIGHTS': {
        const weights = mapOf(aggregate)
        return { weights: weights.size > 0 ? weights : current.weights, meta: aggregate.meta }
      }
      default:
        throw new LearningError('ERR_MODEL', `a global model cannot be made of ${aggregate.kind}`)
    }
  }
}
