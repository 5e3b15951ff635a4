import type { DType, TypedArray } from './dtype.ts'
import { itemSize } from './dtype.ts'
import { elementCount, type Framework, Tensor, tensorBytes, tensorFromBytes } from './tensor.ts'

/** The elements of one array outside of memory: little-endian, in C order. Found by the garbage collector if forgotten. */
export interface StoredElements {
  readonly byteLength: number
  /**
   * Fills `target`, borrowed until the promise settles, with the bytes from `offset` on.
   * @throws {RangeError} past the end, or after `release`
   */
  read(target: Uint8Array, offset: number): Promise<void>
  /** The same at once. */
  readNow(target: Uint8Array, offset: number): void
  /** Gives the room back: nobody can read them any more. */
  release(): void
}

/** Room for the elements of one array. */
export interface ReservedElements extends StoredElements {
  /** `bytes` are borrowed until the promise settles. What was not written is undefined. */
  write(bytes: Uint8Array, offset: number): Promise<void>
  /** The same at once. */
  writeNow(bytes: Uint8Array, offset: number): void
}

/** Holds arrays outside of memory, for example in a file of a job. */
export interface ArrayStore {
  /** Shorter arrays are not worth it. */
  readonly minBytes: number
  /** @param byteLength of the whole array, at least 1 */
  reserve(byteLength: number): ReservedElements
}

/** Some arrays that lie in one stretch, which is released when all of them are. */
export function elementsWithin(
  whole: StoredElements,
  places: readonly { readonly start: number; readonly byteLength: number }[],
): StoredElements[] {
  let left = places.length
  return places.map(({ start, byteLength }) => {
    let released = false
    const at = (target: Uint8Array, offset: number): number => {
      if (released) throw new RangeError('the array was given up: it is not stored any more')
      if (offset < 0 || offset + target.length > byteLength)
        throw new RangeError(`${target.length} bytes from ${offset} are outside of ${byteLength}`)
      return start + offset
    }
    return {
      byteLength,
      read: async (target, offset) => whole.read(target, at(target, offset)),
      readNow: (target, offset) => whole.readNow(target, at(target, offset)),
      release() {
        if (released) return
        released = true
        left -= 1
        if (left === 0) whole.release()
      },
    }
  })
}

const storedElements = new WeakMap<Tensor, StoredElements>()

/**
 * A tensor whose elements stay outside of memory: `data` fetches all of them, and holds them no longer than somebody
 * looks. For long arrays {@link storedElementsOf} is the way to read a part.
 */
export function storedTensor(
  dtype: DType,
  shape: readonly number[],
  elements: StoredElements,
  framework?: Framework,
): Tensor {
  const needed = elementCount(shape) * itemSize(dtype)
  if (needed !== elements.byteLength)
    throw new RangeError(`the shape takes ${needed} bytes, ${elements.byteLength} are stored`)
  // Held weakly between two looks, so that a loop over `data` fetches once.
  let fetched: WeakRef<TypedArray> | undefined
  const fetch = (): TypedArray => {
    const bytes = new Uint8Array(elements.byteLength)
    elements.readNow(bytes, 0)
    const { data } = tensorFromBytes(dtype, shape, bytes)
    fetched = new WeakRef(data)
    return data
  }
  const tensor = Object.create(Tensor.prototype, {
    dtype: { value: dtype, enumerable: true },
    shape: { value: Object.freeze([...shape]), enumerable: true },
    data: { get: () => fetched?.deref() ?? fetch(), enumerable: true },
    ...(framework === undefined ? {} : { framework: { value: framework, enumerable: true } }),
  }) as Tensor // has all that a tensor has; the constructor would want the elements
  storedElements.set(tensor, elements)
  return tensor
}

/** Where a tensor's elements are, if not in memory. */
export function storedElementsOf(tensor: Tensor): StoredElements | undefined {
  return storedElements.get(tensor)
}

/** Bytes of all elements; never fetches them. */
export function tensorByteLength({ dtype, shape }: Tensor): number {
  return elementCount(shape) * itemSize(dtype)
}

const BLOCK_BYTES = 1024 * 1024

/**
 * The elements as little-endian bytes in C order, in consecutive blocks: one view on a tensor in memory, short reads
 * of a stored one into the same memory again and again.
 * @returns blocks that are borrowed until the next is asked for
 */
export function* elementBlocks(tensor: Tensor): Generator<Uint8Array, void> {
  const elements = storedElements.get(tensor)
  if (elements === undefined) {
    yield tensorBytes(tensor)
    return
  }
  const block = new Uint8Array(Math.min(BLOCK_BYTES, elements.byteLength))
  for (let at = 0; at < elements.byteLength; at += block.length) {
    const part = block.subarray(0, Math.min(block.length, elements.byteLength - at))
    elements.readNow(part, at)
    yield part
  }
}

/** Writes a tensor's elements to `store`. @returns it without them in memory */
export async function storeTensor(tensor: Tensor, store: ArrayStore): Promise<Tensor> {
  const bytes = tensorBytes(tensor)
  const elements = store.reserve(bytes.length)
  try {
    await elements.write(bytes, 0)
  } catch (error) {
    elements.release()
    throw error
  }
  return storedTensor(tensor.dtype, tensor.shape, elements, tensor.framework)
}
