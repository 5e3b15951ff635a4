import type { FobsValue } from '@hanse/fobs'
import { fromNumbers, isTensor, kindOf, meanDType, Tensor, toNumbers } from '@hanse/tensor'
import { stepsOf } from '../aggregation/weights.ts'
import type { Filter } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import type { ValueMap } from '../model/dxo.ts'
import { DxoFilter } from './dxo-filter.ts'

export interface PercentilePrivacySettings {
  /** 0…100: this share of the smallest changes is set to 0. */
  readonly percentile: number
  /** Largest change per step that goes out. > 0. */
  readonly gamma: number
  readonly kinds: readonly DataKind[]
}

/**
 * Keeps only the larger changes and limits those (policies.md §5.2). As in stock, arrays without dimensions pass
 * untouched, and the limit is one per step, of which a result says itself how many it took. This is not differential
 * privacy.
 */
export function percentilePrivacy(settings: PercentilePrivacySettings): Filter {
  const { percentile, gamma, kinds } = settings
  return new DxoFilter('PercentilePrivacy', kinds, (data, dxo) => {
    const steps = stepsOf(dxo.meta)
    const arrays = realArrays(data)
    const cutoff = percentileOf(
      arrays.flatMap(({ numbers }) => [numbers]),
      percentile,
      steps,
    )
    const out = new Map<string, FobsValue>(data)
    for (const { name, tensor, numbers } of arrays) {
      if (tensor.shape.length === 0) continue
      const limited = new Float64Array(numbers.length)
      for (let i = 0; i < numbers.length; i++) {
        const change = numbers[i]! / steps
        // NaN compares with nothing and stays: the receiver must see that training failed.
        const kept = change > -cutoff && change < cutoff ? 0 : change
        limited[i] = Math.min(Math.max(kept, -gamma), gamma) * steps
      }
      const dtype = meanDType(tensor.dtype, tensor.framework)
      out.set(name, new Tensor(dtype, tensor.shape, fromNumbers(dtype, limited), tensor.framework))
    }
    return out
  })
}

/** A parameter that is an array of real numbers. */
export interface RealArray {
  readonly name: string
  readonly tensor: Tensor
  readonly numbers: ArrayLike<number>
}

/** All parameters as arrays of numbers. @throws {LearningError} `ERR_FILTER` for what is none */
export function realArrays(data: ValueMap): RealArray[] {
  return [...data].map(([name, value]) => {
    if (!isTensor(value) || kindOf(value.dtype) === 'complex')
      throw new LearningError(
        'ERR_FILTER',
        `parameter "${name.slice(0, 80)}" is no array of real numbers and cannot be filtered`,
      )
    return { name, tensor: value, numbers: toNumbers(value.dtype, value.data) }
  })
}

/** NumPy's percentile with linear interpolation, of the absolute values divided by `steps`. */
function percentileOf(
  arrays: readonly ArrayLike<number>[],
  percentile: number,
  steps: number,
): number {
  const all = new Float64Array(arrays.reduce((sum, { length }) => sum + length, 0))
  if (all.length === 0) return 0
  let at = 0
  for (const numbers of arrays)
    for (let i = 0; i < numbers.length; i++) all[at++] = Math.abs(numbers[i]! / steps)
  if (all.some(Number.isNaN)) return Number.NaN
  all.sort()
  const position = (percentile / 100) * (all.length - 1)
  const below = Math.floor(position)
  const low = all[below]!
  const high = all[Math.min(below + 1, all.length - 1)]!
  return low + (high - low) * (position - below)
}
