import { describe, expect, it } from 'vitest'
import {
  coreCodecs,
  decodeWhole,
  defineDict,
  defineEnum,
  defineRecord,
  encode,
  type FobsCodec,
  FobsRegistry,
  joinBytes,
  shapeError,
  Tuple,
} from './index.ts'

// The examples of docs/fobs-types.md.

class DoseRange {
  readonly low: number
  readonly high: number

  constructor(low: number, high: number) {
    this.low = low
    this.high = high
  }
}

const TYPE_NAME = 'hospital.dosing.DoseRange'

const doseRangeCodec: FobsCodec<DoseRange> = {
  typeName: TYPE_NAME,
  decomposer: 'hospital.dosing.DoseRangeDecomposer',
  class: DoseRange,
  compose(data) {
    const [low, high] = data instanceof Tuple && data.items.length === 2 ? data.items : []
    if (typeof low !== 'number' || typeof high !== 'number' || !(low <= high))
      throw shapeError(TYPE_NAME, 'a tuple of two numbers in order')
    return new DoseRange(low, high)
  },
  decompose: ({ low, high }) => new Tuple([low, high]),
}

const triage = defineEnum('hospital.triage.Triage', { RED: 'red', GREEN: 'green' })
const visit = defineRecord('hospital.visits.Visit', { attributes: ['ward', 'dose'] })
const ward = defineDict('hospital.visits.Ward')

describe('types of an application', () => {
  const registry = new FobsRegistry()
    .register(...coreCodecs)
    .register(doseRangeCodec, triage.codec, visit.codec, ward)
    .freeze()

  it('travel like built-in ones', () => {
    const value = [
      triage.member('RED'),
      visit.create([
        ['ward', 'A2'],
        ['dose', new DoseRange(1, 2)],
      ]),
    ]
    expect(decodeWhole(joinBytes(encode(value, registry).parts), registry)).toEqual(value)
  })

  it('are checked like built-in ones', () => {
    const bytes = joinBytes(encode(new DoseRange(2, 1), registry).parts)
    expect(() => decodeWhole(bytes, registry)).toThrow(
      expect.objectContaining({ code: 'ERR_FOBS_SHAPE' }),
    )
  })
})
