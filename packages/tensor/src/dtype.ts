/// <reference lib="es2025.float16" preserve="true" />
import { TensorError } from './tensor-error.ts'

/** Element types under NumPy's names, and `bfloat16`, which PyTorch has and NumPy does not. */
export type DType =
  | 'bool'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'float16'
  | 'bfloat16'
  | 'float32'
  | 'float64'
  | 'complex64'
  | 'complex128'

/** What holds a tensor's elements. */
export type TypedArray =
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Float16Array
  | Float32Array
  | Float64Array

interface ArrayConstructor {
  readonly BYTES_PER_ELEMENT: number
  new (length: number): TypedArray
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray
}

interface DTypeInfo {
  readonly bytes: number
  readonly kind: 'bool' | 'int' | 'uint' | 'float' | 'complex'
  /** Array entries per element: 2 for complex numbers (real, imaginary), otherwise 1. */
  readonly lanes: 1 | 2
  readonly array: ArrayConstructor
}

const INFO: Readonly<Record<DType, DTypeInfo>> = {
  bool: { bytes: 1, kind: 'bool', lanes: 1, array: Uint8Array },
  int8: { bytes: 1, kind: 'int', lanes: 1, array: Int8Array },
  int16: { bytes: 2, kind: 'int', lanes: 1, array: Int16Array },
  int32: { bytes: 4, kind: 'int', lanes: 1, array: Int32Array },
  int64: { bytes: 8, kind: 'int', lanes: 1, array: BigInt64Array },
  uint8: { bytes: 1, kind: 'uint', lanes: 1, array: Uint8Array },
  uint16: { bytes: 2, kind: 'uint', lanes: 1, array: Uint16Array },
  uint32: { bytes: 4, kind: 'uint', lanes: 1, array: Uint32Array },
  uint64: { bytes: 8, kind: 'uint', lanes: 1, array: BigUint64Array },
  float16: { bytes: 2, kind: 'float', lanes: 1, array: Float16Array },
  bfloat16: { bytes: 2, kind: 'float', lanes: 1, array: Uint16Array },
  float32: { bytes: 4, kind: 'float', lanes: 1, array: Float32Array },
  float64: { bytes: 8, kind: 'float', lanes: 1, array: Float64Array },
  complex64: { bytes: 8, kind: 'complex', lanes: 2, array: Float32Array },
  complex128: { bytes: 16, kind: 'complex', lanes: 2, array: Float64Array },
}

/** All element types. */
export const DTYPES: readonly DType[] = Object.freeze(Object.keys(INFO) as DType[]) // keys of a Record<DType, …>

/** True for the name of an element type. */
export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(INFO, name)
}

/** Bytes of one element. */
export function itemSize(dtype: DType): number {
  return INFO[dtype].bytes
}

/** Entries of the typed array per element: 2 for complex numbers (real, imaginary), otherwise 1. */
export function lanesOf(dtype: DType): 1 | 2 {
  return INFO[dtype].lanes
}

/** The family of an element type. */
export function kindOf(dtype: DType): 'bool' | 'int' | 'uint' | 'float' | 'complex' {
  return INFO[dtype].kind
}

/** A zeroed array for `count` elements of `dtype`. */
export function allocate(dtype: DType, count: number): TypedArray {
  return new INFO[dtype].array(count * INFO[dtype].lanes)
}

/** True when `data` is the array class that holds `dtype`. */
export function holdsDType(dtype: DType, data: unknown): data is TypedArray {
  return data instanceof INFO[dtype].array
}

/**
 * `count` elements over bytes in host order: a view where `bytes` is aligned for the type, else a copy.
 * @throws {TensorError} `ERR_TENSOR_SHAPE` when the byte length is not exactly that of `count` elements
 */
export function arrayOver(dtype: DType, bytes: Uint8Array, count: number): TypedArray {
  const { array, bytes: size, lanes } = INFO[dtype]
  if (bytes.byteLength !== count * size)
    throw new TensorError(
      'ERR_TENSOR_SHAPE',
      `${count} elements of ${dtype} take ${count * size} bytes, got ${bytes.byteLength}`,
    )
  if (bytes.byteOffset % array.BYTES_PER_ELEMENT === 0)
    return new array(bytes.buffer, bytes.byteOffset, count * lanes)
  return new array(bytes.slice().buffer, 0, count * lanes)
}
