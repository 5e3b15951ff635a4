import { storedElementsOf, Tensor } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import { ClientError } from './client-error.ts'
import { ARRAY_ALIGNMENT, encodeFrame, type Frame, FrameDecoder, frameParts } from './frame.ts'
import { readArrays } from './wire-value.ts'

const tensor = fc.oneof(
  fc.float32Array({ maxLength: 40 }).map((data) => new Tensor('float32', [data.length], data)),
  fc
    .float64Array({ minLength: 6, maxLength: 6 })
    .map((data) => new Tensor('float64', [2, 3], data)),
  fc.uint8Array({ maxLength: 70 }).map((data) => new Tensor('uint8', [1, data.length], data)),
  fc.bigInt64Array({ maxLength: 4 }).map((data) => new Tensor('int64', [data.length], data)),
)
const message = fc.record({
  header: fc.dictionary(
    fc.string().filter((key) => key !== 'arrays' && key !== '__proto__'),
    fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
  ),
  arrays: fc.array(tensor, { maxLength: 5 }),
})

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

function* repeated(size: number): Generator<number> {
  for (;;) yield size
}

function pieces(bytes: Uint8Array, sizes: Iterator<number>): Uint8Array[] {
  const cut: Uint8Array[] = []
  for (let start = 0; start < bytes.length; ) {
    const size = sizes.next().value ?? 1
    cut.push(bytes.subarray(start, start + size))
    start += size
  }
  return cut
}

