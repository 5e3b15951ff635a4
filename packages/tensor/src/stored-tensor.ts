import { type BytePart, type ByteStore, blocksOf, type StoredBytes } from '@hanse/contract'
import type { DType, TypedArray } from './dtype.ts'
import { itemSize } from './dtype.ts'
import { elementCount, type Framework, Tensor, tensorBytes, tensorFromBytes } from './tensor.ts'

const storedElements = new WeakMap<Tensor, StoredBytes>()

/**
 * A tensor whose elements stay outside of memory: `data` fetches all of them, and holds them no longer than somebody
 * looks. For long arrays {@link storedElementsOf} is the way to read a part.
 */
export function storedTensor(
  dtype: DType,
  shape: readonly number[],
  elements: StoredBytes,
  framework?: Framework,
): Tensor {
  const needed = elementCount(shape) * itemSize(dtype)
  if (needed !== elements.byteLength)
    throw new RangeError(`the shape takes ${needed} bytes, ${elements.byteLength} are stored`)
  // Held weakly between two looks, so that a loop over `data` fetches once.
  let fetched: WeakRef<TypedArray> | undefined
  const fetch = (): TypedArray => {
    const bytes = new Uint8Array(elements.byteLength)
    elements.read(bytes, 0)
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
export function storedElementsOf(tensor: Tensor): StoredBytes | undefined {
  return storedElements.get(tensor)
}

/** Bytes of all elements; never fetches them. */
export function tensorByteLength({ dtype, shape }: Tensor): number {
  return elementCount(shape) * itemSize(dtype)
}

/** The elements as little-endian bytes in C order, block by block; see `blocksOf` of `@hanse/contract`. */
export function elementBlocks(tensor: Tensor): Generator<Uint8Array, void> {
  return blocksOf([elementsOf(tensor)])
}

/** The elements as little-endian bytes in C order, wherever they are: a view on those of a tensor in memory. */
export function elementsOf(tensor: Tensor): BytePart {
  return storedElements.get(tensor) ?? tensorBytes(tensor)
}

/** Writes a tensor's elements to `store`. @returns it without them in memory */
export function storeTensor(tensor: Tensor, store: ByteStore): Tensor {
  const bytes = tensorBytes(tensor)
  const elements = store.reserve(bytes.length)
  try {
    elements.write(bytes, 0)
  } catch (error) {
    elements.release()
    throw error
  }
  return storedTensor(tensor.dtype, tensor.shape, elements, tensor.framework)
}
