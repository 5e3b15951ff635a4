import type { JsonObject, JsonValue } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { resolveVariables } from './resolve-variables.ts'

const system = new Map<string, JsonValue>([
  ['JOB_ID', 'job-7'],
  ['SECURE_MODE', true],
])
/** What only the program that runs on a site may look up. */
const secret = ['$', '{secret:file:/x}'].join('')
const resolve = (config: JsonObject, environment?: ReadonlyMap<string, string>): JsonObject =>
  resolveVariables(config, environment === undefined ? { system } : { system, environment })
const value = (text: string, rest: JsonObject = {}): JsonValue | undefined =>
  resolve({ ...rest, out: text })['out']

describe('resolveVariables', () => {
  it.each<[string, JsonObject, JsonValue]>([
    ['{n}', { n: 3 }, 3],
    ['{list}', { list: [1, { a: 'b' }] }, [1, { a: 'b' }]],
    ['{missing}', {}, null],
    ['{JOB_ID}', { JOB_ID: 'forged' }, 'job-7'],
    ['{dir}/x/{n}', { dir: 'models', n: 3 }, 'models/x/3'],
    ['a{missing}b', {}, 'a{missing}b'],
    ['{"json": 1}', {}, null],
    ['x {"json": {"a": 1}}', {}, 'x {"json": {"a": 1}}'],
    // Doubled braces become single ones, and those a variable in the next round, as in stock.
    ['{{n}} {n}', { n: 3 }, '3 3'],
    ['mode={SECURE_MODE} none={nothing}', { nothing: null }, 'mode=True none=None'],
    ['{l} {d}', { l: [1, 'a', true], d: { k: "it's" } }, "[1, 'a', True] {'k': 'it\\'s'}"],
    ['{n:02d}', { n: 3 }, null],
    ['n={n:02d}', { n: 3 }, 'n={n:02d}'],
    ['{a}', { a: '{b}', b: '{c}', c: 'end' }, 'end'],
    [secret, { secret: 'no' }, secret],
    [`--key ${secret}`, { secret: 'no' }, `--key ${secret}`],
  ])('%s with %j is %j', (text, config, wanted) => {
    expect(value(text, config)).toEqual(wanted)
  })

  it('reads the environment only where it was handed in, and the file first', () => {
    const environment = new Map([['HOME', '/home/x']])
    expect(resolve({ a: '{$HOME}', b: 'in {$HOME}' }, environment)).toEqual({
      a: '/home/x',
      b: 'in /home/x',
    })
    expect(resolve({ a: '{$HOME}', b: 'in {$HOME}' })).toEqual({ a: null, b: 'in {$HOME}' })
    expect(resolve({ $HOME: 'own', a: '{$HOME}' }, environment)['a']).toBe('own')
  })

  it('copies definitions with values of their own, and removes them', () => {
    const config = {
      n: 5,
      '@site': { path: 'x.Y', args: { rate: '{rate}', n: '{n}', on: '{on}', who: 'is {who}' } },
      all: ['{@site:rate=0.5:on=True:who=me}', '{@site:rate=7:n=1:who=you}'],
    }
    expect(resolve(config)).toEqual({
      n: 5,
      all: [
        { path: 'x.Y', args: { rate: 0.5, n: 5, on: true, who: 'is me' } },
        { path: 'x.Y', args: { rate: 7, n: 1, on: null, who: 'is you' } },
      ],
    })
  })

  it.each<[string, JsonObject]>([
    ['a circle of texts', { a: 'x{b}', b: 'y{a}' }],
    ['a thing that contains itself', { a: ['{a}'] }],
    ['a definition nobody made', { a: '{@nobody}' }],
    ['a definition that is no object', { '@d': 'text', a: '{@d}' }],
    ['an assignment without a name', { '@d': {}, a: '{@d:5}' }],
  ])('refuses %s', (_, config) => {
    expect(() => resolve(config)).toThrow(expect.objectContaining({ code: 'ERR_VARIABLES' }))
  })

  it('stops a few lines that would fill the memory', () => {
    const lists = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`v${i}`, Array<string>(10).fill(`{v${i + 1}}`)]),
    )
    expect(() => resolve(lists)).toThrow(expect.objectContaining({ code: 'ERR_VARIABLES' }))
    const texts = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`v${i}`, `-${`{v${i + 1}}`.repeat(10)}`]),
    )
    expect(() => resolve({ ...texts, v20: 'end' })).toThrow(
      expect.objectContaining({ code: 'ERR_VARIABLES' }),
    )
  })

  it('changes neither the config nor what has no braces', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (config) => {
        const before = JSON.stringify(config)
        let resolved: JsonObject
        try {
          resolved = resolve(config as JsonObject)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_VARIABLES' })
          return
        }
        expect(JSON.stringify(config)).toBe(before)
        if (!before.includes('{', 1) && !before.includes('"@')) expect(resolved).toEqual(config)
      }),
    )
  })
})
