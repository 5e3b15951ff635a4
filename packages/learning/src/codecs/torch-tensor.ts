import type { BytePart } from '@hanse/contract'
import { type FobsCodec, FobsError, type ReferenceKind, shapeError } from '@hanse/fobs'
import { encodeSafetensors, parseSafetensors, Tensor } from '@hanse/tensor'
import { readArrayData, writeArrayData } from './ndarray.ts'

const TYPE_NAME = 'torch.Tensor'
/** Name of the one tensor in the native encoding. */
const NATIVE_NAME = 't'

/** Tensors that the receiver downloads: a safetensors file each (fobs.md §8.4, §11.3). */
export const torchReference: ReferenceKind = {
  dot: 6,
  encodeItem(id, value) {
    if (!(value instanceof Tensor))
      throw new FobsError('ERR_FOBS_ENCODE', `item ${id} is no tensor`)
    return encodeSafetensors(new Map([[id, value]]))
  },
  decodeItem: readItems,
  decodeStoredItem: readItems,
}

/** `torch.Tensor` as a `Tensor` of framework `torch`: a view on the payload where it is aligned. */
export const torchTensorCodec: FobsCodec<Tensor> = {
  typeName: TYPE_NAME,
  decomposer: 'nvflare.app_opt.pt.decomposers.TensorDecomposer',
  class: Tensor,
  handles: ({ framework, dtype }) => framework === 'torch' || dtype === 'bfloat16',
  reference: torchReference,
  compose: (data, context) =>
    readArrayData(TYPE_NAME, torchReference.dot, data, context, (bytes) => {
      const { tensors } = parseSafetensors(bytes, { framework: 'torch' })
      const tensor = tensors.get(NATIVE_NAME)
      if (tensor === undefined || tensors.size !== 1)
        throw shapeError(TYPE_NAME, `a safetensors file of one tensor named ${NATIVE_NAME}`)
      return tensor
    }),
  decompose(tensor, context) {
    return writeArrayData(torchReference.dot, tensor, context, () =>
      encodeSafetensors(new Map([[NATIVE_NAME, tensor]])),
    )
  },
}

function readItems(piece: BytePart): Map<string, Tensor> {
  return parseSafetensors(piece, { framework: 'torch' }).tensors
}
