import { type BytePart, bytesOf, messageOf } from '@hanse/contract'
import { allocate, type DType, itemSize, lanesOf, type TypedArray } from './dtype.ts'
import { type PythonLiteral, parsePythonLiteral } from './python-literal.ts'
import { elementsOf } from './stored-tensor.ts'
import { elementCount, Tensor, tensorFromBytes } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

/** What stands before the elements of a `.npy` file (fobs.md §11.1). */
export interface NpyHeader {
  /** NumPy's type text such as `<f4`, or the list of a structured type. */
  readonly descr: PythonLiteral
  readonly fortranOrder: boolean
  readonly shape: readonly number[]
  /** Where the elements begin. */
  readonly dataOffset: number
}

/** How the elements of a `.npy` file lie in it. */
export interface NpyLayout {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly dataOffset: number
  readonly byteOrder: 'big' | 'little'
  /** Columns first; only where that makes a difference. */
  readonly fortranOrder: boolean
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
const MAX_HEADER_CHARACTERS = 10_000 // NumPy's own limit
/** A header, with what stands before it. */
export const MAX_NPY_HEADER_BYTES = 12 + MAX_HEADER_CHARACTERS
const ALIGNMENT = 64
// NumPy leaves room so that the growing dimension can be rewritten in place.
const GROWTH_DIGITS = 21

const FROM_DESCR: ReadonlyMap<string, DType> = new Map([
  ['b1', 'bool'],
  ['i1', 'int8'],
  ['i2', 'int16'],
  ['i4', 'int32'],
  ['i8', 'int64'],
  ['u1', 'uint8'],
  ['u2', 'uint16'],
  ['u4', 'uint32'],
  ['u8', 'uint64'],
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
  ['c8', 'complex64'],
  ['c16', 'complex128'],
])
const TO_DESCR: ReadonlyMap<DType, string> = new Map(
  [...FROM_DESCR].map(([descr, dtype]) => [
    dtype,
    itemSize(dtype) === 1 ? `|${descr}` : `<${descr}`,
  ]),
)

/**
 * Reads the header only, whatever the element type; for callers that keep arrays they cannot compute with.
 * @throws {TensorError} `ERR_NPY_FORMAT`
 */
export function parseNpyHeader(bytes: Uint8Array): NpyHeader {
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte))
    throw new TensorError('ERR_NPY_FORMAT', 'not a .npy file: the magic bytes are missing')
  const major = bytes[6]!
  const minor = bytes[7]!
  if (major < 1 || major > 3 || minor !== 0)
    throw new TensorError('ERR_NPY_FORMAT', `.npy version ${major}.${minor} is not 1.0, 2.0 or 3.0`)
  const lengthBytes = major === 1 ? 2 : 4
  if (bytes.length < 8 + lengthBytes)
    throw new TensorError('ERR_NPY_FORMAT', 'the .npy file ends inside its header')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > MAX_HEADER_CHARACTERS)
    throw new TensorError(
      'ERR_NPY_FORMAT',
      `.npy header of ${length} bytes is over the limit of ${MAX_HEADER_CHARACTERS}`,
    )
  const dataOffset = 8 + lengthBytes + length
  if (bytes.length < dataOffset)
    throw new TensorError('ERR_NPY_FORMAT', 'the .npy file ends inside its header')
  const raw = bytes.subarray(8 + lengthBytes, dataOffset)
  return { ...readDict(headerText(raw, major)), dataOffset }
}

/**
 * Reads where the elements of a file are.
 * @param head at least the header
 * @param byteLength of the whole file, which the elements must fill
 * @throws {TensorError} `ERR_NPY_FORMAT`, `ERR_NPY_DTYPE`
 */
export function npyLayout(head: Uint8Array, byteLength: number): NpyLayout {
  const { descr, fortranOrder, shape, dataOffset } = parseNpyHeader(head)
  const match = typeof descr === 'string' ? /^([<>|])([a-z]\d{1,2})$/.exec(descr) : null
  const dtype = FROM_DESCR.get(match?.[2] ?? '')
  if (match === null || dtype === undefined || (match[1] === '|' && itemSize(dtype) > 1))
    throw new TensorError(
      'ERR_NPY_DTYPE',
      `.npy element type ${describe(descr)} is not one we can compute with`,
    )
  const present = byteLength - dataOffset
  if (BigInt(elementCount(shape)) * BigInt(itemSize(dtype)) !== BigInt(present))
    throw new TensorError(
      'ERR_NPY_FORMAT',
      `shape (${shape.join(', ')}) of ${dtype} does not match ${present} bytes of data`,
    )
  const byteOrder = match[1] === '>' ? 'big' : 'little'
  return { dtype, shape, dataOffset, byteOrder, fortranOrder: fortranOrder && shape.length > 1 }
}

/**
 * Reads a whole `.npy` file. The tensor is a view on `bytes` where alignment, byte order and element
 * order allow; Fortran order and big-endian data are rearranged into a copy.
 * @throws {TensorError} `ERR_NPY_FORMAT`, `ERR_NPY_DTYPE`
 */
