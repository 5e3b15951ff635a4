import {
  coreCodecs,
  createFobsRegistry,
  DEFAULT_FOBS_LIMITS,
  decode,
  decodeWhole,
  encode,
  FobsError,
  type FobsValue,
  joinBytes,
  LazyReference,
} from '@hanse/fobs'
import { isTensor, Tensor, writeNpy } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { learningCodecs, NumpyScalar, numpyCodecs, RawArray, torchCodecs } from './index.ts'

const registry = createFobsRegistry(coreCodecs, learningCodecs)
const references = { fqcn: 'server.job', refId: (dot: number) => `ref-${dot}` }
const weights = new Tensor('float32', [2, 2], new Float32Array([1, 2, 3, 4]))
const torch = new Tensor('bfloat16', [2], new Uint16Array([0x3f80, 0x4000]), 'torch')

const through = (value: unknown): FobsValue =>
  decodeWhole(joinBytes(encode(value, registry).parts), registry)
const withCode = (code: string): unknown => expect.objectContaining({ code })

/** What a receiver gets that pulls every item of a message. */
function downloaded(value: unknown): FobsValue {
  const { parts, items } = encode(value, registry, { references })
  const decoded = decode(parts, registry)
  return decoded.complete((dot) => {
    const kind = registry.referenceKind(dot)!
    const read = new Map<string, unknown>()
    for (const [id, item] of items.get(dot) ?? [])
      for (const [name, tensor] of kind.decodeItem(
        joinBytes(kind.encodeItem(id, item)),
        DEFAULT_FOBS_LIMITS,
      ))
        read.set(name, tensor)
    return read
  })
}

const tensor = fc
  .tuple(
    fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
    fc.constantFrom('float32', 'float64'),
    fc.constantFrom(undefined, 'torch' as const),
  )
  .chain(([shape, dtype, framework]) => {
    const count = shape.reduce((product, size) => product * size, 1)
    return fc
      .array(fc.float(), { minLength: count, maxLength: count })
      .map((values) =>
        dtype === 'float32'
          ? new Tensor('float32', shape, new Float32Array(values), framework)
          : new Tensor('float64', shape, new Float64Array(values), framework),
      )
  })

