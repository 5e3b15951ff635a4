import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import { FakeArray, fakeArrayCodec, fakeKind, fakeRegistry } from '../test/fake-arrays.ts'
import { bytesOf, type FobsVector, hexOf, readVectors } from '../test/vectors.ts'
import {
  coreCodecs,
  createFobsRegistry,
  DateTime,
  Datum,
  DEFAULT_FOBS_LIMITS,
  DictValue,
  decode,
  decodeWhole,
  defineDict,
  defineEnum,
  defineRecord,
  type EncodeOptions,
  encode,
  Float,
  FobsError,
  FobsRegistry,
  type FobsValue,
  firstDatumOffset,
  hollowEnvelope,
  joinBytes,
  LazyReference,
  OrderedDict,
  RecordValue,
  Tuple,
  ValueSet,
} from './index.ts'

const color = defineEnum('test.Color', { RED: 'red', BLUE: 'blue' }, { strBased: true })
const point = defineRecord('test.Point', { attributes: ['x', 'y'] })
const bag = defineRecord('test.Bag', { content: 'list' })
const dict = defineDict('test.Dict')
const registry = createFobsRegistry(coreCodecs, [
  fakeArrayCodec,
  color.codec,
  point.codec,
  bag.codec,
  dict,
])

const wire = (value: unknown, options: EncodeOptions = {}): Uint8Array =>
  joinBytes(encode(value, registry, options).parts)
const withCode = (code: string): unknown => expect.objectContaining({ code })

/** A main section of given MessagePack in hexadecimal. */
function envelope(hex: string, ...datums: string[]): Uint8Array {
  const size = (hex.length / 2).toString(16).padStart(16, '0')
  return bytesOf(`6400${size}${hex}${datums.join('')}`)
}

function datumSection(marker: string, dot: string, id: number, hex: string): string {
  const size = (16 + hex.length / 2).toString(16).padStart(16, '0')
  return `${marker}${dot}${size}${id.toString(16).padStart(32, '0')}${hex}`
}

const scalar = fc.oneof(
  fc.constantFrom<FobsValue>(null, true, false, color.member('RED'), color.member('BLUE')),
  fc.integer(),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.double(),
  fc.integer().map((whole) => new Float(whole)),
  fc.string({ unit: 'grapheme', maxLength: 2000 }),
  fc.uint8Array({ maxLength: 3000 }),
  fc
    .date({
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T00:00:00Z'),
      noInvalidDate: true,
    })
    .map((date) => DateTime.of(date)),
)
const key = fc.string({ unit: 'grapheme', maxLength: 20 })
const { value } = fc.letrec<{ value: FobsValue }>((tie) => {
  const items = fc.array(tie('value'), { maxLength: 6 })
  const entries = fc.uniqueArray(fc.tuple(key, tie('value')), {
    maxLength: 6,
    selector: ([name]) => name,
  })
  return {
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      scalar,
      items,
      entries.map((list) => new Map(list)),
      items.map((list) => new Tuple(list)),
      fc.uniqueArray(fc.integer(), { maxLength: 5 }).map((list) => new ValueSet(list)),
      entries.map((list) => new OrderedDict(list)),
      entries.map((list) => new DictValue('test.Dict', new Map(list))),
      items.map((list) => new RecordValue('test.Bag', new Map(), list)),
      tie('value').map((x) => point.create([['x', x]])),
    ),
  }
})

