import { elementCount, type PythonLiteral, parseNpyHeader, TensorError } from '@hanse/tensor'

/**
 * A NumPy array that is carried but not computed with: text, dates, structured types, or any array on its way
 * through a relay. Encodes to the very bytes it was read from.
 */
export class RawArray {
  /** NumPy's type text such as `<U3`, or the list of a structured type. */
  readonly descr: PythonLiteral
  readonly shape: readonly number[]
  readonly fortranOrder: boolean
  /** The elements in the order of the file. */
  readonly data: Uint8Array
  /** The whole `.npy` file. */
  readonly file: Uint8Array

  /**
   * @param file a `.npy` file, borrowed for as long as the array lives
   * @throws {TensorError} `ERR_NPY_FORMAT`; `ERR_NPY_DTYPE` for Python objects and types that do not exist
   */
  constructor(file: Uint8Array) {
    const { descr, shape, fortranOrder, dataOffset } = parseNpyHeader(file)
    const size = elementBytes(descr)
    const present = file.length - dataOffset
    if (BigInt(elementCount(shape)) * BigInt(size) !== BigInt(present))
      throw new TensorError(
        'ERR_NPY_FORMAT',
        `shape (${shape.join(', ')}) of ${size}-byte elements does not match ${present} bytes of data`,
      )
    this.descr = descr
    this.shape = shape
    this.fortranOrder = fortranOrder
    this.data = file.subarray(dataOffset)
    this.file = file
  }
}

const SIMPLE = /^[<>|]([a-zA-Z])(\d{1,9})(\[\d{0,9}[A-Za-z]{1,8}(?:\/\d{1,9})?\])?$/
const NUMBER_SIZES: ReadonlyMap<string, readonly number[]> = new Map([
  ['b', [1]],
  ['i', [1, 2, 4, 8]],
  ['u', [1, 2, 4, 8]],
  ['f', [2, 4, 8, 16]],
  ['c', [8, 16, 32]],
])
const UTF32_BYTES = 4
const MAX_NESTING = 16

/** Bytes of one element of a NumPy type. */
function elementBytes(descr: PythonLiteral, depth = 0): number {
  if (depth > MAX_NESTING) throw badType()
  if (typeof descr === 'string') return simpleBytes(descr)
  if (!Array.isArray(descr)) throw badType()
  let sum = 0
  for (const field of descr) {
    if (typeof field !== 'object' || !('tuple' in field)) throw badType()
    const [, type, shape] = field.tuple
    if (field.tuple.length < 2 || field.tuple.length > 3 || type === undefined) throw badType()
    sum += elementBytes(type, depth + 1) * fieldCount(shape)
    if (!Number.isSafeInteger(sum)) throw badType()
  }
  return sum
}

function simpleBytes(descr: string): number {
  const match = SIMPLE.exec(descr)
  const [, kind, digits, unit] = match ?? []
  const size = Number(digits)
  if (unit !== undefined && kind !== 'M' && kind !== 'm') throw badType()
  switch (kind) {
    case 'S':
    case 'V':
      return size
    case 'U':
      return size * UTF32_BYTES
    case 'M':
    case 'm':
      if (size !== 8) throw badType()
      return size
    default:
      if (!NUMBER_SIZES.get(kind ?? '')?.includes(size)) throw badType()
      return size
  }
}

/** Elements of a field that is itself an array; its shape is a tuple, or a number for one dimension. */
function fieldCount(shape: PythonLiteral | undefined): number {
  if (shape === undefined) return 1
  const sizes = typeof shape === 'object' && 'tuple' in shape ? shape.tuple : [shape]
  return elementCount(
    sizes.map((size) => {
      if (typeof size !== 'number') throw badType()
      return size
    }),
  )
}

function badType(): TensorError {
  return new TensorError(
    'ERR_NPY_DTYPE',
    '.npy element type holds Python objects or does not exist',
  )
}
