import { type BytePart, hasCode } from '@hanse/contract'
import {
  ByteParts,
  type ComposeContext,
  type DecomposeContext,
  type FobsCodec,
  FobsError,
  type FobsLimits,
  type FobsValue,
  type ItemOptions,
  mapData,
  type ReferenceKind,
  shapeError,
} from '@hanse/fobs'
import { encodeNpy, encodeNpz, parseNpy, parseNpz, Tensor } from '@hanse/tensor'
import { RawArray } from './raw-array.ts'

const TYPE_NAME = 'numpy.ndarray'
const NUMPY_DOT = 3
const MAX_ITEMS_PER_PIECE = 100_000

/** Arrays that the receiver downloads: a `.npz` file each (fobs.md §8.4, §11.2). */
export const numpyReference: ReferenceKind = {
  dot: NUMPY_DOT,
  encodeItem(id, value, { checksums } = {}) {
    if (!(value instanceof Tensor))
      throw new FobsError('ERR_FOBS_ENCODE', `item ${id} is no tensor`)
    return encodeNpz([[id, value]], { checksums })
  },
  decodeItem: readItems,
  decodeStoredItem: readItems,
}

/**
 * `numpy.ndarray` as a `Tensor`: a view on the payload where it is aligned, C-ordered and little-endian, else a
 * copy. Types that tensors do not have become a `RawArray`.
 */
export const ndarrayCodec: FobsCodec<Tensor | RawArray> = arrayCodec(tensorOrRaw)

/** `numpy.ndarray` as a `RawArray` always, which encodes to the same bytes again; by reference as a `Tensor`. */
export const relayedArrayCodec: FobsCodec<Tensor | RawArray> = arrayCodec(
  (file) => new RawArray(file),
)

function arrayCodec(
  readNative: (file: Uint8Array) => Tensor | RawArray,
): FobsCodec<Tensor | RawArray> {
  return {
    typeName: TYPE_NAME,
    decomposer: 'nvflare.app_common.decomposers.numpy_decomposers.NumpyArrayDecomposer',
    class: [Tensor, RawArray],
    // PyTorch's tensors have a type of their own, and bfloat16 exists only there.
    handles: (array) =>
      array instanceof RawArray || (array.framework !== 'torch' && array.dtype !== 'bfloat16'),
    reference: numpyReference,
    compose: (data, context) => readArrayData(TYPE_NAME, NUMPY_DOT, data, context, readNative),
    decompose(array, context) {
      // Raw arrays may be of any type, so they are always in the message.
      if (array instanceof RawArray) return nativeData([array.file])
      return writeArrayData(NUMPY_DOT, array, context, () => encodeNpy(array))
    },
  }
}

/** The `type` and `data` of an array or tensor (§8.1). */
export function readArrayData(
  typeName: string,
  dot: number,
  data: FobsValue,
  context: ComposeContext,
  readNative: (bytes: Uint8Array) => object,
): FobsValue {
  const map = mapData(typeName, data)
  const type = map.get('type')
  const content = map.get('data')
  if (type === 'ref' && typeof content === 'string') return context.reference(dot, content)
  if (type === 'native' && content instanceof Uint8Array && content.length > 0)
    return readNative(content)
  throw shapeError(typeName, 'a map of type native with bytes, or of type ref with an item id')
}

/** What `readArrayData` reads: a reference where the message may have one, else `native()` in parts. */
export function writeArrayData(
  dot: number,
  value: object,
  context: DecomposeContext,
  native: () => readonly BytePart[],
): Map<string, string | ByteParts> {
  const id = context.reference(dot, value)
  if (id === undefined) return nativeData(native())
  return new Map([
    ['type', 'ref'],
    ['data', id],
  ])
}

function nativeData(parts: readonly BytePart[]): Map<string, string | ByteParts> {
  return new Map<string, string | ByteParts>([
    ['type', 'native'],
    ['data', new ByteParts(parts)],
  ])
}

function tensorOrRaw(file: Uint8Array): Tensor | RawArray {
  try {
    return parseNpy(file)
  } catch (error) {
    if (hasCode(error, 'ERR_NPY_DTYPE')) return new RawArray(file)
    throw error
  }
}

function readItems(
  piece: BytePart,
  _limits: FobsLimits,
  { checksums }: ItemOptions = {},
): Map<string, Tensor> {
  return parseNpz(piece, { checksums, maxEntries: MAX_ITEMS_PER_PIECE })
}
