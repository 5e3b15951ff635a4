import { allocate, type DType, lanesOf } from './dtype.ts'
import { fromNumbers, type NumberArray, toNumbers } from './numbers.ts'
import { commonDType, meanDType } from './result-dtype.ts'
import { Tensor } from './tensor.ts'
import { TensorError } from './tensor-error.ts'
import { WeightedSum } from './weighted-sum.ts'

/** Elements per block: the sums of one block stay in the processor's cache. */
const BLOCK_ELEMENTS = 64 * 1024

/** True when both have the same sizes in the same order. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

/**
 * The tensor in another element type, itself when it has it already. Rounds half to even; integers
 * truncate and wrap.
 * @throws {TensorError} `ERR_TENSOR_DTYPE` from complex to real
 */
export function castTensor(tensor: Tensor, dtype: DType): Tensor {
  if (tensor.dtype === dtype) return tensor
  if (lanesOf(tensor.dtype) > lanesOf(dtype))
    throw new TensorError('ERR_TENSOR_DTYPE', `${tensor.dtype} cannot become ${dtype}`)
  const numbers = spread(toNumbers(tensor.dtype, tensor.data), tensor.dtype, dtype)
  return new Tensor(dtype, tensor.shape, fromNumbers(dtype, numbers), tensor.framework)
}

/**
 * `base + delta` element by element, in the common type of both; rounded once. Shapes must be equal:
 * NumPy would repeat the smaller one, which in a model is a mistake.
 * @throws {TensorError} `ERR_TENSOR_SHAPE`
 */
export function addTensors(base: Tensor, delta: Tensor): Tensor {
  return combine(base, delta, 1)
}

/**
 * `minuend - subtrahend`, otherwise as `addTensors`.
 * @throws {TensorError} `ERR_TENSOR_SHAPE`
 */
export function subtractTensors(minuend: Tensor, subtrahend: Tensor): Tensor {
  return combine(minuend, subtrahend, -1)
}

/**
 * The weighted mean of equally shaped tensors in the order given, block by block: memory for one result.
 * The type of the result is the common one of the contributions' `meanDType`.
 * @throws {RangeError} without contributions or on a bad weight
 * @throws {TensorError} `ERR_TENSOR_SHAPE` when shapes differ
 */
export function weightedMean(
  contributions: readonly { readonly tensor: Tensor; readonly weight: number }[],
): Tensor {
  const first = contributions[0]?.tensor
  if (first === undefined) throw new RangeError('a mean needs at least one contribution')
  const dtype = contributions
    .map(({ tensor }) => meanDType(tensor.dtype, tensor.framework))
    .reduce((a, b) => commonDType(a, b, first.framework))
  for (const { tensor } of contributions) checkShapes(first, tensor)
  const lanes = lanesOf(dtype)
  const count = first.data.length / lanesOf(first.dtype)
  const out = allocate(dtype, count)
  let sum = new WeightedSum(dtype, Math.min(count, BLOCK_ELEMENTS))
  for (let start = 0; start < count; start += BLOCK_ELEMENTS) {
    const end = Math.min(count, start + BLOCK_ELEMENTS)
    if (end - start < BLOCK_ELEMENTS && start > 0) sum = new WeightedSum(dtype, end - start)
    else sum.reset()
    for (const { tensor, weight } of contributions) {
      const width = lanesOf(tensor.dtype)
      sum.add(tensor.dtype, tensor.data.subarray(start * width, end * width), weight)
    }
    sum.meanInto(out.subarray(start * lanes, end * lanes))
  }
  return new Tensor(dtype, first.shape, out, first.framework)
}

function combine(a: Tensor, b: Tensor, sign: 1 | -1): Tensor {
  checkShapes(a, b)
  const dtype = commonDType(a.dtype, b.dtype, a.framework)
  const left = spread(toNumbers(a.dtype, a.data), a.dtype, dtype)
  const right = spread(toNumbers(b.dtype, b.data), b.dtype, dtype)
  const exact = addExactly(a, b, dtype, sign)
  if (exact !== undefined) return exact
  const numbers = new Float64Array(left.length)
  for (let i = 0; i < numbers.length; i++) numbers[i] = left[i]! + sign * right[i]!
  return new Tensor(dtype, a.shape, fromNumbers(dtype, numbers), a.framework)
}

/** 64-bit integers do not fit a number: add them as they are. */
function addExactly(a: Tensor, b: Tensor, dtype: DType, sign: 1 | -1): Tensor | undefined {
  if (dtype !== 'int64' && dtype !== 'uint64') return undefined
  const out =
    dtype === 'int64' ? new BigInt64Array(a.data.length) : new BigUint64Array(a.data.length)
  for (let i = 0; i < out.length; i++)
    out[i] = BigInt(a.data[i]!) + BigInt(sign) * BigInt(b.data[i]!)
  return new Tensor(dtype, a.shape, out, a.framework)
}

/** Real numbers as (real, 0) pairs where the result is complex. */
function spread(numbers: NumberArray, from: DType, to: DType): NumberArray {
  if (lanesOf(from) === lanesOf(to)) return numbers
  const out = new Float64Array(numbers.length * 2)
  for (let i = 0; i < numbers.length; i++) out[i * 2] = numbers[i]!
  return out
}

function checkShapes(a: Tensor, b: Tensor): void {
  if (!sameShape(a.shape, b.shape))
    throw new TensorError(
      'ERR_TENSOR_SHAPE',
      `shapes (${a.shape.join(', ')}) and (${b.shape.join(', ')}) differ`,
    )
}
