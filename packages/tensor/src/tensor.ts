import {
  allocate,
  arrayOver,
  type DType,
  holdsDType,
  isDType,
  itemSize,
  lanesOf,
  type TypedArray,
} from './dtype.ts'
import { TensorError } from './tensor-error.ts'

/** The Python type that a tensor came from and goes back to when it is sent. */
export type Framework = 'numpy' | 'torch'

const MAX_DIMENSIONS = 64 // NumPy 2's own limit

/**
 * An n-dimensional array in C order. Immutable by convention: whoever holds one may share it, so nobody
 * writes to `data` after handing it on.
 */
export class Tensor {
  readonly dtype: DType
  /** Sizes per dimension, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[]
  /** bfloat16 as `Uint16Array`, bool as `Uint8Array`, complex as pairs (real, imaginary). Often a view. */
  readonly data: TypedArray
  /** Absent means NumPy. */
  readonly framework?: Framework | undefined

  /**
   * Keeps `data`, without a copy.
   * @throws {TensorError} `ERR_TENSOR_SHAPE`, `ERR_TENSOR_DTYPE` when the three do not fit together
   */
  constructor(dtype: DType, shape: readonly number[], data: TypedArray, framework?: Framework) {
    if (!holdsDType(dtype, data))
      throw new TensorError('ERR_TENSOR_DTYPE', `the data is not an array of ${dtype} elements`)
    const count = elementCount(shape)
    if (data.length !== count * lanesOf(dtype))
      throw new TensorError(
        'ERR_TENSOR_SHAPE',
        `shape (${shape.join(', ')}) has ${count} elements, the data ${data.length / lanesOf(dtype)}`,
      )
    this.dtype = dtype
    this.shape = Object.freeze([...shape])
    this.data = data
    if (framework !== undefined) this.framework = framework
  }
}

/** True for a `Tensor`, also one from another copy of this package. */
export function isTensor(value: unknown): value is Tensor {
  if (value instanceof Tensor) return true
  return (
    typeof value === 'object' &&
    value !== null &&
    'dtype' in value &&
    'shape' in value &&
    'data' in value &&
    isDType(value.dtype) &&
    Array.isArray(value.shape) &&
    holdsDType(value.dtype, value.data)
  )
}

/**
 * The product of the dimensions, exact.
 * @throws {TensorError} `ERR_TENSOR_SHAPE` on a dimension that is no count, more than 64 dimensions, or a
 * product past 2^53
 */
export function elementCount(shape: readonly number[]): number {
  if (shape.length > MAX_DIMENSIONS)
    throw new TensorError(
      'ERR_TENSOR_SHAPE',
      `${shape.length} dimensions are more than ${MAX_DIMENSIONS}`,
    )
  // A zero anywhere makes the product zero, but the other dimensions must still be sane.
  let product = 1
  let empty = false
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new TensorError('ERR_TENSOR_SHAPE', `dimension ${size} is not a count`)
    if (size === 0) empty = true
    else product *= size
    if (product > Number.MAX_SAFE_INTEGER)
      throw new TensorError(
        'ERR_TENSOR_SHAPE',
        `shape (${shape.join(', ')}) has more elements than can be counted`,
      )
  }
  return empty ? 0 : product
}

/** A tensor of zeros. */
export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  return new Tensor(dtype, shape, allocate(dtype, elementCount(shape)))
}

/** Nested lists of numbers, as a job's JSON has them. */
export type NestedNumbers = number | boolean | readonly NestedNumbers[]

/**
 * A tensor from nested lists, as `numpy.array` reads them.
 * @throws {TensorError} `ERR_TENSOR_SHAPE` on ragged lists
 */
export function tensorFromNested(nested: NestedNumbers, dtype: 'float32' | 'float64'): Tensor {
  const shape: number[] = []
  for (let level: NestedNumbers | undefined = nested; Array.isArray(level); level = level[0])
    shape.push(level.length)
  const flat: number[] = []
  const visit = (value: NestedNumbers, depth: number): void => {
    const isList = typeof value === 'object'
    if (isList !== depth < shape.length || (isList && value.length !== shape[depth]))
      throw new TensorError('ERR_TENSOR_SHAPE', 'the nested lists do not form a regular array')
    if (isList) for (const item of value) visit(item, depth + 1)
    else flat.push(Number(value))
  }
  visit(nested, 0)
  return new Tensor(
    dtype,
    shape,
    dtype === 'float32' ? new Float32Array(flat) : new Float64Array(flat),
  )
}

const HOST_IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/**
 * A tensor over raw elements in C order: a view where alignment and byte order allow, else a copy.
 * @param bytes borrowed for as long as the tensor lives
 * @throws {TensorError} `ERR_TENSOR_SHAPE` unless the length fits the shape exactly
 */
export function tensorFromBytes(
  dtype: DType,
  shape: readonly number[],
  bytes: Uint8Array,
  options: { byteOrder?: 'little' | 'big'; framework?: Framework } = {},
): Tensor {
  const little = (options.byteOrder ?? 'little') === 'little'
  const native =
    little === HOST_IS_LITTLE || wordSize(dtype) === 1 ? bytes : swapped(bytes, wordSize(dtype))
  return new Tensor(dtype, shape, arrayOver(dtype, native, elementCount(shape)), options.framework)
}

/** The elements as little-endian bytes in C order: a view on the tensor wherever the host is little-endian. */
export function tensorBytes(tensor: Tensor): Uint8Array {
  const { data } = tensor
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return HOST_IS_LITTLE || wordSize(tensor.dtype) === 1
    ? bytes
    : swapped(bytes, wordSize(tensor.dtype))
}

function wordSize(dtype: DType): number {
  return itemSize(dtype) / lanesOf(dtype)
}

function swapped(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(bytes.length)
  for (let start = 0; start + size <= bytes.length; start += size)
    for (let i = 0; i < size; i++) out[start + i] = bytes[start + size - 1 - i]!
  return out
}
