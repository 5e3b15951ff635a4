import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { weightedMean } from './arithmetic.ts'
import { numberToBfloat16 } from './bfloat16.ts'
import type { DType, TypedArray } from './dtype.ts'
import { Tensor } from './tensor.ts'
import { WeightedSum } from './weighted-sum.ts'

/** A float64 as a fraction over a power of two: exact, so that sums of them are. */
function exact(value: number): { n: bigint; shift: bigint } {
  let shift = 0n
  let scaled = value
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    shift++
  }
  return { n: BigInt(scaled), shift }
}

/** The exact weighted mean, rounded once to float64 by long division. */
function exactMean(values: readonly number[], weights: readonly number[]): number {
  const total = (parts: { n: bigint; shift: bigint }[]): { n: bigint; shift: bigint } => {
    const shift = BigInt(Math.max(...parts.map((part) => Number(part.shift))))
    return { n: parts.reduce((sum, part) => sum + (part.n << (shift - part.shift)), 0n), shift }
  }
  const top = total(
    values.map((value, i) => {
      const [v, w] = [exact(value), exact(weights[i]!)]
      return { n: v.n * w.n, shift: v.shift + w.shift }
    }),
  )
  const bottom = total(weights.map(exact))
  // (top.n / 2^a) / (bottom.n / 2^b)
  return ratio(top.n << bottom.shift, bottom.n << top.shift)
}

/** a / b to the nearest float64, half to even. */
function ratio(a: bigint, b: bigint): number {
  if (a === 0n) return 0
  const negative = a < 0n
  const top = negative ? -a : a
  const lengthOf = (n: bigint): number => n.toString(2).length
  let shift = 55 - (lengthOf(top) - lengthOf(b))
  const numerator = shift >= 0 ? top << BigInt(shift) : top
  const denominator = shift >= 0 ? b : b << BigInt(-shift)
  let quotient = numerator / denominator
  // A bit that says "and some more" keeps the last rounding right.
  if (numerator % denominator !== 0n) quotient |= 1n
  let result = 0
  const extra = lengthOf(quotient) - 53
  const unit = 1n << BigInt(extra)
  const rest = quotient & (unit - 1n)
  let rounded = quotient >> BigInt(extra)
  if (rest * 2n > unit || (rest * 2n === unit && (rounded & 1n) === 1n)) rounded++
  result = Number(rounded)
  shift -= extra
  while (shift > 0) {
    const step = Math.min(shift, 1000)
    result /= 2 ** step
    shift -= step
  }
  while (shift < 0) {
    const step = Math.min(-shift, 1000)
    result *= 2 ** step
    shift += step
  }
  return negative ? -result : result
}

function meanOf(
  dtype: DType,
  columns: readonly TypedArray[],
  weights: readonly number[],
): TypedArray {
  const sum = new WeightedSum(dtype, columns[0]!.length)
  for (const [i, column] of columns.entries()) sum.add(dtype, column, weights[i]!)
  return sum.mean()
}

const weight = fc.oneof(
  fc.integer({ min: 1, max: 100_000 }),
  fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
)
const value64 = fc
  .double({ min: -1e6, max: 1e6, noNaN: true })
  .map((v) => (Math.abs(v) < 1e-30 ? 0 : v))
const pairs64 = fc.array(fc.tuple(value64, weight), { minLength: 1, maxLength: 12 })

