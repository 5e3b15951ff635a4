import { decode as oracleDecode, encode as oracleEncode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FobsError, type FobsErrorCode } from '../fobs-error.ts'
import type { FobsLimits } from '../fobs-limits.ts'
import { Float, joinBytes } from '../fobs-value.ts'
import { decodeMsgpack, encodeMsgpack, type MsgpackValue } from './msgpack.ts'

const integer = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(
    0,
    127,
    128,
    255,
    256,
    65535,
    65536,
    4294967295,
    4294967296,
    -32,
    -33,
    -128,
    -129,
  ),
)
const big = fc.oneof(
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
)
const text = fc.string({ unit: 'grapheme', maxLength: 300 })
const bytes = fc.uint8Array({ maxLength: 6000 })
const { value } = fc.letrec<{ value: MsgpackValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom<MsgpackValue>(null, true, false),
    integer,
    big,
    fc.double(),
    text,
    bytes,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.array(fc.tuple(text, tie('value')), { maxLength: 20 }).map((entries) => new Map(entries)),
  ),
}))

const encoded = (input: Parameters<typeof encodeMsgpack>[0]): Uint8Array =>
  joinBytes(encodeMsgpack(input)).slice()
const ofHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))

describe('encodeMsgpack and decodeMsgpack', () => {
  it('round-trip any value', () => {
    fc.assert(
      fc.property(value, (input) => {
        expect(decodeMsgpack(encoded(input))).toStrictEqual(input)
      }),
    )
  })

  it('write what another implementation reads', () => {
    fc.assert(
      fc.property(value, (input) => {
        const read = oracleDecode(encoded(input), {
          useBigInt64: true,
          mapKeyConverter: (key) => `k${String(key)}`,
        })
        expect(asOracle(read)).toEqual(asOracle(withMarkedKeys(input)))
      }),
    )
  })

  it('write the same bytes as another implementation', () => {
    const plain = fc.oneof(
      integer,
      fc.double().filter((x) => !Number.isInteger(x)),
      text,
      bytes,
      fc.array(integer),
    )
    fc.assert(
      fc.property(plain, (input) => {
        expect(encoded(input)).toEqual(Uint8Array.from(oracleEncode(input)))
      }),
    )
  })

  it('throw only FobsError on garbage, truncation and changed bytes', () => {
    const only = (input: Uint8Array): void => {
      try {
        decodeMsgpack(input)
      } catch (error) {
        expect(error).toBeInstanceOf(FobsError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), only))
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 0, max: 255 }), (input, where, byte) => {
        const whole = encoded(input)
        only(whole.with(where % whole.length, byte))
        if (whole.length > 1)
          expect(() => decodeMsgpack(whole.subarray(0, where % (whole.length - 1)))).toThrow(
            FobsError,
          )
      }),
    )
  })

  it('keep floats and integers apart', () => {
    expect(encoded(new Float(2))).toEqual(ofHex('cb4000000000000000'))
    expect(encoded(2)).toEqual(ofHex('02'))
    expect(encoded(-0)).toEqual(ofHex('cb8000000000000000'))
    expect(encoded(1e16)).toEqual(ofHex('cb4341c37937e08000'))
  })

  it('write many small values across chunks', () => {
    const long = Array.from({ length: 100_000 }, (_, i) => (i % 3 === 0 ? `text ${i}` : i * 7919))
    expect(decodeMsgpack(encoded(long))).toEqual(long)
  })
})

