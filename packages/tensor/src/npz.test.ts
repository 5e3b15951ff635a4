import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeNpz, parseNpz } from './npz.ts'
import { Tensor } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

const { npz: vectors }: { npz: { stored: string; compressed: string } } = JSON.parse(
  readFileSync(new URL('../../../vectors/tensor.json', import.meta.url), 'utf8'),
)
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
const sample = new Tensor('float32', [2, 3], Float32Array.of(0, 1, 2, 3, 4, 5))

describe('npz', () => {
  it('reads what NumPy wrote, zip64 placeholders included', () => {
    const tensors = parseNpz(bytesOf(vectors.stored))
    expect([...tensors.keys()]).toEqual(['T0'])
    expect(tensors.get('T0')).toEqual(sample)
  })

  it('refuses compressed entries and says what to do', () => {
    expect(() => parseNpz(bytesOf(vectors.compressed))).toThrow(
      expect.objectContaining({
        code: 'ERR_NPZ_COMPRESSED',
        message: expect.stringMatching(/savez/),
      }),
    )
  })

  it('reads what it writes, as views', () => {
    const entries = new Map([
      ['T0', sample],
      ['weights/ä', new Tensor('int64', [], BigInt64Array.of(-5n))],
      ['empty', new Tensor('bool', [0, 2], new Uint8Array())],
    ])
    const file = joined(encodeNpz(entries))
    const read = parseNpz(file)
    expect(read).toEqual(entries)
    expect(read.get('T0')?.data.buffer).toBe(file.buffer)
  })

  it('writes and checks the same file with a checksum function that was handed in', () => {
    const calls: number[] = []
    const counted = (bytes: Uint8Array, previous?: number): number => {
      calls.push(bytes.length)
      return crc32(bytes, previous)
    }
    const file = joined(encodeNpz([['T0', sample]], { crc32: counted }))
    expect(file).toEqual(joined(encodeNpz([['T0', sample]])))
    expect(parseNpz(file, { crc32: counted }).get('T0')).toEqual(sample)
    expect(calls).toEqual([128, 24, 152])
    expect(() => parseNpz(file, { crc32: () => 0 })).toThrow(/wrong checksum/)
  })

  it('finds every changed byte that matters', () => {
    const file = joined(encodeNpz([['T0', sample]]))
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = file.slice()
        damaged[at]! ^= flip
        try {
          // What goes unnoticed changes nothing: dates, flags and the padding.
          expect([...parseNpz(damaged).values()]).toEqual([sample])
        } catch (error) {
          expect(error).toBeInstanceOf(TensorError)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('throws nothing but its own error on cut files and garbage', () => {
    const file = joined(encodeNpz([['T0', sample]]))
    for (let length = 0; length < file.length; length += 7)
      expect(() => parseNpz(file.subarray(0, length))).toThrow(TensorError)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => parseNpz(bytes)).toThrow(TensorError)
      }),
    )
  })

  it('refuses two entries of one name, and more entries than allowed', () => {
    const twice = joined(
      encodeNpz([
        ['T0', sample],
        ['T0', sample],
      ]),
    )
    expect(() => parseNpz(twice)).toThrow(/two entries/)
    const two = joined(
      encodeNpz([
        ['T0', sample],
        ['T1', sample],
      ]),
    )
    expect(() => parseNpz(two, { maxEntries: 1 })).toThrow(
      expect.objectContaining({ code: 'ERR_TENSOR_LIMIT' }),
    )
  })
})
