import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allocate, type DType, itemSize, lanesOf, type TypedArray } from '../dtype.ts'
import { WeightedSum } from '../weighted-sum.ts'
import { sumArena } from './sum-arena.ts'
import { CAPACITY } from './sum-kernels.ts'

const RESULTS = ['float32', 'float16', 'bfloat16', 'complex64', 'float64', 'complex128'] as const

/** Bits that stand for anything: numbers of any size, subnormal ones, both zeros, infinities, NaN. */
const bits32 = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 0x8000_0000, 1, 0x8000_0001, 0x007f_ffff, 0x7f80_0000, 0xff80_0000),
  fc.constantFrom(0x7fc0_0000, 0x7f80_0001, 0x7f7f_ffff, 0x7ff0_0000, 0x7fef_ffff, 0xfff0_0000),
  fc.double({ min: -1e3, max: 1e3, noNaN: true }).map((value) => {
    return new Uint32Array(Float32Array.of(value).buffer)[0]!
  }),
)

/** An array of `entries` with the pattern's bits again and again, its phase shifted by one each time. */
function arrayOfBits(dtype: DType, entries: number, pattern: readonly number[]): TypedArray {
  const array = allocate(dtype, entries / lanesOf(dtype))
  const words = new Uint32Array(Math.ceil(array.byteLength / 4))
  for (let i = 0; i < words.length; i++)
    words[i] = pattern[(i + Math.floor(i / pattern.length)) % pattern.length]!
  new Uint8Array(array.buffer).set(new Uint8Array(words.buffer, 0, array.byteLength))
  return array
}

/** The bits of an array; one NaN is as good as another. */
function bitsOf(dtype: DType, array: TypedArray): Uint8Array {
  const numbers = array.slice()
  if (dtype === 'bfloat16') {
    const words = numbers as Uint16Array // what holds bfloat16
    for (let i = 0; i < words.length; i++) if ((words[i]! & 0x7fff) > 0x7f80) words[i] = 0x7fc0
  } else
    for (let i = 0; i < numbers.length; i++) if (Number.isNaN(Number(numbers[i]))) numbers[i] = NaN
  return new Uint8Array(numbers.buffer)
}

const weight = fc.oneof(
  fc.integer({ min: 1, max: 100_000 }),
  fc.double({ min: Number.MIN_VALUE, max: Number.MAX_VALUE, noNaN: true }),
)
const lengths = fc.integer({ min: 128, max: 600 })
const contribution = fc.record({
  pattern: fc.array(bits32, { minLength: 1, maxLength: 40 }),
  weight,
  preweighted: fc.boolean(),
})

describe('the vector kernels', () => {
  it('are there: nothing below would show anything without them', () => {
    expect(sumArena()).toBeDefined()
  })

  it.each(RESULTS)(
    'give the bits of the plain loops for sums of %s, whatever is added',
    (dtype) => {
      fc.assert(
        fc.property(
          lengths,
          fc.array(contribution, { minLength: 1, maxLength: 10 }),
          (length, all) => {
            const entries = length * lanesOf(dtype)
            const fast = new WeightedSum(dtype, length)
            const plain = new WeightedSum(dtype, length, { plain: true })
            for (const { pattern, weight, preweighted } of all) {
              const values = arrayOfBits(dtype, entries, pattern)
              fast.add(dtype, values, weight, { preweighted })
              plain.add(dtype, values, weight, { preweighted })
            }
            expect(fast.weight).toBe(plain.weight)
            expect(bitsOf(dtype, fast.mean())).toEqual(bitsOf(dtype, plain.mean()))
            expect(bitsOf(dtype, fast.sum())).toEqual(bitsOf(dtype, plain.sum()))
          },
        ),
        { numRuns: 60 },
      )
    },
  )

  it('widen every float16 and bfloat16 as the plain loops do', () => {
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const values = allocate(dtype, 65_536)
      const words = new Uint16Array(values.buffer)
      for (let i = 0; i < words.length; i++) words[i] = i
      const fast = new WeightedSum('float32', values.length)
      const plain = new WeightedSum('float32', values.length, { plain: true })
      for (const sum of [fast, plain]) sum.add(dtype, values, 3)
      expect(bitsOf('float32', fast.sum())).toEqual(bitsOf('float32', plain.sum()))
    }
  })

  it('keep the sums of several blocks apart, in any order of calls', () => {
    const act = fc.oneof(
      fc.record({
        act: fc.constant('add' as const),
        block: fc.nat({ max: 2 }),
        dtype: fc.constantFrom<DType>('float32', 'int32', 'bfloat16', 'float64'),
        value: fc.integer({ min: -1000, max: 1000 }),
        weight: fc.integer({ min: 1, max: 9 }),
      }),
      fc.record({
        act: fc.constantFrom('mean' as const, 'reset' as const),
        block: fc.nat({ max: 2 }),
      }),
    )
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        const blocks = (['float32', 'float64', 'float32'] as const).map((dtype, i) => {
          const length = 256 + i * 37
          return {
            length,
            fast: new WeightedSum(dtype, length),
            plain: new WeightedSum(dtype, length, { plain: true }),
          }
        })
        for (const step of acts) {
          const { fast, plain, length } = blocks[step.block]!
          for (const sum of [fast, plain]) {
            if (step.act === 'reset') sum.reset()
            if (step.act === 'add') {
              const values = allocate(step.dtype, length).fill(step.value as never)
              sum.add(step.dtype, values, step.weight)
            }
          }
          if (step.act === 'mean' && plain.weight > 0) expect(fast.mean()).toEqual(plain.mean())
        }
        for (const { fast, plain } of blocks)
          if (plain.weight > 0) expect(fast.sum()).toEqual(plain.sum())
      }),
      { numRuns: 200 },
    )
  })

  it('take blocks up to their room, and leave longer ones to the plain loops', () => {
    for (const length of [CAPACITY - 1, CAPACITY, CAPACITY + 1]) {
      const sum = new WeightedSum('float32', length)
      for (let i = 1; i <= 5; i++) sum.add('float32', new Float32Array(length).fill(i), i)
      const mean = sum.mean()
      expect(mean.length).toBe(length)
      expect(mean.every((value) => value === Math.fround(55 / 15))).toBe(true)
    }
  })

  it('borrow values for the call only', () => {
    const values = new Float32Array(256).fill(1)
    const sum = new WeightedSum('float32', 256)
    sum.add('float32', values, 1)
    values.fill(99)
    expect(sum.mean()[255]).toBe(1)
  })

  it('read values that lie anywhere in their buffer', () => {
    for (const dtype of ['float32', 'float16', 'bfloat16', 'float64'] as const) {
      const size = itemSize(dtype)
      const all = arrayOfBits(dtype, 300, [0x3f80_3c00, 0x4000_3c01, 0x3c01_4000])
      const part = all.subarray(3, 3 + 257)
      expect(part.byteOffset).toBe(3 * size)
      const fast = new WeightedSum(dtype, 257)
      const plain = new WeightedSum(dtype, 257, { plain: true })
      for (const sum of [fast, plain]) sum.add(dtype, part, 2)
      expect(bitsOf(dtype, fast.mean())).toEqual(bitsOf(dtype, plain.mean()))
    }
  })
})