describe('FrameDecoder', () => {
  it('yields what was encoded, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 4 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 100 })),
        (messages, sizes) => {
          const stream = joined(
            messages.flatMap(({ header, arrays }) => encodeFrame(header, arrays)),
          )
          const decoder = new FrameDecoder()
          const frames = pieces(stream, sizes).flatMap((piece) => decoder.push(piece))
          expect(frames).toHaveLength(messages.length)
          expect(decoder.idle).toBe(true)
          frames.forEach((frame, index) => {
            const { header, arrays } = messages[index]!
            const { arrays: described, ...rest } = frame.header as Record<string, unknown>
            expect(rest).toEqual({ ...header })
            const decoded = readArrays(described, frame.body)
            expect(decoded.map(({ dtype, shape, data }) => ({ dtype, shape, data }))).toEqual(
              arrays.map(({ dtype, shape, data }) => ({ dtype, shape, data })),
            )
          })
        },
      ),
    )
  })

  it('keeps long bodies in a store, or in memory from where the store failed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1, 70, 400_000, 1_100_000), { maxLength: 3 }),
        fc.constantFrom(0, 1_500_000, Number.POSITIVE_INFINITY),
        fc.constantFrom(65_536, 1_000_003),
        (lengths, roomBytes, chunkBytes) => {
          const arrays = lengths.map(
            (length, seed) => new Tensor('uint8', [length], new Uint8Array(length).fill(seed + 1)),
          )
          const bytes = joined(encodeFrame({ type: 'x' }, arrays))
          const store = new MemoryByteStore(1_000_000)
          store.roomBytes = roomBytes
          const decoder = new FrameDecoder({}, store)
          const frames = [bytes, bytes].flatMap((one) =>
            pieces(one, repeated(chunkBytes)).flatMap((chunk) => decoder.push(chunk)),
          )
          expect(frames).toHaveLength(2)
          expect(decoder.idle).toBe(true)
          for (const { header, body } of frames) {
            const descriptions = (header as Record<string, unknown>)['arrays']
            const found = readArrays(descriptions, body)
            const parts: Buffer[] = []
            for (const part of frameParts({ type: 'x' }, found)) parts.push(Buffer.from(part))
            expect(Buffer.concat(parts).equals(bytes)).toBe(true)
            for (const array of found) storedElementsOf(array)?.release()
          }
          expect(store.held).toBe(0)
        },
      ),
      { numRuns: 15 },
    )
  })

  it('takes garbage for garbage, and throws nothing but its own error', () => {
    const decode = (bytes: Uint8Array): Frame[] =>
      new FrameDecoder({ maxBodyBytes: 1e6 }).push(bytes)
    const start = encodeFrame({ type: 'log' }, [new Tensor('uint8', [3], Uint8Array.of(1, 2, 3))])
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          // One damaged byte in a frame that was right.
          fc.tuple(fc.nat(200), fc.nat(255)).map(([index, value]) => {
            const bytes = joined(start)
            bytes[index % bytes.length] = value
            return bytes
          }),
        ),
        (bytes) => {
          try {
            for (const { header, body } of decode(bytes)) {
              if (typeof header === 'object' && header !== null && 'arrays' in header)
                readArrays(header.arrays, body)
            }
          } catch (error) {
            expect(error).toBeInstanceOf(ClientError)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('gives arrays as views, aligned, on one buffer', () => {
    const parts = encodeFrame({}, [
      new Tensor('uint8', [1], Uint8Array.of(7)),
      new Tensor('float64', [1], Float64Array.of(0.5)),
    ])
    expect(parts[0]!.length % ARRAY_ALIGNMENT).toBe(0)
    const [frame] = new FrameDecoder().push(joined(parts))
    const { arrays } = frame!.header as { arrays: unknown }
    const [bytes, floats] = readArrays(arrays, frame!.body)
    expect(floats!.data.buffer).toBe((frame!.body as Uint8Array).buffer)
    expect(bytes!.data.buffer).toBe((frame!.body as Uint8Array).buffer)
    expect(floats!.data.byteOffset).toBe(ARRAY_ALIGNMENT)
  })

  const prefix = (magic: number, header: number, body: bigint): Uint8Array => {
    const view = new DataView(new ArrayBuffer(16))
    view.setUint32(0, magic, true)
    view.setUint32(4, header, true)
    view.setBigUint64(8, body, true)
    return new Uint8Array(view.buffer)
  }
  it.each([
    ['another magic', prefix(0x31505449, 48, 0n), 'something else'],
    ['a header past the limit', prefix(0x31505448, 2 ** 20 + 48, 0n), 'over the limit of 1048576'],
    ['a header that ends between', prefix(0x31505448, 47, 0n), 'multiple of 64'],
    ['no header', prefix(0x31505448, 0, 0n), 'multiple of 64'],
    ['a body past the limit', prefix(0x31505448, 48, 2n ** 64n - 1n), 'over the limit of 1000'],
  ])('refuses %s before it reserves anything', (_, bytes, message) => {
    const decoder = new FrameDecoder({ maxHeaderBytes: 2 ** 20, maxBodyBytes: 1000 })
    expect(() => decoder.push(bytes)).toThrow(
      expect.objectContaining({
        code: 'ERR_TRAINER_FRAME',
        message: expect.stringContaining(message),
      }),
    )
  })
})

describe('readArrays', () => {
  const body = new Uint8Array(64)
  it.each([
    [[{ dtype: 'float32', shape: [15] }]],
    [[{ dtype: 'float32', shape: [17] }]],
    [[{ dtype: 'float32', shape: [-1] }]],
    [[{ dtype: 'float32', shape: [2 ** 53, 0] }]],
    [[{ dtype: 'object', shape: [1] }]],
    [[{ dtype: '__proto__', shape: [1] }]],
    [[{ dtype: 'float32', shape: '16' }]],
    [[{ dtype: 'float32' }]],
    [[{ dtype: 'float32', shape: new Array(100).fill(1) }]],
    [[null]],
    [{}],
    [undefined],
    [
      [
        { dtype: 'uint8', shape: [64] },
        { dtype: 'uint8', shape: [1] },
      ],
    ],
  ])('refuses %j over 64 bytes', (descriptions) => {
    expect(() => readArrays(descriptions, body)).toThrow(
      expect.objectContaining({ code: 'ERR_TRAINER_PROTOCOL' }),
    )
  })

  it('refuses more arrays than allowed', () => {
    const descriptions = new Array(4).fill({ dtype: 'uint8', shape: [0] })
    expect(() => readArrays(descriptions, new Uint8Array(), { maxArrays: 3 })).toThrow(
      'more than 3',
    )
  })
})
