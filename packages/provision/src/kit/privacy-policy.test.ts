import { readFile } from 'node:fs/promises'
import type { JsonObject } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProvisionError } from '../provision-error.ts'
import { checkShape, parseJson } from './kit-reader.ts'
import { decideScope, describePrivacy, privacySchema, tryPrivacyFilters } from './privacy-policy.ts'

const PATH = 'nvflare.app_common.filters.percentile_privacy.PercentilePrivacy'
const FILTER = { path: PATH, args: { percentile: 10 } }
const read = (value: unknown, side: 'server' | 'site' = 'site') =>
  checkShape('local/privacy.json', value, privacySchema(side))
const failure = (value: unknown, side?: 'server' | 'site'): string => {
  try {
    read(value, side)
  } catch (error) {
    expect(error).toBeInstanceOf(ProvisionError)
    expect(error).toMatchObject({ code: 'ERR_KIT_FILE' })
    return String(error)
  }
  throw new Error('it was taken')
}

interface Vector {
  readonly label: string
  readonly input: unknown
  readonly names_only: boolean
  readonly is_server: boolean
  readonly ok: boolean
  readonly default?: string | null
  readonly scopes?: Record<string, Record<string, Record<string, string[]>>>
}
const file = new URL('../../../../vectors/policies/privacy_cases.json', import.meta.url)
const { cases } = JSON.parse(await readFile(file, 'utf8')) as { cases: Vector[] }
/** What stock takes and Hanse does not, with the word that its refusal must have. */
const STRICTER = new Map([
  ['empty scopes', 'at least one scope'],
  ['no scopes', 'scopes'],
  ['noname', 'name'],
  ['unknown keys', '"zzz"'],
  ['typo filters', '"task_result_filter"'],
  ['components', 'MinCountCleanser'],
])

describe('a file of stock', () => {
  const own = cases.filter(({ label }) => !label.startsWith('shipped sample'))
  it.each(own)('$label', ({ label, input, is_server, ok, scopes, ...expected }) => {
    const side = is_server ? 'server' : 'site'
    if (label === 'bad json') {
      const bytes = new TextEncoder().encode(String(input))
      expect(() => parseJson('local/privacy.json', bytes)).toThrow(/local\/privacy\.json.*JSON/)
      return
    }
    const word = STRICTER.get(label)
    if (!ok || word !== undefined) {
      expect(failure(input, side)).toMatch(/local\/privacy\.json/)
      if (word !== undefined)
        expect([ok, failure(input, side)]).toEqual([true, expect.stringContaining(word)])
      return
    }
    const policy = read(input, side)
    expect(policy.defaultScope ?? null).toBe(expected.default)
    expect([...policy.scopes.keys()]).toEqual(Object.keys(scopes!))
    for (const [name, scope] of policy.scopes) {
      const names = (payload: 'data' | 'result') =>
        scope.filters
          .filter((filter) => filter.payload === payload)
          .map(({ component }) =>
            String(component['path'] ?? component['name'])
              .split('.')
              .at(-1),
          )
      expect(names('data')).toEqual(scopes![name]!['task_data_filters']![is_server ? 'out' : 'in'])
      expect(names('result')).toEqual(
        scopes![name]!['task_result_filters']![is_server ? 'in' : 'out'],
      )
    }
  })

  it('covers every difference', () => {
    const labels = cases.map(({ label }) => label)
    expect([...STRICTER.keys()].filter((label) => !labels.includes(label))).toEqual([])
  })
})

