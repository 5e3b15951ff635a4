import { describe, expect, it } from 'vitest'
import { jsonOfFobs } from './json-values.ts'
import { analyticsDataTypeEnum, jobMetaKeyEnum } from './messages/enums.ts'

const JOB_CLIENTS = jobMetaKeyEnum.member('JOB_CLIENTS')

describe('values from the wire as JSON', () => {
  it("reads a member of stock's text enumerations as its text, as key and as value", () => {
    const meta = new Map<unknown, unknown>([
      ['name', 'job'],
      [JOB_CLIENTS, [new Map([['name', 'site-1']])]],
      ['kind', analyticsDataTypeEnum.member('SCALAR')],
    ])
    expect(jsonOfFobs(meta as never)).toEqual({
      name: 'job',
      job_clients: [{ name: 'site-1' }],
      kind: 'SCALAR',
    })
  })

  it('does not choose between two values of one key', () => {
    const meta = new Map<unknown, unknown>([
      ['job_clients', []],
      [JOB_CLIENTS, ['site-1']],
    ])
    expect(jsonOfFobs(meta as never)).toBeUndefined()
  })

  it.each([[new Uint8Array(1)], [1n], [new Map([[1, 'a']])], [Number.NaN]])(
    'has no JSON for %s',
    (value) => {
      expect(jsonOfFobs(value as never)).toBeUndefined()
    },
  )

  it('gives no meaning to keys of a peer', () => {
    const json = jsonOfFobs(new Map([['__proto__', 'x']]))
    expect(Object.keys(json as object)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(json)).toBeNull()
  })
})
