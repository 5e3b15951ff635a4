import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DTYPES, type DType, itemSize } from './dtype.ts'
import { parseNpy, parseNpyHeader, writeNpy } from './npy.ts'
import { Tensor, tensorBytes, tensorFromBytes } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

interface Case {
  readonly name: string
  readonly dtype: DType
  readonly shape: number[]
  readonly writes_same: boolean
  readonly elements: string
  readonly file: string
}
const { npy: cases }: { npy: Case[] } = JSON.parse(
  readFileSync(new URL('../../../vectors/tensor.json', import.meta.url), 'utf8'),
)
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

/** A file with this header text, whatever it says. */
function fileOf(header: string, data: number[] = [], version = 1): Uint8Array {
  const text = new TextEncoder().encode(header)
  const width = version === 1 ? 2 : 4
  const out = new Uint8Array(8 + width + text.length + data.length)
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0])
  const view = new DataView(out.buffer)
  if (width === 2) view.setUint16(8, text.length, true)
  else view.setUint32(8, text.length, true)
  out.set(text, 8 + width)
  out.set(data, 8 + width + text.length)
  return out
}

describe('npy', () => {
  it.each(cases)('reads what NumPy wrote: $name', ({ dtype, shape, elements, file }) => {
    const tensor = parseNpy(bytesOf(file))
    expect(tensor.dtype).toBe(dtype)
    expect(tensor.shape).toEqual(shape)
    expect(hexOf(tensorBytes(tensor))).toBe(elements)
  })

  it.each(cases.filter(({ writes_same }) => writes_same))(
    'writes the bytes that NumPy writes: $name',
    ({ dtype, shape, elements, file }) => {
      expect(hexOf(writeNpy(tensorFromBytes(dtype, shape, bytesOf(elements))))).toBe(file)
    },
  )

  it('reads what it writes, for every type and shape', () => {
    const types = DTYPES.filter((dtype) => dtype !== 'bfloat16')
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 5 }),
        fc.integer({ min: 0, max: 15 }),
        (dtype, shape, shift) => {
          const count = shape.reduce((product, size) => product * size, 1)
          const elements = Uint8Array.from({ length: count * itemSize(dtype) }, (_, i) => i % 251)
          const file = writeNpy(tensorFromBytes(dtype, shape, elements))
          // At any offset in a buffer: aligned ones are views, the others copies.
          const buffer = new Uint8Array(shift + file.length)
          buffer.set(file, shift)
          const tensor = parseNpy(buffer.subarray(shift))
          expect(tensor.shape).toEqual(shape)
          expect(tensorBytes(tensor)).toEqual(elements)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('does not copy aligned data', () => {
    const file = writeNpy(new Tensor('float32', [2], Float32Array.of(1, 2)))
    expect(parseNpy(file).data.buffer).toBe(file.buffer)
  })

  it.each([
    ['no magic', new Uint8Array(20)],
    ['an unknown version', fileOf('{}', [], 4)],
    ['a header longer than the file', fileOf("{'descr'").subarray(0, 12)],
    ['a length beyond reason', fileOf(`{${' '.repeat(12_000)}}`, [], 2)],
    [
      'code instead of a literal',
      fileOf("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"),
    ],
    ['a missing key', fileOf("{'descr': '<f4', 'shape': ()}", [0, 0, 0, 0])],
    [
      'an extra key',
      fileOf("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", [0, 0, 0, 0]),
    ],
    ['a repeated key', fileOf("{'descr': '<f4', 'descr': '<f4', 'shape': ()}", [0, 0, 0, 0])],
    [
      'a list as shape',
      fileOf("{'descr': '<f4', 'fortran_order': False, 'shape': [1]}", [0, 0, 0, 0]),
    ],
    [
      'a negative size',
      fileOf("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", [0, 0, 0, 0]),
    ],
    [
      'a number as order',
      fileOf("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", [0, 0, 0, 0]),
    ],
    [
      'too little data',
      fileOf("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", [0, 0, 0, 0]),
    ],
    [
      'spare data',
      fileOf("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", [0, 0, 0, 0, 0]),
    ],
    [
      'sizes whose product overflows',
      fileOf("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
    ],
    ['nesting without end', fileOf(`${'('.repeat(2000)}`)],
  ])('refuses %s', (_, file) => {
    expect(() => parseNpy(file)).toThrow(TensorError)
  })

  it.each(['|O', '<U3', '|S4', '<M8[s]', '|V2', '<f16', '=f4', 'f4'])(
    'refuses elements of type %s by name',
    (descr) => {
      const file = fileOf(`{'descr': '${descr}', 'fortran_order': False, 'shape': (0,), }`)
      expect(() => parseNpy(file)).toThrow(expect.objectContaining({ code: 'ERR_NPY_DTYPE' }))
      expect(parseNpyHeader(file).descr).toBe(descr)
    },
  )

  it('throws nothing but its own error on garbage', () => {
    const start = [...fileOf('').subarray(0, 8)]
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, plausible) => {
        const file = plausible ? Uint8Array.from([...start, ...bytes]) : bytes
        try {
          parseNpy(file)
        } catch (error) {
          expect(error).toBeInstanceOf(TensorError)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('refuses to write what NumPy has no type for', () => {
    const tensor = new Tensor('bfloat16', [1], new Uint16Array(1))
    expect(() => writeNpy(tensor)).toThrow(expect.objectContaining({ code: 'ERR_NPY_DTYPE' }))
  })
})
