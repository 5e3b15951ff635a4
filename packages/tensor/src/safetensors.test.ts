import { readFileSync } from 'node:fs'
import type { BytePart } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import type { DType } from './dtype.ts'
import { parseSafetensors, writeSafetensors } from './safetensors.ts'
import { storedElementsOf } from './stored-tensor.ts'
import { Tensor, tensorBytes, tensorFromBytes } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

interface Case {
  readonly name: string
  readonly metadata: Record<string, string>
  readonly tensors: Record<string, { dtype: DType; shape: number[]; elements: string }>
  readonly file: string
}
const { safetensors: cases }: { safetensors: Case[] } = JSON.parse(
  readFileSync(new URL('../../../vectors/tensor.json', import.meta.url), 'utf8'),
)
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

function fileOf(header: unknown, data: number[] = []): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === 'string' ? header : JSON.stringify(header),
  )
  const out = new Uint8Array(8 + json.length + data.length)
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true)
  out.set(json, 8)
  out.set(data, 8 + json.length)
  return out
}
const f32 = (begin: number, end: number, shape: unknown = [1]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
})

describe('safetensors', () => {
  it.each(cases)('reads what the reference wrote: $name', ({ metadata, tensors, file }) => {
    const read = parseSafetensors(bytesOf(file))
    expect(Object.fromEntries(read.metadata)).toEqual(metadata)
    expect(
      Object.fromEntries(
        [...read.tensors].map(([name, tensor]) => [
          name,
          {
            dtype: tensor.dtype,
            shape: tensor.shape,
            elements: Buffer.from(tensorBytes(tensor)).toString('hex'),
          },
        ]),
      ),
    ).toEqual(tensors)
  })

  it.each(cases)('writes the bytes that the reference writes: $name', (vector) => {
    const tensors = new Map(
      Object.entries(vector.tensors).map(([name, { dtype, shape, elements }]) => [
        name,
        tensorFromBytes(dtype, shape, bytesOf(elements)),
      ]),
    )
    const file = writeSafetensors(tensors, new Map(Object.entries(vector.metadata)))
    expect(Buffer.from(file).toString('hex')).toBe(vector.file)
  })

  it('keeps bfloat16 and the framework', () => {
    const tensors = new Map([['w', new Tensor('bfloat16', [2], Uint16Array.of(0x3f80, 0x4000))]])
    const { tensors: read } = parseSafetensors(writeSafetensors(tensors), { framework: 'torch' })
    expect(read.get('w')).toMatchObject({ dtype: 'bfloat16', framework: 'torch' })
  })

  it.each([
    ['nothing', new Uint8Array(4)],
    ['a header past the end', fileOf({}).subarray(0, 9)],
    ['a length of 2^64 - 1', new Uint8Array(16).fill(0xff)],
    ['no JSON', fileOf('{"a":')],
    ['a list', fileOf([])],
    ['an unknown type', fileOf({ a: { dtype: 'F8_E4M3', shape: [1], data_offsets: [0, 1] } }, [0])],
    ['a gap', fileOf({ a: f32(4, 8) }, [0, 0, 0, 0, 0, 0, 0, 0])],
    ['an overlap', fileOf({ a: f32(0, 4), b: f32(0, 4) }, [0, 0, 0, 0])],
    ['spare data', fileOf({ a: f32(0, 4) }, [0, 0, 0, 0, 0])],
    ['offsets past the end', fileOf({ a: f32(0, 8, [2]) }, [0, 0, 0, 0])],
    ['offsets backwards', fileOf({ a: f32(4, 0) }, [0, 0, 0, 0])],
    ['a shape that does not fit', fileOf({ a: f32(0, 4, [2]) }, [0, 0, 0, 0])],
    ['a fraction as size', fileOf({ a: f32(0, 4, [1.5]) }, [0, 0, 0, 0])],
    ['sizes whose product overflows', fileOf({ a: f32(0, 0, [2 ** 40, 2 ** 40]) })],
    ['metadata that is no text', fileOf({ __metadata__: { a: 1 } })],
  ])('refuses %s', (_, file) => {
    expect(() => parseSafetensors(file)).toThrow(TensorError)
  })

  it('survives names that mean something in JavaScript', () => {
    const { tensors } = parseSafetensors(
      fileOf('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [7]),
    )
    expect([...tensors.keys()]).toEqual(['__proto__'])
  })

  it('throws nothing but its own error on garbage', () => {
    fc.assert(
      fc.property(fc.json(), fc.uint8Array({ maxLength: 16 }), (json, data) => {
        try {
          parseSafetensors(fileOf(json, [...data]))
        } catch (error) {
          expect(error).toBeInstanceOf(TensorError)
        }
      }),
    )
  })

  it('limits header and number of tensors', () => {
    const file = fileOf({ a: f32(0, 4), b: f32(4, 8) }, [0, 0, 0, 0, 0, 0, 0, 0])
    expect(() => parseSafetensors(file, { maxHeaderBytes: 10 })).toThrow(/over the limit of 10/)
    expect(() => parseSafetensors(file, { maxTensors: 0 })).toThrow(/over the limit of 0/)
  })

  describe('of a stored file', () => {
    const long = new Tensor(
      'float32',
      [30_000],
      Float32Array.from({ length: 30_000 }, (_, i) => i),
    )
    const short = new Tensor('int8', [3], Int8Array.of(1, -2, 3))
    const file = writeSafetensors(
      new Map([
        ['long', long],
        ['short', short],
      ]),
    )
    const stored = (bytes: Uint8Array, store = new MemoryByteStore()) => {
      const reserved = store.reserve(bytes.length)
      reserved.write(bytes, 0)
      return { reserved, store }
    }

    it('leaves long tensors there, until they are released', () => {
      const { reserved, store } = stored(file)
      const { tensors } = parseSafetensors(reserved, { framework: 'torch' })
      expect(storedElementsOf(tensors.get('short')!)).toBeUndefined()
      expect(tensors.get('short')?.data).toEqual(short.data)
      expect(tensors.get('long')).toMatchObject({ framework: 'torch', shape: [30_000] })
      expect(tensors.get('long')?.data).toEqual(long.data)
      storedElementsOf(tensors.get('long')!)?.release()
      expect(store.held).toBe(0)
    })

    it('refuses what it refuses in memory, for the same reasons', () => {
      const outcome = (part: BytePart): string => {
        try {
          return [...parseSafetensors(part).tensors.keys()].join()
        } catch (error) {
          return error instanceof TensorError ? error.message : `unexpected: ${error}`
        }
      }
      fc.assert(
        fc.property(fc.nat(200), fc.integer({ min: 0, max: 255 }), (at, byte) => {
          const changed = file.slice()
          changed[at] = byte
          expect(outcome(stored(changed).reserved)).toBe(outcome(changed))
        }),
        { numRuns: 200 },
      )
    })
  })
})
