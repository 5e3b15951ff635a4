import type { FobsCodec } from '../codec.ts'
import { FobsError } from '../fobs-error.ts'
import type { FobsValue } from '../fobs-value.ts'
import { hashKey } from '../hashable.ts'
import { arrayData, shapeError } from '../shape.ts'
import { Tuple } from './tuple.ts'

const TYPE_NAME = 'collections.OrderedDict'

/** A Python `OrderedDict`: PyTorch state dictionaries are such. */
export class OrderedDict {
  readonly entries: ReadonlyMap<FobsValue, FobsValue>

  constructor(entries: Iterable<readonly [FobsValue, FobsValue]>) {
    this.entries = new Map(entries)
  }
}

export const orderedDictCodec: FobsCodec<OrderedDict> = {
  typeName: TYPE_NAME,
  decomposer: 'nvflare.fuel.utils.fobs.decomposers.core_decomposers.OrderedDictDecomposer',
  class: OrderedDict,
  isContainer: true,
  compose(data) {
    const seen = new Set<string>()
    const entries = arrayData(TYPE_NAME, data).map((entry): readonly [FobsValue, FobsValue] => {
      const pair = entry instanceof Tuple ? entry.items : entry
      if (!Array.isArray(pair) || pair.length !== 2)
        throw shapeError(TYPE_NAME, 'an array of pairs')
      const [key, value] = pair as [FobsValue, FobsValue] // length checked
      const hash = hashKey(key)
      if (hash === undefined || seen.has(hash))
        throw new FobsError(
          'ERR_FOBS_SHAPE',
          'an OrderedDict has a key twice, or one that is no key',
        )
      seen.add(hash)
      return [key, value]
    })
    return new OrderedDict(entries)
  },
  decompose: (dict) => Array.from(dict.entries, (entry) => new Tuple(entry)),
}
