import { bfloat16ToNumber, numberToBfloat16 } from './bfloat16.ts'
import { allocate, type DType, lanesOf, type TypedArray } from './dtype.ts'

/** The typed arrays whose entries are numbers. */
export type NumberArray = Exclude<TypedArray, BigInt64Array | BigUint64Array>

/**
 * The values as JavaScript numbers: the array itself where it holds numbers already, else a new one.
 * 64-bit integers past 2^53 are rounded, as NumPy rounds them on the way to float64.
 */
export function toNumbers(dtype: DType, values: TypedArray): NumberArray {
  switch (dtype) {
    case 'bfloat16': {
      const source = values as Uint16Array // what holds bfloat16
      const out = new Float32Array(source.length)
      for (let i = 0; i < out.length; i++) out[i] = bfloat16ToNumber(source[i]!)
      return out
    }
    case 'bool': {
      const source = values as Uint8Array // what holds bool
      const out = new Uint8Array(source.length)
      for (let i = 0; i < out.length; i++) out[i] = source[i] === 0 ? 0 : 1
      return out
    }
    case 'int64':
    case 'uint64': {
      const source = values as BigInt64Array | BigUint64Array // what holds 64-bit integers
      const out = new Float64Array(source.length)
      for (let i = 0; i < out.length; i++) out[i] = Number(source[i]!)
      return out
    }
    default:
      return values as NumberArray // all other types hold numbers
  }
}

/**
 * A new array of `dtype` with the numbers rounded to it, half to even. Integers truncate towards zero and
 * wrap, as typed arrays do; what is no number becomes 0 there.
 */
export function fromNumbers(dtype: DType, numbers: ArrayLike<number>): TypedArray {
  const out = allocate(dtype, numbers.length / lanesOf(dtype))
  if (dtype === 'bfloat16')
    for (let i = 0; i < out.length; i++) out[i] = numberToBfloat16(numbers[i]!)
  else if (dtype === 'bool') for (let i = 0; i < out.length; i++) out[i] = numbers[i] === 0 ? 0 : 1
  else if (out instanceof BigInt64Array || out instanceof BigUint64Array)
    for (let i = 0; i < out.length; i++) {
      const number = Math.trunc(numbers[i]!)
      out[i] = Number.isFinite(number) ? BigInt(number) : 0n
    }
  else for (let i = 0; i < out.length; i++) out[i] = numbers[i]!
  return out
}
