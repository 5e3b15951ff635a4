import type { FobsValue } from '@hanse/fobs'
import { castTensor, isTensor, itemSize, kindOf, type Tensor, tensorBytes } from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import { scalarOf } from '../model/numbers.ts'

// Pickle's own names for what is used here (protocol 4, `pickletools` of Python lists them).
const OP = {
  proto: 0x80,
  stop: 0x2e,
  none: 0x4e,
  true: 0x88,
  false: 0x89,
  long1: 0x8a,
  float: 0x47,
  text: 0x58,
  bytes8: 0x8e,
  emptyDict: 0x7d,
  emptyList: 0x5d,
  mark: 0x28,
  setItems: 0x75,
  appends: 0x65,
  tuple: 0x74,
  global: 0x63,
  reduce: 0x52,
} as const

const PROTOCOL = 4
const MAX_DEPTH = 64
const LETTERS = { bool: 'b', int: 'i', uint: 'u', float: 'f', complex: 'c' } as const

/**
 * The values as a pickle that Python's `pickle` and `joblib` load: maps, lists, texts, numbers, and arrays as
 * NumPy's. Only written, never read: whoever loads a pickle runs what it says.
 * @returns parts; arrays are borrowed from their tensors
 * @throws {LearningError} `ERR_PERSISTOR` on a value of another kind
 */
export function encodePickle(value: FobsValue): Uint8Array[] {
  const pickle = new Pickle()
  pickle.byte(OP.proto, PROTOCOL)
  pickle.value(value, 0)
  pickle.byte(OP.stop)
  return pickle.finish()
}

class Pickle {
  readonly #parts: Uint8Array[] = []
  #bytes: number[] = []

  byte(...bytes: readonly number[]): void {
    this.#bytes.push(...bytes)
  }

  value(value: FobsValue, depth: number): void {
    if (depth > MAX_DEPTH)
      throw new LearningError('ERR_PERSISTOR', `a model is nested deeper than ${MAX_DEPTH}`)
    if (value === null) this.byte(OP.none)
    else if (typeof value === 'boolean') this.byte(value ? OP.true : OP.false)
    else if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'bigint') this.#integer(value)
    else if (isTensor(value)) this.#array(value)
    else if (Array.isArray(value)) this.#list(value, depth)
    else if (value instanceof Map) this.#map(value, depth)
    else this.#number(value)
  }

  finish(): Uint8Array[] {
    this.#flush()
    return this.#parts
  }

  #number(value: FobsValue): void {
    const number = scalarOf(value)
    if (number === undefined)
      throw new LearningError('ERR_PERSISTOR', 'a model has a value that is no number and no array')
    // Wrapped numbers are floats of the sender, also where they are whole.
    if (typeof value === 'number' && Number.isSafeInteger(number)) this.#integer(BigInt(number))
    else {
      const view = new DataView(new ArrayBuffer(8))
      view.setFloat64(0, number)
      this.byte(OP.float, ...new Uint8Array(view.buffer))
    }
  }

  /** Two's complement, little-endian, as many bytes as it takes. */
  #integer(value: bigint): void {
    const bytes: number[] = []
    let rest = value
    while (rest !== 0n && !(rest === -1n && (bytes.at(-1) ?? 0) >= 0x80)) {
      bytes.push(Number(rest & 0xffn))
      rest >>= 8n
    }
    if (value > 0n && bytes.at(-1)! >= 0x80) bytes.push(0)
    if (bytes.length > 255)
      throw new LearningError('ERR_PERSISTOR', 'a model has a number of more than 255 bytes')
    this.byte(OP.long1, bytes.length, ...bytes)
  }

  #text(text: string): void {
    const bytes = new TextEncoder().encode(text)
    const size = new DataView(new ArrayBuffer(4))
    size.setUint32(0, bytes.length, true)
    this.byte(OP.text, ...new Uint8Array(size.buffer))
    this.#raw(bytes)
  }

  #list(items: readonly FobsValue[], depth: number): void {
    this.byte(OP.emptyList, OP.mark)
    for (const item of items) this.value(item, depth + 1)
    this.byte(OP.appends)
  }

  #map(map: ReadonlyMap<FobsValue, FobsValue>, depth: number): void {
    this.byte(OP.emptyDict, OP.mark)
    for (const [key, item] of map) {
      this.value(key, depth + 1)
      this.value(item, depth + 1)
    }
    this.byte(OP.setItems)
  }

  /** `numpy.ndarray(shape, dtype, bytearray(bytes))`: an array that may be written to. */
  #array(tensor: Tensor): void {
    const array = tensor.dtype === 'bfloat16' ? castTensor(tensor, 'float32') : tensor
    const size = itemSize(array.dtype)
    this.#global('numpy', 'ndarray')
    this.byte(OP.mark, OP.mark)
    for (const length of array.shape) this.#integer(BigInt(length))
    this.byte(OP.tuple)
    this.#text(`${size === 1 ? '|' : '<'}${LETTERS[kindOf(array.dtype)]}${size}`)
    this.#global('builtins', 'bytearray')
    const bytes = tensorBytes(array)
    const length = new DataView(new ArrayBuffer(8))
    length.setBigUint64(0, BigInt(bytes.length), true)
    this.byte(OP.mark, OP.bytes8, ...new Uint8Array(length.buffer))
    this.#raw(bytes)
    this.byte(OP.tuple, OP.reduce, OP.tuple, OP.reduce)
  }

  #global(module: string, name: string): void {
    this.byte(OP.global)
    this.#raw(new TextEncoder().encode(`${module}\n${name}\n`))
  }

  #raw(bytes: Uint8Array): void {
    this.#flush()
    this.#parts.push(bytes)
  }

  #flush(): void {
    if (this.#bytes.length > 0) this.#parts.push(Uint8Array.from(this.#bytes))
    this.#bytes = []
  }
}