describe('WeightedSum', () => {
  it('gives the nearest float64 to the exact mean', () => {
    fc.assert(
      fc.property(pairs64, (pairs) => {
        const values = pairs.map(([value]) => value)
        const weights = pairs.map(([, w]) => w)
        const mean = meanOf(
          'float64',
          values.map((value) => Float64Array.of(value)),
          weights,
        )[0]
        const wanted = exactMean(values, weights)
        const total = weights.reduce((sum, w) => sum + w, 0)
        const magnitude = values.reduce((sum, v, i) => sum + Math.abs(v) * weights[i]!, 0) / total
        // One unit in the last place, or next to nothing where everything cancels.
        const slack = Math.max(Math.abs(wanted) * 2 ** -52, magnitude * 2 ** -100)
        expect(Math.abs(Number(mean) - wanted)).toBeLessThanOrEqual(slack)
      }),
      { numRuns: 1000 },
    )
  })

  it('survives the cancellation on which a plain sum fails', () => {
    const values = [1e16, 1, -1e16, 3].map((value) => Float64Array.of(value))
    expect(meanOf('float64', values, [1, 1, 1, 1])[0]).toBe(1)
  })

  it('is within 1e-12 of the magnitude for a thousand sites', () => {
    const count = 1000
    const columns = Array.from({ length: count }, (_, i) =>
      Float64Array.of(Math.sin(i) * 10 ** (i % 9)),
    )
    const weights = Array.from({ length: count }, (_, i) => 1 + (i % 97) / 7)
    const wanted = exactMean(
      columns.map(([value]) => value!),
      weights,
    )
    expect(Number(meanOf('float64', columns, weights)[0])).toBe(wanted)
  })

  it('rounds narrow types once, from the float64 mean', () => {
    const float32 = fc.float({ noNaN: true, min: -1000, max: 1000 })
    fc.assert(
      fc.property(fc.array(fc.tuple(float32, weight), { minLength: 1, maxLength: 8 }), (pairs) => {
        const weights = pairs.map(([, w]) => w)
        const total = weights.reduce((sum, w) => sum + w, 0)
        const plain = pairs.reduce((sum, [v, w]) => sum + v * w, 0) / total
        const magnitude = pairs.reduce((sum, [v, w]) => sum + Math.abs(v) * w, 0) / total
        const columns32 = pairs.map(([v]) => Float32Array.of(v))
        const mean = Number(meanOf('float32', columns32, weights)[0])
        expect(Math.fround(mean)).toBe(mean)
        expect(Math.abs(mean - plain)).toBeLessThanOrEqual(magnitude * 2 ** -24 + 1e-45)
      }),
      { numRuns: 500 },
    )
  })

  it('is exact where every partial sum is representable', () => {
    // Quarters with weights 20 and 40: (20·0.25 + 40·1.75) / 60 = 1.25.
    expect([
      ...meanOf('float32', [Float32Array.of(0.25, -3), Float32Array.of(1.75, 3)], [20, 40]),
    ]).toEqual([1.25, 1])
    expect([
      ...meanOf('float16', [Float16Array.of(0.25), Float16Array.of(1.75)], [20, 40]),
    ]).toEqual([1.25])
    const bf16 = [0.25, 1.75].map((v) => Uint16Array.of(numberToBfloat16(v)))
    expect([...meanOf('bfloat16', bf16, [20, 40])]).toEqual([numberToBfloat16(1.25)])
  })

  it('follows IEEE 754 for NaN, infinities and signed zeros', () => {
    const rows = [
      [NaN, Infinity, Infinity, -0, 1e308],
      [1, 1, -Infinity, -0, 1e308],
    ]
    for (const dtype of ['float64', 'float32'] as const) {
      const array = dtype === 'float64' ? Float64Array : Float32Array
      const mean = meanOf(
        dtype,
        rows.map((row) => array.from(row)),
        [2, 2],
      )
      expect([...mean].slice(0, 4)).toEqual([NaN, Infinity, NaN, -0])
    }
    // The sum overflows before the division, as it does in NumPy.
    expect(
      meanOf(
        'float64',
        rows.map((row) => Float64Array.from(row)),
        [2, 2],
      )[4],
    ).toBe(Infinity)
  })

  it('keeps huge and tiny values finite', () => {
    const huge = [Float64Array.of(1.5e308), Float64Array.of(-1.5e308)]
    expect(meanOf('float64', huge, [1, 1])[0]).toBe(0)
    expect(meanOf('float64', [Float64Array.of(1.5e308)], [1])[0]).toBe(1.5e308)
    expect(meanOf('float64', [Float64Array.of(5e-324)], [3])[0]).toBe(5e-324)
  })

  it('adds integers and narrower floats to a wider mean', () => {
    const sum = new WeightedSum('float64', 2)
    sum.add('int64', BigInt64Array.of(3n, -5n), 1)
    sum.add('uint8', Uint8Array.of(4, 5), 1)
    sum.add('bool', Uint8Array.of(1, 7), 2)
    sum.add('float32', Float32Array.of(0.5, 0), 4)
    expect([...sum.mean()]).toEqual([(3 + 4 + 2 + 2) / 8, (-5 + 5 + 2) / 8])
  })

  it('adds real numbers to complex ones', () => {
    const sum = new WeightedSum('complex128', 2)
    sum.add('complex64', Float32Array.of(1, 2, 3, 4), 1)
    sum.add('float64', Float64Array.of(10, 20), 3)
    expect([...sum.mean()]).toEqual([31 / 4, 0.5, 63 / 4, 1])
  })

  it('sums preweighted values and divides by the weights', () => {
    const sum = new WeightedSum('float64', 1)
    sum.add('float64', Float64Array.of(20), 2, { preweighted: true })
    sum.add('float64', Float64Array.of(60), 3, { preweighted: true })
    expect(sum.mean()[0]).toBe(16)
  })

  it('refuses bad weights and lengths before it adds anything', () => {
    const sum = new WeightedSum('float64', 1)
    sum.add('float64', Float64Array.of(1), 1)
    for (const bad of [0, -1, NaN, Infinity])
      expect(() => sum.add('float64', Float64Array.of(9), bad)).toThrow(RangeError)
    expect(() => sum.add('float64', Float64Array.of(9, 9), 1)).toThrow(RangeError)
    expect(() => sum.add('float64', Float32Array.of(9), 1)).toThrow(/not those of float64/)
    expect(() => sum.add('complex64', Float32Array.of(9, 9), 1)).toThrow(/cannot be added/)
    expect(() => new WeightedSum('int32', 1)).toThrow(/cannot be held/)
    expect(() => new WeightedSum('float32', 1).mean()).toThrow(/nothing was added/)
    expect([...sum.mean()]).toEqual([1])
  })

  it('writes the mean where it is told to, once everything about the place is right', () => {
    const sum = new WeightedSum('complex64', 1)
    const target = Float32Array.of(7, 7, 7)
    expect(() => sum.meanInto(target.subarray(0, 2))).toThrow(/nothing was added/)
    sum.add('complex64', Float32Array.of(2, 4), 2)
    expect(() => sum.meanInto(target)).toThrow(/room for 2 values, got 3/)
    expect(() => sum.meanInto(new Float64Array(2))).toThrow(/no array of complex64/)
    expect([...target]).toEqual([7, 7, 7])
    sum.meanInto(target.subarray(1))
    expect([...target]).toEqual([7, 2, 4])
  })

  it('starts anew after a reset', () => {
    const sum = new WeightedSum('float64', 1)
    sum.add('float64', Float64Array.of(1e300), 5)
    sum.reset()
    sum.add('float64', Float64Array.of(3), 1)
    expect(sum.mean()[0]).toBe(3)
  })
})