describe('encode and decode', () => {
  it('round-trip any value at any threshold', () => {
    fc.assert(
      fc.property(value, fc.integer({ min: 1024, max: 4000 }), (input, datumThreshold) => {
        const bytes = wire(input, { datumThreshold })
        expect(decodeWhole(bytes, registry, { floats: 'marked' })).toStrictEqual(input)
      }),
    )
  })

  it('read the same from one piece and from any pieces', () => {
    fc.assert(
      fc.property(value, fc.nat(), (input, cut) => {
        const bytes = wire(input)
        const at = cut % bytes.length
        const pieces = [bytes.subarray(0, at), bytes.subarray(at)]
        expect(decodeWhole(pieces, registry, { floats: 'marked' })).toStrictEqual(input)
      }),
    )
  })

  it('throw only FobsError on garbage and on changed bytes', () => {
    const only = (bytes: Uint8Array): void => {
      try {
        decode(bytes, registry, { allowFiles: true })
      } catch (error) {
        expect(error).toBeInstanceOf(FobsError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), only))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (main) => only(envelope(hexOf(main)))))
    const seeds = readVectors<FobsVector[]>('fobs').filter(({ hex }) => hex.length < 4000)
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.nat(),
        fc.nat({ max: 255 }),
        (seed, where, byte) => {
          const bytes = bytesOf(seed.hex)
          only(bytes.with(where % bytes.length, byte))
          only(bytes.subarray(0, where % bytes.length))
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('write plain objects as maps and refuse nothing harmless in them', () => {
    const map = decodeWhole(wire({ a: 1, b: { c: [2] } }), registry)
    expect(map).toEqual(
      new Map<string, unknown>([
        ['a', 1],
        ['b', new Map([['c', [2]]])],
      ]),
    )
  })

  it('need a frozen registry', () => {
    const open = new FobsRegistry().register(...coreCodecs)
    expect(() => encode(1, open)).toThrow(withCode('ERR_FOBS_REGISTRY'))
    expect(() => decode(wire(1), open)).toThrow(withCode('ERR_FOBS_REGISTRY'))
  })
})

describe('values that cannot be sent', () => {
  it.each<[string, unknown]>([
    ['undefined', [undefined]],
    ['a function', () => 0],
    ['a symbol', Symbol('x')],
    ['an object of a class that is not registered', new URL('http://localhost/')],
    ['a typed array', new Float32Array(2)],
    ['a Date', new Date(0)],
    ['a reserved key', new Map([['__fobs_type__', 'tuple']])],
    ['a reserved key in a plain object', { __fobs_type__: 'tuple' }],
    ['NaN as key', new Map([[Number.NaN, 1]])],
    ['an array as key', new Map([[[1], 1]])],
    [
      'keys that are equal in Python',
      new Map<unknown, unknown>([
        [1, 'a'],
        [true, 'b'],
      ]),
    ],
    [
      'an enum member beside its text',
      new Map<unknown, unknown>([
        [color.member('RED'), 1],
        ['red', 2],
      ]),
    ],
    ['an integer past 64 bits', 2n ** 64n],
    ['a lone surrogate', '\ud800'],
    ['a member of an enum that is not registered', defineEnum('test.Other', { A: 1 }).member('A')],
    ['a record of a type that is not registered', new RecordValue('test.Other')],
  ])('%s', (_, input) => expect(() => wire(input)).toThrow(withCode('ERR_FOBS_ENCODE')))

  it('a lone surrogate in a text that moves out', () =>
    expect(() => wire([`${'x'.repeat(2000)}\ud800`], { datumThreshold: 1024 })).toThrow(
      withCode('ERR_FOBS_ENCODE'),
    ))

  it.each([1023, 0, Number.NaN, 1e300])('a threshold of %s', (datumThreshold) =>
    expect(() => wire(1, { datumThreshold })).toThrow(withCode('ERR_FOBS_ENCODE')),
  )

  it('cycles of every kind', () => {
    const list: unknown[] = []
    list.push(list)
    const map = new Map<string, unknown>()
    map.set('self', new Tuple([map]))
    const object: Record<string, unknown> = {}
    object['self'] = object
    for (const cycle of [list, map, object])
      expect(() => wire(cycle)).toThrow(withCode('ERR_FOBS_LIMIT'))
  })

  it('errors of a codec are translated', () => {
    const broken = createFobsRegistry([
      {
        ...fakeArrayCodec,
        decompose() {
          throw new RangeError('mine')
        },
        compose() {
          throw new RangeError('mine')
        },
      },
    ])
    expect(() => encode(new FakeArray('x'), broken)).toThrow(withCode('ERR_FOBS_ENCODE'))
    expect(() => decode(wire(new FakeArray('x')), broken)).toThrow(withCode('ERR_FOBS_SHAPE'))
    expect(() =>
      fakeRegistry.referenceKind(3)?.decodeItem(bytesOf('62726f6b656e'), DEFAULT_FOBS_LIMITS),
    ).toThrow(withCode('ERR_FOBS_SHAPE'))
  })
})

describe('firstDatumOffset', () => {
  it('finds the first datum in the first bytes of a payload, whatever their alignment', () => {
    const blob = new Uint8Array(2000).fill(7)
    const payload = joinBytes(encode({ a: 1, blob }, registry, { datumThreshold: 1024 }).parts)
    const shifted = new Uint8Array(payload.length + 3).subarray(3)
    shifted.set(payload)
    const offset = firstDatumOffset(shifted.subarray(0, 10))
    expect(payload.subarray(offset)).toEqual(blob)
    expect(firstDatumOffset(payload.subarray(0, 9))).toBe(0)
  })
})

describe('hollowEnvelope', () => {
  const limits = { minBytes: 2000, maxBytes: 20_000 }
  const stored = (bytes: Uint8Array) => {
    const reserved = new MemoryByteStore().reserve(bytes.length)
    reserved.write(bytes, 0)
    return reserved
  }
  const blob = Uint8Array.from({ length: 50_000 }, (_, i) => i * 3)
  const payload = joinBytes(
    encode({ a: 1, long: blob, short: blob.subarray(0, 1500) }, registry, { datumThreshold: 1024 })
      .parts,
  )

  it('is decoded as the envelope is, and tells where its long blobs are', () => {
    const { bytes, placeOf } = hollowEnvelope(stored(payload), limits)
    expect(bytes.length).toBeLessThan(2000)
    const value = decodeWhole(bytes, registry) as Map<string, Uint8Array>
    const { start, byteLength } = placeOf(value.get('long')!)!
    expect(payload.subarray(start, start + byteLength)).toEqual(blob)
    expect(value.get('short')).toEqual(blob.subarray(0, 1500))
    expect(placeOf(value.get('short')!)).toBeUndefined()
    expect(placeOf(new Uint8Array(4))).toBeUndefined()
  })

  it('is refused where the envelope is', () => {
    fc.assert(
      fc.property(fc.nat(payload.length), fc.nat(200), fc.nat(255), (end, at, byte) => {
        const cut = payload.slice(0, end)
        if (at < end) cut[at] = byte
        let isReadable = true
        try {
          decodeWhole(cut, registry)
        } catch {
          isReadable = false
        }
        const read = () => decodeWhole(hollowEnvelope(stored(cut), limits).bytes, registry)
        if (isReadable) read()
        else expect(read).toThrow(FobsError)
      }),
    )
  })

  it('brings no more than it may', () => {
    expect(() => hollowEnvelope(stored(payload), { minBytes: 2000, maxBytes: 1000 })).toThrow(
      withCode('ERR_FOBS_LIMIT'),
    )
  })
})

describe('datums', () => {
  const id = '0f0e0d0c-0b0a-4908-8706-050403020100'

  it('move texts by code points and bytes by length, never keys', () => {
    const options = { datumThreshold: 1024 }
    const count = (input: unknown): number =>
      encode(input, registry, options).parts.filter((part) => part[0] === 102 || part[0] === 101)
        .length
    expect(count('😀'.repeat(1023))).toBe(0)
    expect(wire('😀'.repeat(1024), options).includes(101)).toBe(true)
    expect(count(new Map([['k'.repeat(5000), 1]]))).toBe(0)
    expect(decodeWhole(wire(new Uint8Array(1024), options), registry)).toEqual(new Uint8Array(1024))
  })

  it('stay datums when the application made them', () => {
    const datum = new Datum(id, 'text', 'x')
    expect(decodeWhole(wire([datum, datum]), registry)).toEqual([datum, datum])
  })

  it('of files are refused unless asked for', () => {
    const bytes = wire([new Datum(id, 'file', new Uint8Array([1]))])
    expect(() => decode(bytes, registry)).toThrow(withCode('ERR_FOBS_DATUM'))
    expect(decodeWhole(bytes, registry, { allowFiles: true })).toEqual([
      new Datum(id, 'file', new Uint8Array([1])),
    ])
  })

  it.each<[string, () => Datum]>([
    ['an empty value', () => new Datum(id, 'blob', new Uint8Array())],
    ['an empty text', () => new Datum(id, 'text', '')],
    ['a bad id', () => new Datum('x', 'text', 'x')],
    ['the wrong kind of value', () => new Datum(id, 'blob', 'x')],
  ])('refuse %s', (_, make) => expect(make).toThrow(withCode('ERR_FOBS_DATUM')))

  it('cannot be used as keys', () => {
    const reference = hexOf(wire(new Datum(id, 'text', 'x')).subarray(10)).split('6500')[0] ?? ''
    const unwrapping = reference.replace('a6756e77726170c2', 'a6756e77726170c3')
    const section = `6500${(17).toString(16).padStart(16, '0')}${id.replaceAll('-', '')}78`
    expect(decodeWhole(envelope(unwrapping, section), registry)).toBe('x')
    expect(() => decode(envelope(`81${unwrapping}01`, section), registry)).toThrow(
      withCode('ERR_FOBS_MSGPACK'),
    )
  })

  it('that nobody uses are refused, as are more sections than allowed', () => {
    expect(() => decode(envelope('c0', datumSection('66', '00', 1, '78')), registry)).toThrow(
      withCode('ERR_FOBS_DATUM'),
    )
    const many = Array.from({ length: 4 }, (_, i) => datumSection('66', '00', i, '78'))
    expect(() => decode(envelope('c0', ...many), registry, { limits: { maxSections: 4 } })).toThrow(
      withCode('ERR_FOBS_LIMIT'),
    )
  })

  it('respect the limits of payload and text', () => {
    const bytes = wire(['x'.repeat(2000)], { datumThreshold: 1024 })
    expect(() => decode(bytes, registry, { limits: { maxTextBytes: 1999 } })).toThrow(
      withCode('ERR_FOBS_LIMIT'),
    )
    expect(() => decode([bytes, bytes], registry, { limits: { maxPayloadBytes: 3000 } })).toThrow(
      withCode('ERR_FOBS_LIMIT'),
    )
  })
})

describe('references', () => {
  const references = { fqcn: 'server.job', refId: (dot: number) => `ref-${dot}` }

  it('leave values to be downloaded, one id per object', () => {
    const shared = new FakeArray('shared')
    const { parts, items } = encode([shared, shared, new FakeArray('shared')], registry, {
      references,
    })
    expect([...(items.get(3) ?? [])].map(([id]) => id)).toEqual(['T0', 'T1'])
    const decoded = decode(parts, registry)
    expect(decoded.references).toEqual([
      { dot: 3, fqcn: 'server.job', refId: 'ref-3', itemIds: new Set(['T0', 'T1']) },
    ])
    const downloaded = new Map<string, unknown>()
    for (const [id, item] of items.get(3) ?? [])
      for (const [key, read] of fakeKind.decodeItem(
        joinBytes(fakeKind.encodeItem(id, item)),
        DEFAULT_FOBS_LIMITS,
      ))
        downloaded.set(key, read)
    const [first, second, third] = decoded.complete(() => downloaded) as FakeArray[]
    expect(first).toBe(second)
    expect([first, third]).toEqual([shared, new FakeArray('shared')])
    expect(third).not.toBe(first)
  })

  it('are passed on with their source, and own arrays then travel natively', () => {
    const lazy = new LazyReference(3, 'site.job.trainer', 'r', 'T0')
    const own = new FakeArray('own')
    for (const input of [
      [lazy, own],
      [own, lazy, own],
    ]) {
      const { parts, items } = encode(input, registry, { references })
      expect(items.size).toBe(0)
      const decoded = decode(parts, registry)
      expect(decoded.references).toMatchObject([{ fqcn: 'site.job.trainer', refId: 'r' }])
      expect(decoded.passThrough).toEqual(input)
    }
  })

  it('of two sources cannot share a message', () => {
    const input = [new LazyReference(3, 'a', 'r', 'T0'), new LazyReference(3, 'b', 'r', 'T0')]
    expect(() => wire(input)).toThrow(withCode('ERR_FOBS_REFERENCE'))
  })

  const item = Buffer.from(wire(new FakeArray('x')))
    .toString('hex')
    .slice(20)
    .replace('a57478743a78', 'a67265663a5430')
  const pointer = (text: string, marker = '65', dot = '03', id = 1): string =>
    datumSection(marker, dot, id, Buffer.from(text).toString('hex'))
  const good = '{"fqcn": "a", "ref_id": "r"}'

  it('are accepted in their plain form', () => {
    expect(decode(envelope(item, pointer(good)), registry).references).toHaveLength(1)
  })

  it.each<[string, Uint8Array]>([
    ['an item without pointer', envelope(item)],
    ['a pointer without item', envelope('c0', pointer(good))],
    ['two pointers of one kind', envelope(item, pointer(good), pointer(good, '65', '03', 2))],
    ['a pointer that is no text', envelope(item, pointer(good, '66'))],
    ['a pointer of an unknown kind', envelope('c0', pointer(good, '65', '09'))],
    ['no JSON', envelope(item, pointer('{'))],
    ['a JSON list', envelope(item, pointer('[1]'))],
    ['null', envelope(item, pointer('null'))],
    ['no fqcn', envelope(item, pointer('{"ref_id": "r"}'))],
    ['a number as ref_id', envelope(item, pointer('{"fqcn": "a", "ref_id": 5}'))],
    ['only a prototype', envelope(item, pointer('{"__proto__": {"fqcn": "a", "ref_id": "r"}}'))],
    ['a long ref_id', envelope(item, pointer(`{"fqcn": "a", "ref_id": "${'r'.repeat(129)}"}`))],
    ['a long text', envelope(item, pointer(`{"fqcn": "a", "ref_id": "r"${' '.repeat(4096)}}`))],
    [
      'a long item id',
      envelope(
        item.replace('a67265663a5430', `d925${'7265663a'}${'54'.repeat(33)}`),
        pointer(good),
      ),
    ],
  ])('refuse %s', (_, bytes) =>
    expect(() => decode(bytes, registry)).toThrow(withCode('ERR_FOBS_REFERENCE')),
  )

  it('are only reported once the whole message is valid', () => {
    const bytes = envelope(`92${item}c1`, pointer(good))
    expect(() => decode(bytes, registry)).toThrow(withCode('ERR_FOBS_MSGPACK'))
  })

  it('are refused where nothing can be downloaded', () => {
    expect(() => decodeWhole(envelope(item, pointer(good)), registry)).toThrow(
      withCode('ERR_FOBS_REFERENCE'),
    )
  })
})

describe('the registry', () => {
  it('is closed after freeze, whatever arrives', () => {
    const before = registry.typeNames
    expect(() => decode(wire(1), registry)).not.toThrow()
    expect(() =>
      decode(
        bytesOf(
          readVectors<{ name: string; hex: string }[]>('fobs-invalid').find(
            ({ name }) => name === 'poison_bin_step1',
          )?.hex ?? '',
        ),
        registry,
      ),
    ).toThrow(withCode('ERR_FOBS_TYPE_UNKNOWN'))
    expect(registry.typeNames).toEqual(before)
    expect(() => registry.register(point.codec)).toThrow(withCode('ERR_FOBS_REGISTRY'))
  })

  it('refuses names and DOTs that are taken or reserved', () => {
    const open = (): FobsRegistry => new FobsRegistry().register(fakeArrayCodec)
    for (const change of [
      { decomposer: 'other' },
      { typeName: 'other', reference: { ...fakeKind } },
      { typeName: 'other', reference: { ...fakeKind, dot: 0 } },
      { typeName: 'other', reference: { ...fakeKind, dot: 128 } },
      { typeName: '' },
      { typeName: 'nvflare.fuel.utils.fobs.datum.DatumRef' },
    ])
      expect(() => open().register({ ...fakeArrayCodec, ...change })).toThrow(
        withCode('ERR_FOBS_REGISTRY'),
      )
    expect(() => open().register(fakeArrayCodec)).not.toThrow()
  })

  it('tells an unknown type only in the details', () => {
    const bytes = wire(point.create([['x', 1]]))
    const narrow = createFobsRegistry(coreCodecs)
    expect(() => decode(bytes, narrow)).toThrow(
      expect.objectContaining({
        code: 'ERR_FOBS_TYPE_UNKNOWN',
        message: expect.not.stringContaining('test.Point'),
        details: { typeName: 'test.Point' },
      }),
    )
  })
})

describe('types without code of their own', () => {
  const reencoded = (input: FobsValue, from: string, to: string): Uint8Array => {
    const hex = hexOf(wire(input)).replace(
      Buffer.from(from).toString('hex'),
      Buffer.from(to).toString('hex'),
    )
    return bytesOf(hex)
  }

  it('take members by name and compare them by identity', () => {
    expect(decodeWhole(wire(color.member('RED')), registry)).toBe(color.member('RED'))
    expect(() => decode(reencoded(color.member('RED'), 'RED', 'red'), registry)).toThrow(
      withCode('ERR_FOBS_SHAPE'),
    )
    expect(color.find('red')).toBe(color.member('RED'))
    expect(color.find('RED')).toBeUndefined()
    expect(() => color.member('GREEN' as 'RED')).toThrow(RangeError)
  })

  it('refuse attributes that a class does not have', () => {
    expect(() =>
      decode(reencoded(point.create([['x', 1]]), '\xa1x', '\xa1x'), registry),
    ).not.toThrow()
    expect(() => wire(point.create([['trigger', 1]]))).not.toThrow()
    expect(() => decode(wire(point.create([['trigger', 1]])), registry)).toThrow(
      withCode('ERR_FOBS_SHAPE'),
    )
    expect(() => decode(wire(point.create([['__proto__', new Map()]])), registry)).toThrow(
      withCode('ERR_FOBS_SHAPE'),
    )
  })

  it('keep tuples as keys', () => {
    const map = new Map<FobsValue, FobsValue>([
      [new Tuple([1, 'a']), 1],
      [new Tuple([1, 'b']), 2],
    ])
    expect(decodeWhole(wire(map), registry)).toEqual(map)
    map.set(new Tuple([1, 'a']), 3)
    expect(() => wire(map)).toThrow(withCode('ERR_FOBS_ENCODE'))
  })
})

describe('DateTime', () => {
  it.each([
    ['2026-08-01T12:30:45', undefined, '2026-08-01T12:30:45'],
    ['2026-08-01T00:00:00Z', Date.UTC(2026, 7, 1), '2026-08-01T00:00:00+00:00'],
    [
      '2026-08-01T00:00:00.500000+02:00',
      Date.UTC(2026, 6, 31, 22, 0, 0, 500),
      '2026-08-01T00:00:00.500000+02:00',
    ],
    ['2026-08-01T00:00:00.000000-00:30', Date.UTC(2026, 7, 1, 0, 30), '2026-08-01T00:00:00-00:30'],
    ['0001-01-01T00:00:00', undefined, '0001-01-01T00:00:00'],
    ['2024-02-29T23:59:59+00:00', Date.UTC(2024, 1, 29, 23, 59, 59), '2024-02-29T23:59:59+00:00'],
  ])('reads %s', (text, epochMs, written) => {
    expect(new DateTime(text)).toMatchObject({ text: written, epochMs })
  })

  it.each([
    '2026-02-29T00:00:00',
    '2026-13-01T00:00:00',
    '2026-00-01T00:00:00',
    '2026-01-01T24:00:00',
    '2026-01-01T00:60:00',
    '2026-01-01T00:00:60',
    '0000-01-01T00:00:00',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00.5',
    '2026-01-01 00:00:00',
    '2026-01-01',
    '2026-01-01T00:00:00\n',
    '',
  ])('refuses "%s"', (text) => expect(() => new DateTime(text)).toThrow(withCode('ERR_FOBS_SHAPE')))

  it('of a Date is the same moment', () => {
    const date = new Date(Date.UTC(2026, 10, 24, 7, 30, 1, 25))
    expect(DateTime.of(date)).toMatchObject({
      text: '2026-11-24T07:30:01.025000+00:00',
      epochMs: date.getTime(),
    })
  })
})
