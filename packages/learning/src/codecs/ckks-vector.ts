import { type FobsCodec, shapeError, Tuple } from '@hanse/fobs'

const TYPE_NAME = 'tenseal.tensors.ckksvector.CKKSVector'

/** A homomorphically encrypted vector in TenSEAL's own serialization: opaque here (fobs.md §10.9). */
export class CkksVector {
  readonly vector: Uint8Array
  readonly context: Uint8Array

  constructor(vector: Uint8Array, context: Uint8Array) {
    this.vector = vector
    this.context = context
  }
}

export const ckksVectorCodec: FobsCodec<CkksVector> = {
  typeName: TYPE_NAME,
  decomposer: 'nvflare.app_opt.he.decomposers.CKKSVectorDecomposer',
  class: CkksVector,
  compose(data) {
    const [vector, context] = data instanceof Tuple && data.items.length === 2 ? data.items : []
    if (!(vector instanceof Uint8Array) || !(context instanceof Uint8Array))
      throw shapeError(TYPE_NAME, 'a tuple of vector and context')
    return new CkksVector(vector, context)
  },
  decompose: ({ vector, context }) => new Tuple([vector, context]),
}