describe('arrays and tensors', () => {
  it('round-trip in the message and by reference', () => {
    fc.assert(
      fc.property(fc.array(tensor, { maxLength: 4 }), (tensors) => {
        expect(through(tensors)).toEqual(tensors)
        expect(downloaded(tensors)).toEqual(tensors)
      }),
    )
  })

  it('of large size move out of the message without being copied', () => {
    const large = new Tensor('float64', [2_000_000], new Float64Array(2_000_000).fill(0.5))
    const { parts } = encode({ w: large }, registry)
    expect(parts.some((part) => part.buffer === large.data.buffer)).toBe(true)
    const read = decodeWhole(joinBytes(parts), registry)
    const copy = read instanceof Map ? read.get('w') : undefined
    expect(isTensor(copy) && copy.data.length).toBe(2_000_000)
  })

  it('are views on an aligned payload', () => {
    const parts = encode(weights, registry).parts
    const bytes = joinBytes(parts)
    const data = Buffer.from(bytes).indexOf(Buffer.from(weights.data.buffer))
    expect(data).toBeGreaterThan(0)
    const aligned = new Uint8Array(bytes.length + 8).subarray((8 - (data % 8)) % 8)
    aligned.set(bytes)
    const read = decodeWhole(aligned.subarray(0, bytes.length), registry)
    expect(isTensor(read) && read.data.buffer === aligned.buffer).toBe(true)
    expect(read).toEqual(weights)
  })

  it('choose their type by framework', () => {
    const read = downloaded([weights, torch]) as Tensor[]
    expect(read.map(({ framework, dtype }) => [framework, dtype])).toEqual([
      [undefined, 'float32'],
      ['torch', 'bfloat16'],
    ])
    const numpyOnly = createFobsRegistry(coreCodecs, numpyCodecs)
    expect(() => encode(torch, numpyOnly)).toThrow(withCode('ERR_FOBS_ENCODE'))
  })

  it('that cannot be written say so', () => {
    const complex = new Tensor('complex128', [1], new Float64Array(2), 'torch')
    expect(() => encode(complex, registry)).toThrow(withCode('ERR_FOBS_ENCODE'))
  })

  it('of a kind that is not registered are refused', () => {
    const bytes = encode([torch], registry, { references }).parts
    const numpyOnly = createFobsRegistry(coreCodecs, numpyCodecs)
    expect(() => decode(bytes, numpyOnly)).toThrow(FobsError)
    expect(decode(bytes, createFobsRegistry(coreCodecs, torchCodecs)).passThrough).toEqual([
      new LazyReference(6, 'server.job', 'ref-6', 'T0'),
    ])
  })

  it('never make anything but FobsError of changed bytes', () => {
    const bytes = joinBytes(encode([weights, torch], registry).parts)
    const kinds = [3, 6].map((dot) => registry.referenceKind(dot)!)
    const items = kinds.map((kind) =>
      joinBytes(kind.encodeItem('T0', kind.dot === 3 ? weights : torch)),
    )
    const attempt = (action: () => unknown): void => {
      try {
        action()
      } catch (error) {
        expect(error).toBeInstanceOf(FobsError)
      }
    }
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 255 }), (where, byte) => {
        attempt(() => decode(bytes.with(where % bytes.length, byte), registry))
        for (const [i, kind] of kinds.entries()) {
          const item = items[i]!
          attempt(() => kind.decodeItem(item.with(where % item.length, byte), DEFAULT_FOBS_LIMITS))
          attempt(() => kind.decodeItem(item.subarray(0, where % item.length), DEFAULT_FOBS_LIMITS))
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('RawArray', () => {
  const file = (descr: string, shape: string, data: number): Uint8Array => {
    const header = Buffer.from(writeNpy(new Tensor('uint8', [0], new Uint8Array())).slice(0, 128))
    const text = `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}, }`
    header.write(`${text.padEnd(117)}\n`, 10, 'latin1')
    return Uint8Array.from(Buffer.concat([header, Buffer.alloc(data)]))
  }

  it.each([
    ["'<U3'", '(2,)', 24],
    ["'|S5'", '(3,)', 15],
    ["'<M8[ns]'", '()', 8],
    ["'<m8'", '(1,)', 8],
    ["'<M8[25s/7]'", '(1,)', 8],
    ["'|V7'", '(1, 2)', 14],
    ["'<f16'", '(1,)', 16],
    ["[('a', '<i4'), ('b', '<f8', (2,))]", '(2,)', 40],
    ["[('a', [('x', '|u1'), ('', '|V3')])]", '(2,)', 8],
    ["[(('title', 'a'), '<i4')]", '(1,)', 4],
    ["'<U0'", '(5,)', 0],
  ])('carries %s unchanged', (descr, shape, data) => {
    const bytes = file(descr, shape, data)
    const array = new RawArray(bytes)
    expect(array.data).toHaveLength(data)
    const read = through(array)
    expect(read instanceof RawArray && read.file).toEqual(bytes)
  })

  it.each([
    ["'|O'", '(1,)', 8],
    ["'|O8'", '(1,)', 8],
    ["'<q9'", '(1,)', 9],
    ["'<i3'", '(1,)', 3],
    ["'<M4[ns]'", '(1,)', 4],
    ["'<i4[ns]'", '(1,)', 4],
    ["[('a', '|O')]", '(1,)', 8],
    ["[('a',)]", '(1,)', 8],
    ["[('a', '<i4', 'x')]", '(1,)', 4],
    ["'<U3'", '(2,)', 23],
    ["'<U3'", '(2,)', 25],
    ["'<U3'", '(4294967296, 4294967296)', 0],
    ["[('a', '<U999999999', (4294967296, 4294967296))]", '(1,)', 0],
  ])('refuses %s of shape %s in %i bytes', (descr, shape, data) =>
    expect(() => new RawArray(file(descr, shape, data))).toThrow(
      expect.objectContaining({ name: 'TensorError' }),
    ),
  )
})

describe('NumpyScalar', () => {
  it.each([
    new NumpyScalar('float32', 0.5),
    new NumpyScalar('float32', Number.NaN),
    new NumpyScalar('float64', 2),
    new NumpyScalar('int32', -(2 ** 31)),
    new NumpyScalar('int64', 2n ** 63n - 1n),
    new NumpyScalar('int64', 7),
  ])('round-trips %o', (scalar) => {
    expect(through(scalar)).toEqual(scalar)
  })

  it.each([
    new NumpyScalar('float32', 0.1),
    new NumpyScalar('int32', 2 ** 31),
    new NumpyScalar('int64', 2n ** 63n),
    new NumpyScalar('int32', 0.5),
  ])('refuses %o', (scalar) => expect(() => through(scalar)).toThrow(FobsError))

  it('is a key like the number it holds', () => {
    const map = new Map<unknown, unknown>([
      [new NumpyScalar('int64', 1), 'a'],
      [1, 'b'],
    ])
    expect(() => encode(map, registry)).toThrow(withCode('ERR_FOBS_ENCODE'))
  })
})