describe('weightedMean', () => {
  it('gives the same as one sum, block by block', () => {
    const length = 64 * 1024 * 2 + 17
    const arrays = [1, 2, 3].map((k) => Float32Array.from({ length }, (_, i) => Math.sin(i * k)))
    const weights = [3, 5, 7]
    const mean = weightedMean(
      arrays.map((data, i) => ({
        tensor: new Tensor('float32', [length], data),
        weight: weights[i]!,
      })),
    )
    expect(mean.data).toEqual(meanOf('float32', arrays, weights))
  })

  it.each<[DType, 'numpy' | 'torch', DType]>([
    ['float16', 'numpy', 'float16'],
    ['bfloat16', 'torch', 'bfloat16'],
    ['int32', 'numpy', 'float64'],
    ['int64', 'torch', 'float32'],
    ['bool', 'numpy', 'float64'],
    ['complex64', 'numpy', 'complex64'],
  ])('makes a mean of %s in %s a %s', (dtype, framework, result) => {
    const tensor = new Tensor(
      dtype,
      [],
      dtype === 'complex64'
        ? new Float32Array(2)
        : dtype === 'float16'
          ? new Float16Array(1)
          : dtype === 'int32'
            ? new Int32Array(1)
            : dtype === 'int64'
              ? new BigInt64Array(1)
              : dtype === 'bool'
                ? new Uint8Array(1)
                : new Uint16Array(1),
      framework,
    )
    expect(weightedMean([{ tensor, weight: 1 }])).toMatchObject({
      dtype: result,
      framework,
      shape: [],
    })
  })

  it('refuses tensors of different shapes', () => {
    const a = new Tensor('float32', [2, 1], new Float32Array(2))
    const b = new Tensor('float32', [2], new Float32Array(2))
    expect(() =>
      weightedMean([
        { tensor: a, weight: 1 },
        { tensor: b, weight: 1 },
      ]),
    ).toThrow(expect.objectContaining({ code: 'ERR_TENSOR_SHAPE' }))
  })
})