describe('a file is refused', () => {
  const scope = (more: JsonObject): JsonObject => ({ scopes: [{ name: 'a', ...more }] })
  it.each<[string, unknown, string[]]>([
    ['that is a list', [], ['expected object']],
    ['with a key of its own', { scopes: [{ name: 'a' }], x: 1 }, ['"x"', 'default_scope']],
    [
      'with a misspelt list of filters',
      scope({ task_result_filter: [FILTER] }),
      ['"task_result_filter"', 'task_result_filters', 'scopes[0]'],
    ],
    [
      'with a misspelt key in a filter',
      scope({ task_result_filters: [{ path: PATH, arg: {} }] }),
      ['"arg"', 'args', 'scopes[0].task_result_filters[0]'],
    ],
    [
      'with a filter that has no class',
      scope({ task_result_filters: [{ args: {} }] }),
      ['exactly one of path'],
    ],
    [
      'with a filter that has two',
      scope({ task_result_filters: [{ path: PATH, name: 'ExcludeVars' }] }),
      ['exactly one of path'],
    ],
    [
      'with a direction in which nothing ever runs',
      scope({ task_result_filters: [{ ...FILTER, direction: 'in' }] }),
      ['"out" or "inout"', 'task_result_filters[0].direction'],
    ],
    ['with properties that are text', scope({ properties: 'x' }), ['scopes[0].properties']],
    ['with an empty name', { scopes: [{ name: '' }] }, ['not empty']],
    ['with a name that moves the cursor', { scopes: [{ name: 'a\u001b[2J' }] }, ['control']],
    [
      'with a default that is not there',
      { scopes: [{ name: 'a' }], default_scope: 'b' },
      ['saw "b"', 'the scopes are a'],
    ],
    [
      'with components that share an id',
      {
        scopes: [{ name: 'a' }],
        components: [
          { id: 'c', name: 'X', disabled: true },
          { id: 'c', name: 'Y', disabled: true },
        ],
      },
      ['"c" is used twice'],
    ],
  ])('%s', (_what, value, words) => {
    for (const word of words) expect(failure(value)).toContain(word)
  })

  it('never with another error, whatever is in it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const { success } = privacySchema('site').safeParse(value)
        expect(typeof success).toBe('boolean')
      }),
    )
  })
})

it('leaves out filters and components that are switched off', () => {
  const off = { disabled: true, path: 'x.Cleanser' }
  const { scopes } = read({
    scopes: [{ name: 'a', task_result_filters: [off, FILTER] }],
    components: [{ id: 'c', ...off }],
  })
  expect(scopes.get('a')!.filters).toEqual([
    { where: 'scopes[0].task_result_filters[1]', payload: 'result', component: FILTER },
  ])
})

describe('the scope of a job', () => {
  const policy = read({ scopes: [{ name: 'a' }, { name: 'b' }], default_scope: 'b' })
  const withoutDefault = read({ scopes: [{ name: 'a' }] })
  it('is the one that it names, or the default', () => {
    expect(decideScope(policy, 'a')).toMatchObject({ allowed: true, scope: { name: 'a' } })
    expect(decideScope(policy, '')).toMatchObject({ allowed: true, scope: { name: 'b' } })
  })

  it.each([
    [policy, 'c', "privacy scope 'c' is not allowed"],
    [policy, 'A', "privacy scope 'A' is not allowed"],
    [policy, '__proto__', 'is not allowed'],
    [withoutDefault, '', "privacy scope '' is not allowed: the job names none"],
  ])('is refused where there is none (%#)', (where, asked, reason) => {
    expect(decideScope(where, asked)).toEqual({
      allowed: false,
      code: 'scope-not-allowed',
      reason: expect.stringContaining(reason),
    })
  })

  it('is none where there are no rules', () => {
    expect(decideScope(undefined, 'a')).toEqual({ allowed: true, scope: undefined })
  })
})

it('says which scopes there are', () => {
  expect(describePrivacy(undefined)).toContain('nothing is filtered')
  const policy = read({ scopes: [{ name: 'a', task_result_filters: [FILTER] }, { name: 'b' }] })
  expect(describePrivacy(policy)).toBe(
    "privacy scopes 'a' with 1 filter(s), 'b' with 0 filter(s); no default",
  )
})

it('names the file when a filter cannot be made', () => {
  const policy = read({ scopes: [{ name: 'a', task_result_filters: [FILTER] }] })
  expect(() =>
    tryPrivacyFilters(policy, ([filter]) => {
      throw new Error(`${filter!.where}: no such filter`)
    }),
  ).toThrow('local/privacy.json: scopes[0].task_result_filters[0]: no such filter')
  expect(() => tryPrivacyFilters(undefined, () => expect.fail())).not.toThrow()
})
