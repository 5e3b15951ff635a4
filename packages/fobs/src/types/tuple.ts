import type { FobsCodec } from '../codec.ts'
import type { FobsValue } from '../fobs-value.ts'
import { type Hashable, sequenceKey } from '../hashable.ts'
import { arrayData } from '../shape.ts'

/** A Python tuple. As a key of a map it is compared by its items. */
export class Tuple implements Hashable {
  readonly items: readonly FobsValue[]

  constructor(items: readonly FobsValue[]) {
    this.items = items
  }

  hashKey(): string | undefined {
    return sequenceKey(this.items)
  }
}

export const tupleCodec: FobsCodec<Tuple> = {
  typeName: 'tuple',
  decomposer: 'nvflare.fuel.utils.fobs.decomposers.core_decomposers.TupleDecomposer',
  class: Tuple,
  compose: (data) => new Tuple(arrayData('tuple', data)),
  decompose: (tuple) => tuple.items,
}
