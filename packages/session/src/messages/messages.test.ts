import { inspect } from 'node:util'
import {
  coreCodecs,
  createFobsRegistry,
  decodeWhole,
  encode,
  type FobsValue,
  joinBytes,
} from '@hanse/fobs'
import { describe, expect, it } from 'vitest'
import { AdminMessage } from './admin-message.ts'
import { ClientRecord } from './client-record.ts'
import { dataKindEnum, jobMetaKeyEnum } from './enums.ts'
import { FLContext } from './fl-context.ts'
import { adminCodecs, clientCodecs, platformCodecs, storageCodecs } from './message-codecs.ts'
import { Shareable } from './shareable.ts'
import { namespaceRecord, signalRecord } from './storage-records.ts'

const network = createFobsRegistry(coreCodecs, platformCodecs, adminCodecs)
const storage = createFobsRegistry(coreCodecs, storageCodecs, clientCodecs)
const through = (value: unknown, registry = network): FobsValue =>
  decodeWhole(joinBytes(encode(value, registry).parts), registry)
const withCode = (code: string): unknown => expect.objectContaining({ code })

describe('Shareable', () => {
  it('keeps headers and content apart', () => {
    const shareable = new Shareable(new Map([['__rc__', 'OK']]), new Map([['a', [1, 2]]]))
    expect(through(shareable)).toEqual(shareable)
  })

  it('reads headers of the expected kind only', () => {
    const shareable = new Shareable(
      new Map<string, FobsValue>([
        ['text', 'x'],
        ['count', 3],
        ['number', -0.5],
        ['flag', false],
        ['map', new Map([['k', 1]])],
      ]),
    )
    expect(shareable.textHeader('text')).toBe('x')
    expect(shareable.countHeader('count')).toBe(3)
    expect(shareable.numberHeader('number')).toBe(-0.5)
    expect(shareable.booleanHeader('flag')).toBe(false)
    expect(shareable.mapHeader('map')?.get('k')).toBe(1)
    for (const name of ['none', 'map', 'number', 'flag']) {
      expect(shareable.textHeader(name)).toBeUndefined()
      expect(shareable.countHeader(name)).toBeUndefined()
    }
    for (const name of ['none', 'text'])
      expect([
        shareable.numberHeader(name),
        shareable.booleanHeader(name),
        shareable.mapHeader(name),
      ]).toEqual([undefined, undefined, undefined])
  })

  it('keeps a key named __proto__ plain data', () => {
    const shareable = new Shareable(new Map(), new Map([['__proto__', new Map([['admin', true]])]]))
    expect(through(shareable)).toEqual(shareable)
    expect(({} as { admin?: unknown }).admin).toBeUndefined()
  })

  it('cannot smuggle headers through the content', () => {
    const shareable = new Shareable(new Map(), new Map([['__headers__', new Map()]]))
    expect(() => through(shareable)).toThrow(withCode('ERR_FOBS_ENCODE'))
  })
})

describe('FLContext', () => {
  it('of public properties travels', () => {
    const context = FLContext.ofPublic([['__run_num__', 'job']])
    expect(through(context)).toEqual(context)
    expect(context.publicProperty('__run_num__')).toBe('job')
    expect(context.publicProperty('other')).toBeUndefined()
  })

  it('with private properties is for storage only', () => {
    const context = new FLContext(
      new Map([
        ['secret', { value: 1, mask: 2 }],
        ['both', { value: 2, mask: 3 }],
        ['sticky', { value: 3, mask: 1 }],
      ]),
    )
    expect(through(context, storage)).toEqual(context)
    expect(() => through(context)).toThrow(withCode('ERR_FOBS_SHAPE'))
    expect(() => through(new FLContext(new Map(), 'model'))).toThrow(withCode('ERR_FOBS_SHAPE'))
    expect(context.publicProperty('secret')).toBeUndefined()
    expect(context.publicProperty('sticky')).toBe(3)
  })
})

describe('AdminMessage and ClientRecord', () => {
  it('travel with all fields', () => {
    const message = new AdminMessage('topic', new Uint8Array([1]), new Map([['_rtnCode', '_ok']]))
    expect(message.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(through(message)).toEqual(message)
    expect(message.textHeader('_rtnCode')).toBe('_ok')
    expect(message.textHeader('job_id')).toBeUndefined()
  })

  it('keep tokens out of logs', () => {
    const record = new ClientRecord('site-1', 'the-token', 1.5, new Map([['fqcn', 'site-1']]))
    const read = through(record, storage)
    expect(read).toEqual(record)
    expect(read instanceof ClientRecord && read.token).toBe('the-token')
    expect(inspect(record) + JSON.stringify(record)).not.toContain('the-token')
  })

  it('and stored types are refused where they are not expected', () => {
    const registry = createFobsRegistry(coreCodecs, platformCodecs)
    for (const value of [
      new ClientRecord('n', 't', 0),
      signalRecord.create(),
      namespaceRecord.create(),
    ]) {
      const bytes = joinBytes(encode(value, storage).parts)
      expect(() => decodeWhole(bytes, registry)).toThrow(withCode('ERR_FOBS_TYPE_UNKNOWN'))
    }
  })
})

describe('enums', () => {
  it('know members by text where Python does', () => {
    expect(dataKindEnum.find('WEIGHTS')).toBe(dataKindEnum.member('WEIGHTS'))
    expect(jobMetaKeyEnum.find('launcher_spec')?.name).toBe('JOB_LAUNCHER_SPEC')
    expect(dataKindEnum.find('NOPE')).toBeUndefined()
  })
})