export function parseNpy(bytes: Uint8Array): Tensor {
  const { dtype, shape, dataOffset, byteOrder, fortranOrder } = npyLayout(bytes, bytes.length)
  const data = bytes.subarray(dataOffset)
  if (!fortranOrder) return tensorFromBytes(dtype, shape, data, { byteOrder })
  const columns = tensorFromBytes(dtype, [...shape].reverse(), data, { byteOrder })
  return new Tensor(dtype, shape, reversedAxes(columns))
}

/**
 * The file as NumPy would write it, byte for byte, in pieces: the header and a view on the elements; those of a
 * stored tensor stay where they are.
 * @throws {TensorError} `ERR_NPY_DTYPE` for bfloat16, which NumPy does not have
 */
export function encodeNpy(tensor: Tensor): [header: Uint8Array, data: BytePart] {
  return [npyHeaderBytes(tensor.dtype, tensor.shape), elementsOf(tensor)]
}

/** The file as NumPy would write it, in one piece (a copy); see `encodeNpy`. */
export function writeNpy(tensor: Tensor): Uint8Array {
  const [header, data] = encodeNpy(tensor)
  const out = new Uint8Array(header.length + data.byteLength)
  out.set(header)
  out.set(bytesOf(data), header.length)
  return out
}

/**
 * NumPy's header for little-endian C-order data; for writers that stream the elements.
 * @throws {TensorError} `ERR_NPY_DTYPE`
 */
export function npyHeaderBytes(dtype: DType, shape: readonly number[]): Uint8Array {
  const descr = TO_DESCR.get(dtype)
  if (descr === undefined)
    throw new TensorError(
      'ERR_NPY_DTYPE',
      `.npy files cannot hold ${dtype}: convert to float32 first`,
    )
  const dimensions = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  let text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${dimensions}, }`
  const first = shape[0]
  if (first !== undefined) text += ' '.repeat(Math.max(0, GROWTH_DIGITS - `${first}`.length))
  // A header of a sane tensor (64 dimensions at most) always fits version 1.0.
  const prefix = 10
  const padding = ALIGNMENT - ((prefix + text.length + 1) % ALIGNMENT)
  text += `${' '.repeat(padding)}\n`
  const out = new Uint8Array(prefix + text.length)
  out.set(MAGIC)
  out[6] = 1
  new DataView(out.buffer).setUint16(8, text.length, true)
  out.set(new TextEncoder().encode(text), prefix)
  return out
}

function headerText(raw: Uint8Array, major: number): string {
  if (major < 3) return Array.from(raw, (byte) => String.fromCharCode(byte)).join('')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(raw)
  } catch (cause) {
    throw new TensorError('ERR_NPY_FORMAT', '.npy header is not UTF-8', {}, { cause })
  }
}

function readDict(text: string): Omit<NpyHeader, 'dataOffset'> {
  let dict: PythonLiteral
  try {
    dict = parsePythonLiteral(text)
  } catch (cause) {
    throw new TensorError('ERR_NPY_FORMAT', `.npy header: ${messageOf(cause)}`, {}, { cause })
  }
  if (!(dict instanceof Map) || dict.size !== 3)
    throw new TensorError(
      'ERR_NPY_FORMAT',
      '.npy header must have descr, fortran_order and shape only',
    )
  const descr = dict.get('descr')
  const fortranOrder = dict.get('fortran_order')
  const shape = dict.get('shape')
  if (descr === undefined || typeof fortranOrder !== 'boolean' || !isTuple(shape))
    throw new TensorError(
      'ERR_NPY_FORMAT',
      '.npy header must have descr, fortran_order and shape only',
    )
  const sizes = shape.tuple.map((size) => {
    if (typeof size !== 'number')
      throw new TensorError('ERR_NPY_FORMAT', '.npy shape has a dimension that is no number')
    return size
  })
  elementCount(sizes)
  return { descr, fortranOrder, shape: sizes }
}

function isTuple(
  value: PythonLiteral | undefined,
): value is { readonly tuple: readonly PythonLiteral[] } {
  return typeof value === 'object' && 'tuple' in value
}

function describe(descr: PythonLiteral): string {
  return typeof descr === 'string' ? `"${descr.slice(0, 40)}"` : 'of fields'
}

/** C-order elements of the array whose axes are those of `tensor` backwards. */
function reversedAxes(tensor: Tensor): TypedArray {
  const { dtype, shape, data } = tensor
  const lanes = lanesOf(dtype)
  const out = allocate(dtype, data.length / lanes)
  const sizes = [...shape].reverse()
  // Strides in the source of the axes of the result: the source's, backwards.
  const strides = sizes.map((_, axis) =>
    sizes.slice(0, axis).reduce((product, size) => product * size, lanes),
  )
  const index = new Array<number>(sizes.length).fill(0)
  let from = 0
  for (let to = 0; to < out.length; to += lanes) {
    for (let lane = 0; lane < lanes; lane++) out[to + lane] = data[from + lane]!
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += strides[axis]!
      if (++index[axis]! < sizes[axis]!) break
      from -= strides[axis]! * sizes[axis]!
      index[axis] = 0
    }
  }
  return out
}
