import type { FobsValue } from '@hanse/fobs'
import { isTensor, toNumbers } from '@hanse/tensor'

/**
 * The one number that a value stands for: numbers, whole numbers of any size, booleans as 0 and 1, wrapped
 * scalars of other platforms, and tensors of one element. `undefined` for anything else.
 */
export function scalarOf(value: FobsValue | undefined): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'boolean') return value ? 1 : 0
  if (typeof value !== 'object' || value === null) return undefined
  if (isTensor(value))
    return value.data.length === 1 ? toNumbers(value.dtype, value.data)[0] : undefined
  // Wrappers such as FOBS's Float or a NumPy scalar hold theirs in `value`.
  if (!('value' in value)) return undefined
  return typeof value.value === 'number' || typeof value.value === 'bigint'
    ? Number(value.value)
    : undefined
}
