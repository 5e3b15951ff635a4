import type { FobsCodec } from '../codec.ts'
import { FobsError } from '../fobs-error.ts'
import type { FobsValue } from '../fobs-value.ts'
import { hashKey } from '../hashable.ts'
import { arrayData } from '../shape.ts'

/** A Python set; members keep the order of the wire, which means nothing. */
export class ValueSet {
  readonly members: readonly FobsValue[]

  /** @throws {FobsError} `ERR_FOBS_SHAPE` for members that are equal in Python or cannot be members */
  constructor(members: readonly FobsValue[]) {
    const seen = new Set<string>()
    for (const member of members) {
      const hash = hashKey(member)
      if (hash === undefined)
        throw new FobsError('ERR_FOBS_SHAPE', 'a set has a member that cannot be compared')
      if (seen.has(hash)) throw new FobsError('ERR_FOBS_SHAPE', 'a set has the same member twice')
      seen.add(hash)
    }
    this.members = members
  }
}

export const valueSetCodec: FobsCodec<ValueSet> = {
  typeName: 'set',
  decomposer: 'nvflare.fuel.utils.fobs.decomposers.core_decomposers.SetDecomposer',
  class: ValueSet,
  compose: (data) => new ValueSet(arrayData('set', data)),
  decompose: (set) => set.members,
}
