import type { JsonValue } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fobsOfJson, jsonOfFobs, textIn } from './json-values.ts'

describe('JSON as values', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue({ depthSize: 'medium' }), (value) => {
        const there = fobsOfJson(value as JsonValue)
        expect(JSON.stringify(jsonOfFobs(there))).toBe(JSON.stringify(value))
      }),
    )
  })

  it.each<[string, FobsValue]>([
    ['bytes', new Uint8Array(1)],
    ['a big integer', 2n ** 70n],
    ['no number', Number.NaN],
    ['a key that is no text', new Map([[1, 'x']])],
    ['such a value deep inside', [new Map([['a', [new Uint8Array(1)]]])]],
  ])('cannot be %s', (_what, value) => {
    expect(jsonOfFobs(value)).toBeUndefined()
  })

  it("keeps a peer's keys plain data", () => {
    const json = jsonOfFobs(new Map([['__proto__', new Map([['role', 'admin']])]])) as Record<
      string,
      unknown
    >
    expect(json['role']).toBeUndefined()
    expect(Object.keys(json)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>)['role']).toBeUndefined()
  })

  it('gives texts only, and none that is inherited', () => {
    expect(textIn({ a: 'x', b: 1 }, 'a')).toBe('x')
    expect(textIn({ a: 'x', b: 1 }, 'b')).toBe('')
    expect(textIn({}, 'constructor')).toBe('')
  })
})
