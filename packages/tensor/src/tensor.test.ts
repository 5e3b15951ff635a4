import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addTensors, castTensor, subtractTensors } from './arithmetic.ts'
import { bfloat16ToNumber, numberToBfloat16 } from './bfloat16.ts'
import { DTYPES, type DType } from './dtype.ts'
import { commonDType } from './result-dtype.ts'
import { elementCount, isTensor, Tensor, tensorFromNested, zeros } from './tensor.ts'

describe('Tensor', () => {
  it('refuses data that does not fit', () => {
    expect(() => new Tensor('float32', [2], new Float64Array(2))).toThrow(/not an array of float32/)
    expect(() => new Tensor('float32', [3], new Float32Array(2))).toThrow(
      /has 3 elements, the data 2/,
    )
    expect(() => new Tensor('complex64', [2], new Float32Array(2))).toThrow(/the data 1/)
  })

  it.each([[[-1]], [[1.5]], [[2 ** 53]], [[2 ** 30, 2 ** 30]], [Array(65).fill(1)]])(
    'refuses shape %j',
    (shape) => {
      expect(() => elementCount(shape)).toThrow(
        expect.objectContaining({ code: 'ERR_TENSOR_SHAPE' }),
      )
    },
  )

  it('knows a tensor from what only looks like one', () => {
    expect(isTensor(zeros('int8', []))).toBe(true)
    expect(isTensor({ dtype: 'int8', shape: [1], data: new Int8Array(1) })).toBe(true)
    expect(isTensor({ dtype: 'int8', shape: [1], data: [1] })).toBe(false)
    expect(isTensor({ dtype: 'toString', shape: [], data: [] })).toBe(false)
    expect(isTensor(null)).toBe(false)
  })

  it('reads nested lists as NumPy does, and refuses ragged ones', () => {
    expect(
      tensorFromNested(
        [
          [1, 2],
          [3, 4],
        ],
        'float32',
      ),
    ).toEqual(new Tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4)))
    expect(tensorFromNested(2, 'float64')).toEqual(new Tensor('float64', [], Float64Array.of(2)))
    expect(tensorFromNested([[], []], 'float32').shape).toEqual([2, 0])
    for (const ragged of [
      [[1], [2, 3]],
      [1, [2]],
      [[1], 2],
    ])
      expect(() => tensorFromNested(ragged, 'float32')).toThrow(/regular array/)
  })
})

describe('bfloat16', () => {
  it('rounds to the nearest, ties to even, once', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (value) => {
        const bits = numberToBfloat16(value)
        const rounded = bfloat16ToNumber(bits)
        const neighbours = [bits - 1, bits + 1]
          .filter((n) => n >= 0 && (n & 0x7f80) !== 0x7f80 && ((n ^ bits) & 0x8000) === 0)
          .map(bfloat16ToNumber)
        if (!Number.isFinite(rounded)) return
        for (const other of neighbours)
          expect(Math.abs(value - rounded)).toBeLessThanOrEqual(Math.abs(value - other))
      }),
    )
    // Just above a tie that float32 cannot tell from the tie.
    expect(numberToBfloat16(1 + 2 ** -8 + 2 ** -40)).toBe(0x3f81)
    expect(numberToBfloat16(1 + 2 ** -8)).toBe(0x3f80)
    expect(numberToBfloat16(1 + 3 * 2 ** -8)).toBe(0x3f82)
    expect(numberToBfloat16(NaN)).toBe(0x7fc0)
    expect(numberToBfloat16(-Infinity)).toBe(0xff80)
  })
})

describe('arithmetic', () => {
  it('adds in the common type, and exactly for 64-bit integers', () => {
    const big = new Tensor('int64', [1], BigInt64Array.of(2n ** 60n))
    const one = new Tensor('int8', [1], Int8Array.of(1))
    expect(addTensors(big, one)).toEqual(new Tensor('int64', [1], BigInt64Array.of(2n ** 60n + 1n)))
    const half = new Tensor('float64', [1], Float64Array.of(0.5))
    expect(subtractTensors(one, half)).toEqual(new Tensor('float64', [1], Float64Array.of(0.5)))
    const float = new Tensor('float32', [1], Float32Array.of(0.1))
    expect(addTensors(float, float)).toEqual(
      new Tensor('float32', [1], Float32Array.of(Math.fround(0.1) * 2)),
    )
  })

  it('refuses to repeat a smaller tensor', () => {
    expect(() => addTensors(zeros('float32', [2, 2]), zeros('float32', [2]))).toThrow(/differ/)
  })

  it('casts', () => {
    const tensor = new Tensor('float64', [3], Float64Array.of(1.5, -2.7, 300))
    expect([...castTensor(tensor, 'int8').data]).toEqual([1, -2, 44])
    expect([...castTensor(tensor, 'int64').data]).toEqual([1n, -2n, 300n])
    expect([...castTensor(tensor, 'complex64').data]).toEqual([
      1.5,
      0,
      Math.fround(-2.7),
      0,
      300,
      0,
    ])
    expect(castTensor(tensor, 'float64')).toBe(tensor)
    expect(() => castTensor(zeros('complex64', [1]), 'float64')).toThrow(/cannot become/)
  })

  it.each<[DType, DType, DType]>([
    ['int8', 'float16', 'float16'],
    ['int16', 'float16', 'float32'],
    ['int32', 'float32', 'float64'],
    ['bool', 'float16', 'float16'],
    ['bfloat16', 'float16', 'float32'],
    ['int8', 'uint8', 'int16'],
    ['int64', 'uint64', 'float64'],
    ['int64', 'uint8', 'int64'],
    ['bool', 'int8', 'int8'],
    ['complex64', 'float64', 'complex128'],
    ['complex64', 'int16', 'complex64'],
    ['uint16', 'uint32', 'uint32'],
  ])('takes %s and %s to %s, in both orders', (a, b, wanted) => {
    expect(commonDType(a, b)).toBe(wanted)
    expect(commonDType(b, a)).toBe(wanted)
  })

  it('finds one common type whatever the order', () => {
    for (const a of DTYPES)
      for (const b of DTYPES) expect(commonDType(a, b)).toBe(commonDType(b, a))
    expect(commonDType('int64', 'float16', 'torch')).toBe('float16')
  })
})
