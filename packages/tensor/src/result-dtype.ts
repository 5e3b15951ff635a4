import { type DType, itemSize, kindOf } from './dtype.ts'
import type { Framework } from './tensor.ts'

/**
 * The type of a weighted mean of `dtype`: floats and complex numbers keep theirs; integers and booleans
 * become what multiplying them by a float makes of them, float64 in NumPy and float32 in PyTorch.
 */
export function meanDType(dtype: DType, framework: Framework = 'numpy'): DType {
  const kind = kindOf(dtype)
  if (kind === 'float' || kind === 'complex') return dtype
  return framework === 'torch' ? 'float32' : 'float64'
}

/**
 * The smallest type that holds both, by NumPy's rules; bfloat16 with float16 gives float32. In PyTorch an
 * integer never widens a float.
 */
export function commonDType(a: DType, b: DType, framework: Framework = 'numpy'): DType {
  if (a === b) return a
  if (framework === 'torch' && isExact(a) !== isExact(b)) return isExact(a) ? b : a
  const kinds = [kindOf(a), kindOf(b)]
  if (kinds.includes('complex'))
    return Math.max(realBytes(a), realBytes(b)) > 4 ? 'complex128' : 'complex64'
  if (kinds.includes('float')) {
    const bytes = Math.max(realBytes(a), realBytes(b))
    if (bytes === 8) return 'float64'
    if (bytes === 4) return 'float32'
    // Two bytes at most: a half float with a narrow integer, or the two half floats.
    const halves = [a, b].filter((dtype) => kindOf(dtype) === 'float')
    return halves.length === 1 ? halves[0]! : 'float32'
  }
  if (a === 'bool') return b
  if (b === 'bool') return a
  return commonInteger(a, b)
}

function isExact(dtype: DType): boolean {
  const kind = kindOf(dtype)
  return kind !== 'float' && kind !== 'complex'
}

/** Bytes of the float that an element of this type needs to keep its values. */
function realBytes(dtype: DType): number {
  switch (kindOf(dtype)) {
    case 'bool':
      return 2
    case 'complex':
      return itemSize(dtype) / 2
    case 'float':
      return itemSize(dtype)
    case 'int':
    case 'uint':
      return Math.min(8, itemSize(dtype) * 2)
  }
}

function commonInteger(a: DType, b: DType): DType {
  if (kindOf(a) === kindOf(b)) return itemSize(a) > itemSize(b) ? a : b
  const [signed, unsigned] = kindOf(a) === 'int' ? [a, b] : [b, a]
  if (itemSize(signed) > itemSize(unsigned)) return signed
  switch (itemSize(unsigned)) {
    case 1:
      return 'int16'
    case 2:
      return 'int32'
    case 4:
      return 'int64'
    default:
      return 'float64'
  }
}
