import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { type BytePart, bytesOf } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import { encodeNpz, parseNpz } from './npz.ts'
import { storedElementsOf } from './stored-tensor.ts'
import { Tensor } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

const { npz: vectors }: { npz: { stored: string; compressed: string } } = JSON.parse(
  readFileSync(new URL('../../../vectors/tensor.json', import.meta.url), 'utf8'),
)
const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const joined = (parts: readonly BytePart[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts.map(bytesOf)))
const sample = new Tensor('float32', [2, 3], Float32Array.of(0, 1, 2, 3, 4, 5))

describe('npz', () => {
  it('reads what NumPy wrote, zip64 placeholders included', () => {
    const tensors = parseNpz(fromHex(vectors.stored))
    expect([...tensors.keys()]).toEqual(['T0'])
    expect(tensors.get('T0')).toEqual(sample)
  })

  it('refuses compressed entries and says what to do', () => {
    expect(() => parseNpz(fromHex(vectors.compressed))).toThrow(
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

  it('does without checksums where both sides say so, and only there', () => {
    const options = { checksums: false }
    const file = joined(encodeNpz([['T0', sample]], options))
    expect(parseNpz(file, options).get('T0')).toEqual(sample)
    expect(() => parseNpz(file)).toThrow(/wrong checksum/)
    const checked = joined(encodeNpz([['T0', sample]]))
    expect(parseNpz(checked, options).get('T0')).toEqual(sample)
    expect(checked).toHaveLength(file.length)
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

  describe('of a stored file', () => {
    const long = new Tensor(
      'float32',
      [100, 300],
      Float32Array.from({ length: 30_000 }, (_, i) => i / 3),
    )
    const entries = new Map([
      ['long', long],
      ['short', sample],
    ])
    const stored = (bytes: Uint8Array, store = new MemoryByteStore()) => {
      const file = store.reserve(bytes.length)
      file.write(bytes, 0)
      return { file, store }
    }

    it('leaves long arrays there, until all are released', () => {
      const { file, store } = stored(joined(encodeNpz([...entries, ['again', long]])))
      const tensors = parseNpz(file)
      expect(storedElementsOf(tensors.get('short')!)).toBeUndefined()
      expect(tensors.get('short')).toEqual(sample)
      for (const name of ['long', 'again']) {
        expect(storedElementsOf(tensors.get(name)!)?.byteLength).toBe(120_000)
        expect(tensors.get(name)!.shape).toEqual(long.shape)
        expect(tensors.get(name)!.data).toEqual(long.data)
      }
      storedElementsOf(tensors.get('long')!)?.release()
      expect(store.held).toBe(1)
      storedElementsOf(tensors.get('again')!)?.release()
      expect(store.held).toBe(0)
    })

    it('keeps no file of which nothing is left', () => {
      const { file, store } = stored(joined(encodeNpz([['T0', sample]])))
      expect(parseNpz(file).get('T0')).toEqual(sample)
      expect(store.held).toBe(0)
    })

    it('writes it again as it was, its elements where they are', () => {
      const bytes = joined(encodeNpz(entries))
      const parts = encodeNpz(parseNpz(stored(bytes).file))
      expect(parts.some((part) => !(part instanceof Uint8Array))).toBe(true)
      expect(joined(parts)).toEqual(bytes)
    })

    it('rearranges what is big-endian or in Fortran order, as in memory', () => {
      const file = joined(encodeNpz([['T0', long]]))
      const text = Buffer.from(file)
      text.write('>f4', text.indexOf('<f4'))
      const entry = text.subarray(
        text.indexOf('\x93NUMPY', 'latin1'),
        text.lastIndexOf('PK\x01\x02'),
      )
      const crc = crc32(entry)
      text.writeUInt32LE(crc, 14)
      text.writeUInt32LE(crc, text.lastIndexOf('PK\x01\x02') + 16)
      const swapped = parseNpz(stored(new Uint8Array(text)).file).get('T0')
      expect(swapped).toEqual(parseNpz(new Uint8Array(text)).get('T0'))
      expect(swapped?.data[1]).not.toBe(long.data[1])
    })

    it('refuses what it refuses in memory, for the same reasons', () => {
      const file = joined(encodeNpz(entries))
      const outcome = (part: BytePart): string => {
        try {
          return [...parseNpz(part).values()]
            .map(({ data }) => crc32(Buffer.from(data.buffer)))
            .join()
        } catch (error) {
          expect(error).toBeInstanceOf(TensorError)
          return (error as TensorError).message
        }
      }
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 400 }),
          fc.boolean(),
          fc.integer({ min: 0, max: 255 }),
          (at, fromEnd, byte) => {
            const changed = file.slice()
            changed[fromEnd ? file.length - at : at] = byte
            const inMemory = outcome(changed)
            const fromStore = outcome(stored(changed).file)
            if (Number.isNaN(Number(inMemory.split(',')[0]))) expect(fromStore).toBe(inMemory)
          },
        ),
        { numRuns: 60 },
      )
    })
  })
})
