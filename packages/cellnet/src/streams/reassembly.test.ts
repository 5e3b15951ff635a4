import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CellError } from '../cell-error.ts'
import { type ArrivedChunk, Reassembly } from './reassembly.ts'

function chunked(bytes: Uint8Array, cuts: readonly number[]): ArrivedChunk[] {
  const chunks: ArrivedChunk[] = []
  let offset = 0
  for (let sequence = 0; offset < bytes.length; sequence++) {
    const length = Math.min(cuts[sequence % cuts.length] ?? 1, bytes.length - offset)
    const payload = bytes.subarray(offset, offset + length)
    chunks.push({ sequence, offset, final: offset + length === bytes.length, payload })
    offset += length
  }
  return chunks.length > 0
    ? chunks
    : [{ sequence: 0, offset: 0, final: true, payload: new Uint8Array() }]
}

const body = fc.uint8Array({ minLength: 0, maxLength: 200 })
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

describe('Reassembly', () => {
  it('delivers the same bytes whatever the cuts, the order and the duplicates', () => {
    fc.assert(
      fc.property(
        body,
        cuts,
        fc.infiniteStream(fc.nat()),
        fc.boolean(),
        (bytes, sizes, luck, declare) => {
          const chunks = chunked(bytes, sizes)
          const deck = [...chunks, ...chunks.filter((_chunk, index) => index % 3 === 0)]
          const shuffled = deck
            .map((chunk) => ({ chunk, rank: luck.next().value ?? 0 }))
            .sort((a, b) => a.rank - b.rank)
          const stream = new Reassembly(declare ? bytes.length : 0, 1000, 1000)
          const received: number[] = []
          for (const { chunk } of shuffled)
            for (const payload of stream.accept(chunk) ?? []) received.push(...payload)
          expect(received).toEqual([...bytes])
          expect(stream.complete).toBe(true)
          expect(stream.parkedBytes).toBe(0)
          expect(stream.lastSequence).toBe(chunks.length - 1)
        },
      ),
    )
  })

  it('throws nothing but its own error and never gives out bytes that were not sent in their place', () => {
    const anyChunk = fc.record({
      sequence: fc.nat(6),
      offset: fc.nat(12),
      final: fc.boolean(),
      payload: fc.uint8Array({ maxLength: 4 }),
    })
    fc.assert(
      fc.property(fc.array(anyChunk, { maxLength: 20 }), fc.nat(20), (chunks, declared) => {
        const stream = new Reassembly(declared, 20, 3)
        let received = 0
        try {
          for (const chunk of chunks) {
            for (const payload of stream.accept(chunk) ?? []) received += payload.length
            expect(received).toBe(stream.receivedBytes)
            expect(received).toBeLessThanOrEqual(declared > 0 ? declared : 20)
            if (stream.complete && declared > 0) expect(received).toBe(declared)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(CellError)
        }
      }),
    )
  })

  const payload = new Uint8Array([1, 2])
  const first: ArrivedChunk = { sequence: 0, offset: 0, final: false, payload }
  it.each([
    ['a shifted offset', 'ERR_STREAM_ORDER', [first, { ...first, sequence: 1, offset: 3 }]],
    [
      'a chunk after FINAL',
      'ERR_STREAM_ORDER',
      [
        { ...first, sequence: 2, offset: 4, final: true },
        { ...first, sequence: 3, offset: 6 },
      ],
    ],
    [
      'a FINAL before a parked chunk',
      'ERR_STREAM_ORDER',
      [
        { ...first, sequence: 3, offset: 6 },
        { ...first, sequence: 2, offset: 4, final: true },
      ],
    ],
    [
      'an empty chunk that is not FINAL',
      'ERR_STREAM_ORDER',
      [{ ...first, payload: new Uint8Array() }],
    ],
    ['more bytes than declared', 'ERR_STREAM_SIZE', [first, { ...first, sequence: 1, offset: 2 }]],
    ['fewer bytes than declared', 'ERR_STREAM_SIZE', [{ ...first, final: true }]],
    [
      'too many parked chunks',
      'ERR_STREAM_LIMIT',
      [1, 2, 3].map((sequence) => ({ ...first, sequence, offset: sequence * 2 })),
    ],
  ] as const)('refuses %s', (_name, code, chunks) => {
    const stream = new Reassembly(code === 'ERR_STREAM_SIZE' ? 3 : 0, 100, 2)
    expect(() => {
      for (const chunk of chunks) stream.accept(chunk)
    }).toThrow(expect.objectContaining({ code }))
  })
})
