import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { capturedFrames } from '../../test/captured.ts'
import type { HeaderValue } from '../headers.ts'
import { decodeFrame, encodePrefix, FRAME, PREFIX_BYTES } from './frame.ts'
import { decodeGreeting, encodeGreeting, encodeRefusal } from './greeting.ts'
import { decodeMap, encodeMap } from './wire-map.ts'

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** As the vectors write values. */
function plain(value: HeaderValue): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]))
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Uint8Array) return { $bytes: hexOf(value) }
  return value
}

const headerValue = fc.letrec<{ value: HeaderValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc
      .array(fc.tuple(fc.string(), tie('value')), { maxLength: 4 })
      .map((entries) => new Map(entries)),
  ),
})).value
const headerMap = fc
  .array(fc.tuple(fc.string(), headerValue), { maxLength: 8 })
  .map((entries) => new Map(entries))

describe('frames of stock cells', () => {
  it.each(capturedFrames)('decode as captured and encode to the same bytes: $name', (frame) => {
    const { bytes, decoded } = frame
    const prefix = decodeFrame(bytes)
    const { headers, payload } = prefix
    expect(prefix).toMatchObject({
      type: decoded.prefix.type,
      appId: decoded.prefix.app_id,
      streamId: decoded.prefix.stream_id,
      sequence: decoded.prefix.sequence,
      proven: false,
    })
    const isData = prefix.type === FRAME.data
    const section = isData ? headers : payload
    const map = decodeMap(
      prefix.type === FRAME.ping || prefix.type === FRAME.pong ? headers : section,
    )
    if (isData) {
      expect(plain(map)).toEqual(decoded.headers)
      expect(payload.length).toBe(decoded.payload_len)
    }
    const encoded = map.size === 0 ? new Uint8Array(0) : encodeMap(map)
    const parts = isData || map.size === 0 ? [encoded, payload] : [headers, encoded]
    const again = Buffer.concat([encodePrefix(prefix, headers.length, payload.length), ...parts])
    expect(hexOf(again)).toBe(hexOf(bytes))
  })
})

describe('frames', () => {
  it('come back as they were made', () => {
    const uint16 = fc.integer({ min: 0, max: 65_535 })
    fc.assert(
      fc.property(
        fc.record({
          type: fc.integer({ min: 0, max: 255 }),
          appId: uint16,
          streamId: uint16,
          sequence: uint16,
        }),
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }), { nil: undefined }),
        (fields, headers, payload, code = new Uint8Array(0)) => {
          const prefix = { ...fields, proven: code.length > 0 }
          const front = encodePrefix(prefix, headers.length + code.length, payload.length)
          const frame = decodeFrame(Buffer.concat([front, headers, code, payload]))
          expect(frame).toMatchObject(prefix)
          expect(hexOf(frame.prefix)).toBe(hexOf(front))
          expect(hexOf(frame.code)).toBe(hexOf(code))
          expect(hexOf(frame.headers)).toBe(hexOf(headers))
          expect(hexOf(frame.payload)).toBe(hexOf(payload))
        },
      ),
    )
  })

  it('refuse garbage with their own error only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decodeFrame(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_FRAME' })
        }
      }),
    )
  })

  it('refuse headers that reach beyond the frame', () => {
    const bytes = Buffer.concat([
      encodePrefix({ type: 1, appId: 1, streamId: 1, sequence: 1 }, 10, 0),
      new Uint8Array(10),
    ])
    bytes.writeUInt16BE(11, 4)
    expect(() => decodeFrame(bytes)).toThrow(expect.objectContaining({ code: 'ERR_FRAME' }))
  })

  it('refuse a code where there is no room for one', () => {
    const prefix = { type: 1, appId: 1, streamId: 1, sequence: 1, proven: true }
    const bytes = Buffer.concat([encodePrefix(prefix, 15, 20), new Uint8Array(35)])
    expect(() => decodeFrame(bytes)).toThrow(expect.objectContaining({ code: 'ERR_FRAME' }))
  })

  it('cannot be made longer than their fields can say', () => {
    const prefix = { type: 1, appId: 1, streamId: 1, sequence: 1 }
    expect(encodePrefix(prefix, 65_535, 0)).toHaveLength(PREFIX_BYTES)
    expect(() => encodePrefix(prefix, 65_536, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_HEADERS' }),
    )
    expect(() => encodePrefix(prefix, 0, 2_145_386_481)).toThrow(
      expect.objectContaining({ code: 'ERR_LIMIT' }),
    )
  })
})

describe('header maps', () => {
  it('come back as they were made', () => {
    fc.assert(
      fc.property(headerMap, (map) => {
        expect(decodeMap(encodeMap(map))).toEqual(map)
      }),
    )
  })

  it('refuse garbage with their own error only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        try {
          decodeMap(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_HEADERS' })
        }
      }),
    )
  })

  it('keep integers as integers and times as floats', () => {
    const encoded = encodeMap(
      new Map<string, HeaderValue>([
        ['sm__cs', 1_048_576],
        ['cn__send_time', 5],
        ['cn__route', [['a', 6]]],
      ]),
    )
    const text = hexOf(encoded)
    expect(text).toContain('ce00100000')
    expect(text).toContain('cb4014000000000000')
    expect(text).toContain('cb4018000000000000')
  })

  it('refuse nesting without end', () => {
    const deep = new Uint8Array(60_000).fill(0x91)
    expect(() => decodeMap(deep)).toThrow(expect.objectContaining({ code: 'ERR_HEADERS' }))
  })

  it('do not touch objects with names from the wire', () => {
    const map = decodeMap(encodeMap(new Map([['__proto__', 'x']])))
    expect(map.get('__proto__')).toBe('x')
    expect(Object.getPrototypeOf(map)).toBe(Map.prototype)
  })
})

describe('greetings', () => {
  it('say the name as stock cells do, and ours on top', () => {
    const greeting = decodeGreeting(
      encodeGreeting({ fqcn: 'site-1', timestampSeconds: 2, capabilities: ['x/1'] }),
    )
    expect(greeting).toEqual({
      fqcn: 'site-1',
      isHanse: true,
      capabilities: ['x/1'],
      refusal: undefined,
    })
  })

  it('carry a refusal that stock cells cannot take for a READY', () => {
    const greeting = decodeGreeting(encodeRefusal({ code: 'name_in_use', reason: 'taken' }))
    expect(greeting.refusal).toEqual({ code: 'name_in_use', reason: 'taken' })
    expect(greeting.fqcn).toBe('')
  })

  it('cannot write to our terminal', () => {
    const refusal = { code: 'x\n', reason: '\u001b[2Jforged line' }
    expect(decodeGreeting(encodeRefusal(refusal)).refusal).toEqual({
      code: 'x?',
      reason: '?[2Jforged line',
    })
  })
})
