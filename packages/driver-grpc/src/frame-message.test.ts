import { TransportError } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frameOf, patternFrame } from '../../driver-socket/test/frames.ts'
import { MessageSplitter, nextSeq, wrapFrame } from './frame-message.ts'

const LIMIT = 2048

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function drain(splitter: MessageSplitter): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let next = splitter.next(); next !== undefined; next = splitter.next()) frames.push(next)
  return frames
}

/** A message around any protobuf bytes. */
function message(body: Uint8Array, { flag = 0, claims = body.length } = {}): Uint8Array {
  const head = new Uint8Array(5)
  head[0] = flag
  new DataView(head.buffer).setUint32(1, claims)
  return Buffer.concat([head, body])
}

const decode = (bytes: Uint8Array): Uint8Array[] => {
  const splitter = new MessageSplitter(LIMIT)
  splitter.chunks.push(bytes)
  return drain(splitter)
}

/** `data` as field 2, its length in one or two bytes. */
const dataField = (data: Uint8Array): Uint8Array =>
  data.length < 128
    ? Buffer.concat([Uint8Array.of(0x12, data.length), data])
    : Buffer.concat([Uint8Array.of(0x12, (data.length & 127) | 128, data.length >> 7), data])

describe('messages of a call', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }).map(frameOf), { maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 64 })),
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        (frames, cuts, seq) => {
          const bytes = Buffer.concat(
            frames.flatMap((frame) => [
              ...wrapFrame([frame.subarray(0, 5), frame.subarray(5)], seq),
            ]),
          )
          const splitter = new MessageSplitter(LIMIT)
          const found: Uint8Array[] = []
          for (let at = 0; at < bytes.length; ) {
            const size = cuts.next().value ?? 1
            splitter.chunks.push(bytes.subarray(at, at + size))
            at += size
            found.push(...drain(splitter))
          }
          expect(found.map(hexOf)).toEqual(frames.map(hexOf))
          expect(splitter.isEmpty).toBe(true)
        },
      ),
    )
  })

  it('survive garbage with our own error only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (garbage, framed) => {
        try {
          for (const frame of decode(framed ? message(garbage) : garbage))
            expect(new DataView(frame.buffer, frame.byteOffset).getUint32(0)).toBe(frame.length)
        } catch (error) {
          expect(error).toBeInstanceOf(TransportError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('may carry fields to come, in any order, and the last of a kind counts', () => {
    const frame = patternFrame(200)
    const body = Buffer.concat([
      dataField(new Uint8Array(3)),
      Uint8Array.of(0x18, 0x96, 0x01), // field 3, varint
      Uint8Array.of(0x21, 1, 2, 3, 4, 5, 6, 7, 8), // field 4, 64 bits
      Uint8Array.of(0x2d, 1, 2, 3, 4), // field 5, 32 bits
      Uint8Array.of(0x32, 2, 9, 9), // field 6, bytes
      dataField(frame),
      Uint8Array.of(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), // seq -1
    ])
    expect(decode(message(body)).map(hexOf)).toEqual([hexOf(frame)])
  })

  it.each<[string, Uint8Array, string]>([
    ['are compressed', message(dataField(patternFrame(64)), { flag: 1 }), 'ERR_PROTOCOL'],
    [
      'claim more than is allowed',
      message(new Uint8Array(0), { claims: LIMIT + 65 }),
      'ERR_FRAME_LENGTH',
    ],
    ['claim 4 GiB', message(new Uint8Array(0), { claims: 2 ** 32 - 1 }), 'ERR_FRAME_LENGTH'],
    [
      'hold a longer frame than is allowed',
      message(dataField(patternFrame(LIMIT + 1))),
      'ERR_FRAME_LENGTH',
    ],
    ['are empty', message(new Uint8Array(0)), 'ERR_FRAME_LENGTH'],
    [
      'hold less than their frame says',
      message(dataField(patternFrame(64).subarray(0, 63))),
      'ERR_FRAME_LENGTH',
    ],
    [
      'hold more than their frame says',
      message(dataField(Buffer.concat([patternFrame(64), Uint8Array.of(0)]))),
      'ERR_FRAME_LENGTH',
    ],
    ['hold data that is cut', message(Uint8Array.of(0x12, 100, 1, 2)), 'ERR_PROTOCOL'],
    [
      'hold data longer than 53 bits can say',
      message(Uint8Array.of(0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)),
      'ERR_PROTOCOL',
    ],
    ['hold a number without end', message(new Uint8Array(20).fill(0xff)), 'ERR_PROTOCOL'],
    ['hold data as a number', message(Uint8Array.of(0x10, 1)), 'ERR_PROTOCOL'],
    ['hold seq as bytes', message(Uint8Array.of(0x0a, 0)), 'ERR_PROTOCOL'],
    ['hold a group', message(Uint8Array.of(0x1b, 0x1c)), 'ERR_PROTOCOL'],
    ['hold field 0', message(Uint8Array.of(0x02, 0)), 'ERR_PROTOCOL'],
  ])('are refused when they %s', (_name, bytes, code) => {
    expect(() => decode(bytes)).toThrow(expect.objectContaining({ code }))
  })

  it('are refused for their length before their body came', () => {
    const splitter = new MessageSplitter(LIMIT)
    splitter.chunks.push(message(new Uint8Array(0), { claims: 10_000 }))
    expect(() => splitter.next()).toThrow(expect.objectContaining({ code: 'ERR_FRAME_LENGTH' }))
  })

  it('are numbered from 1 up to what an int32 holds, and again', () => {
    expect(nextSeq(0)).toBe(1)
    expect(nextSeq(2 ** 31 - 1)).toBe(1)
  })
})
