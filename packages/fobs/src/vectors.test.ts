import { describe, expect, it } from 'vitest'
import { jsonLike, normalized } from '../test/json-like.ts'
import { bytesOf, type FobsVector, hexOf, readVectors } from '../test/vectors.ts'
import { coreCodecs, createFobsRegistry, decode, encode } from './index.ts'

// Vectors with types of other packages are run where all types are known: packages/learning.
const CORE_GROUPS = ['native', 'core', 'collab', 'datum']
const registry = createFobsRegistry(coreCodecs)
const vectors = readVectors<FobsVector[]>('fobs').filter(
  ({ group, hex }) =>
    CORE_GROUPS.includes(group) &&
    // the hexadecimal text of `__fobs_type__…nvflare.api` and of array types
    !/6e76666c6172652e617069|6e756d70792e/.test(hex),
)

describe('vectors of the format itself', () => {
  it('has enough of them', () => expect(vectors.length).toBeGreaterThan(90))

  it.each(vectors)('decodes $name', (vector) => {
    const { passThrough } = decode(bytesOf(vector.hex), registry, {
      floats: 'marked',
      allowFiles: true,
    })
    expect(normalized(jsonLike(passThrough))).toEqual(normalized(vector.json_like))
  })

  it.each(vectors.filter(({ exact }) => exact))('re-encodes $name byte for byte', (vector) => {
    const value = decode(bytesOf(vector.hex), registry, { floats: 'marked', allowFiles: true })
    const ids = vector.sections.flatMap(({ datum_id: id }) => (id === undefined ? [] : [id]))
    const { parts } = encode(value.passThrough, registry, {
      datumThreshold: vector.threshold,
      createDatumId: () => ids.shift() ?? 'none left',
    })
    expect(hexOf(parts)).toBe(vector.hex)
  })
})
