import type { FobsValue } from '@hanse/fobs'
import { fromNumbers, isTensor, Tensor, toNumbers } from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import type { ValueMap } from '../model/dxo.ts'
import { NUMPY_KEY } from '../persistors/np-model-persistor.ts'
import type { FedAvgExtension } from './fed-avg-extension.ts'
import { solveLinear } from './solve-linear.ts'

/** Arguments of FedAvgLR under our names (workflows.md §4.8). */
export interface NewtonRaphsonSettings {
  /** Share of a whole step. */
  readonly damping: number
  /** Added to the diagonal of the Hessian. */
  readonly epsilon: number
}

/** Weights of the model: a Hessian has the square of it. */
const MAX_WEIGHTS = 2_000

/**
 * Logistic regression by Newton's method: sites send gradient and Hessian of their log-likelihood, and the step
 * that the weighted means of both give is added to the weights.
 */
export class NewtonRaphson implements FedAvgExtension {
  readonly #settings: NewtonRaphsonSettings
  #weights: Tensor | undefined

  constructor(settings: NewtonRaphsonSettings) {
    this.#settings = settings
  }

  begin(model: ValueMap): void {
    const weights = model.get(NUMPY_KEY)
    if (!isTensor(weights) || weights.data.length === 0 || weights.data.length > MAX_WEIGHTS)
      throw new LearningError(
        'ERR_MODEL',
        `the model needs 1 to ${MAX_WEIGHTS} weights to begin with`,
      )
    this.#weights = weights
  }

  taskMeta(): ValueMap {
    return new Map()
  }

  contribution(params: ValueMap): ValueMap {
    const count = this.#current().data.length
    return new Map([
      ['gradient', shaped(params, 'gradient', [count, 1])],
      ['hessian', shaped(params, 'hessian', [count, count])],
    ])
  }

  takeMeans(means: ReadonlyMap<string, FobsValue>): Map<string, FobsValue> {
    const weights = this.#current()
    const count = weights.data.length
    const hessian = numbersOf(means.get('hessian'))
    for (let i = 0; i < count; i++) hessian[i * count + i]! += this.#settings.epsilon
    const step = solveLinear(hessian, numbersOf(means.get('gradient')))
    if (step === undefined)
      throw new LearningError('ERR_ROUND', 'the mean of the Hessians cannot be inverted')
    const next = Float64Array.from(
      toNumbers(weights.dtype, weights.data),
      (weight, i) => weight + this.#settings.damping * step[i]!,
    )
    this.#weights = new Tensor(weights.dtype, weights.shape, fromNumbers(weights.dtype, next))
    return new Map([[NUMPY_KEY, this.#weights]])
  }

  #current(): Tensor {
    if (this.#weights !== undefined) return this.#weights
    throw new LearningError('ERR_MODEL', 'there are no weights yet')
  }
}

function shaped(params: ValueMap, name: string, shape: readonly number[]): Tensor {
  const value = params.get(name)
  if (!isTensor(value) || value.shape.join() !== shape.join())
    throw new LearningError(
      'ERR_CONTRIBUTION',
      `it has no array "${name}" of shape (${shape.join(', ')})`,
    )
  return value
}

function numbersOf(value: FobsValue | undefined): Float64Array {
  if (isTensor(value)) return Float64Array.from(toNumbers(value.dtype, value.data))
  throw new LearningError('ERR_ROUND', 'the round has no mean of gradients and Hessians')
}