describe('hostile MessagePack', () => {
  const limits: Partial<FobsLimits> = {
    maxDepth: 8,
    maxElements: 100,
    maxKeyBytes: 8,
    maxTextBytes: 16,
  }
  const cases: [name: string, hex: string, code: FobsErrorCode][] = [
    ['an array of 2^32-1 in five bytes', 'ddffffffff', 'ERR_FOBS_MSGPACK'],
    ['a map of 2^32-1 in five bytes', 'dfffffffff', 'ERR_FOBS_MSGPACK'],
    ['a text of 4 GiB', 'dbffffffff', 'ERR_FOBS_LIMIT'],
    ['bytes of 4 GiB', 'c6ffffffff', 'ERR_FOBS_MSGPACK'],
    ['nesting past the limit', `${'91'.repeat(9)}c0`, 'ERR_FOBS_LIMIT'],
    ['nested maps past the limit', `${'81a161'.repeat(9)}c0`, 'ERR_FOBS_LIMIT'],
    ['more values than allowed', `dc0065${'c0'.repeat(101)}`, 'ERR_FOBS_LIMIT'],
    ['more empty maps than their weight allows', `dc000d${'80'.repeat(13)}`, 'ERR_FOBS_LIMIT'],
    ['a long key', `81ae${'61'.repeat(14)}c0`, 'ERR_FOBS_LIMIT'],
    ['a long text', `d911${'61'.repeat(17)}`, 'ERR_FOBS_LIMIT'],
    ['the reserved byte', 'c1', 'ERR_FOBS_MSGPACK'],
    ['an ext type', 'd40500', 'ERR_FOBS_MSGPACK'],
    ['a timestamp', 'd6ff00000000', 'ERR_FOBS_MSGPACK'],
    ['a long ext type', 'c9ffffffff05', 'ERR_FOBS_MSGPACK'],
    ['bytes after the value', 'c0c0', 'ERR_FOBS_MSGPACK'],
    ['nothing', '', 'ERR_FOBS_MSGPACK'],
    ['invalid UTF-8', 'a2c328', 'ERR_FOBS_MSGPACK'],
    ['an encoded surrogate', 'a3eda080', 'ERR_FOBS_MSGPACK'],
    ['a repeated key', '82a16101a16102', 'ERR_FOBS_MSGPACK'],
    ['a number as key', '810102', 'ERR_FOBS_MSGPACK'],
    ['bytes as key', '81c4016102', 'ERR_FOBS_MSGPACK'],
    ['an array as key', '819002', 'ERR_FOBS_MSGPACK'],
  ]

  it.each(cases)('refuses %s', (_, hex, code) =>
    expect(() => decodeMsgpack(ofHex(hex), limits)).toThrow(expect.objectContaining({ code })),
  )

  it('keeps names of object members plain data', () => {
    const hex = Buffer.from(
      oracleEncode({ constructor: { prototype: { x: 1 } }, toString: 's' }),
    ).toString('hex')
    const map = decodeMsgpack(ofHex(`${'81a95f5f70726f746f5f5f'}${hex}`))
    expect(map).toEqual(
      new Map([
        [
          '__proto__',
          new Map<string, MsgpackValue>([
            ['constructor', new Map([['prototype', new Map([['x', 1]])]])],
            ['toString', 's'],
          ]),
        ],
      ]),
    )
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('x')
  })

  it('keeps a byte order mark', () => {
    expect(decodeMsgpack(encoded('\ufeffx'))).toBe('\ufeffx')
  })
})

describe('values that cannot be written', () => {
  it.each<[string, unknown]>([
    ['an integer over 2^64-1', 2n ** 64n],
    ['an integer below -2^63', -(2n ** 63n) - 1n],
    ['a lone surrogate', 'long enough to take the slow path \ud800'],
    ['a short lone surrogate', '\udc00'],
    ['undefined', undefined],
    ['a function', () => 0],
    ['an object', { a: 1 }],
    ['a key that is no text', new Map([[1, 2]])],
  ])('%s', (_, input) =>
    expect(() => encodeMsgpack(input as MsgpackValue)).toThrow(
      expect.objectContaining({ code: 'ERR_FOBS_ENCODE' }),
    ),
  )

  it('a cycle', () => {
    const cycle: MsgpackValue[] = []
    cycle.push(cycle)
    expect(() => encodeMsgpack(cycle)).toThrow(expect.objectContaining({ code: 'ERR_FOBS_LIMIT' }))
  })
})

/** Numbers by kind and value, so that number and bigint of one value compare. */
function asOracle(input: unknown): unknown {
  if (typeof input === 'bigint' || (typeof input === 'number' && Number.isInteger(input)))
    return `integer ${BigInt(input)}`
  if (Array.isArray(input)) return input.map(asOracle)
  if (input instanceof Uint8Array) return `bytes ${Buffer.from(input).toString('hex')}`
  if (typeof input !== 'object' || input === null) return input
  return Object.entries(input)
    .map(([key, item]) => [key, asOracle(item)])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
}

function withMarkedKeys(input: MsgpackValue): unknown {
  if (Array.isArray(input)) return input.map(withMarkedKeys)
  if (!(input instanceof Map)) return input
  return Object.fromEntries(Array.from(input, ([key, item]) => [`k${key}`, withMarkedKeys(item)]))
}
