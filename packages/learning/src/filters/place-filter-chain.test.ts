import { silentLogger } from '@hanse/contract'
import { Float, type FobsValue } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { Tensor, toNumbers } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Executor, Filter, FilterContext } from '../components/contracts.ts'
import { ExecutorTable } from '../executors/executor-table.ts'
import { TaskRunner } from '../executors/task-runner.ts'
import { DATA_KINDS, type DataKind } from '../model/data-kind.ts'
import { mapOf, readDxo, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import { ConvertWeights } from './convert-weights.ts'
import { DxoBlocker } from './dxo-blocker.ts'
import { excludeVars } from './exclude-vars.ts'
import { FilterChains } from './filter-chains.ts'
import { percentilePrivacy } from './percentile-privacy.ts'
import { PlaceFilterChain, type PlaceFilterReport } from './place-filter-chain.ts'

const context: FilterContext = {
  taskName: 'train',
  direction: 'out',
  payload: 'result',
  site: 'site-1',
  log: silentLogger,
  random: Math.random,
}
const f64 = (...values: number[]): Tensor =>
  new Tensor('float64', [values.length], Float64Array.from(values))
const scalar = (value: number): Tensor => new Tensor('float64', [], Float64Array.of(value))
const percentile = (kinds: readonly DataKind[] = ['WEIGHTS', 'WEIGHT_DIFF']): Filter =>
  percentilePrivacy({ percentile: 0, gamma: 0.5, kinds })
const result = (
  data: Record<string, FobsValue>,
  meta: Record<string, FobsValue> = {},
  kind: DataKind = 'WEIGHTS',
): Shareable =>
  withDxo({ kind, data: new Map(Object.entries(data)), meta: new Map(Object.entries(meta)) })
const named = (filters: readonly Filter[]) =>
  filters.map((filter, i) => ({ name: `f${i}`, filter }))

function atSite(...filters: Filter[]) {
  const reports: PlaceFilterReport[] = []
  const chain = new PlaceFilterChain(named(filters), {
    distrusts: true,
    onReport: (report) => void reports.push(report),
  })
  return { reports, run: (message: Shareable) => chain.process(message, context) }
}
const numbersOf = (message: Shareable, name: string) => {
  const tensor = mapOf(readDxo(message)).get(name) as Tensor
  return [...toNumbers(tensor.dtype, tensor.data)]
}
const SECRET = f64(1234.5)

describe('the filters of a site', () => {
  it('run in order, and what they did is told before the result goes on', async () => {
    const { reports, run } = atSite(excludeVars({ names: ['b'] }, ['WEIGHTS']), percentile())
    const out = await run(result({ a: f64(0.25, 7), b: f64(1) }))
    expect([...mapOf(readDxo(out)).keys()]).toEqual(['a'])
    expect(numbersOf(out, 'a')).toEqual([0.25, 0.5])
    expect(readDxo(out).meta.get('filter_history')).toEqual(['ExcludeVars', 'PercentilePrivacy'])
    expect(reports).toEqual([
      { taskName: 'train', payload: 'result', filters: ['f0', 'f1'], refusal: '' },
    ])
  })

  it('tell why they refuse', async () => {
    const { reports, run } = atSite(percentile(), new DxoBlocker(['WEIGHTS'], false))
    await expect(run(result({ a: f64(1) }))).rejects.toMatchObject({ code: 'ERR_FILTER' })
    expect(reports).toEqual([
      {
        taskName: 'train',
        payload: 'result',
        filters: ['f0'],
        refusal: 'data of kind WEIGHTS is not allowed to pass',
      },
    ])
  })

  it('let nothing go on that could not be told', async () => {
    const chain = new PlaceFilterChain(named([percentile()]), {
      onReport: () => Promise.reject(new Error('the record is full')),
    })
    await expect(chain.process(result({ a: f64(1) }), context)).rejects.toThrow('record is full')
  })
})

/** What code that a site does not trust could answer to get past a filter of its arrays. */
describe('a result that tries to get past the filters of a site', () => {
  const withHeader = (key: string, value: FobsValue): Shareable => {
    const message = result({ a: f64(1) })
    message.headers.set(key, value)
    return message
  }
  const leaks = (out: Shareable): boolean => {
    const text = JSON.stringify(
      [[...out.headers], readDxo(out).meta.size === 0 ? [] : [...readDxo(out).meta]],
      (_key, value) => (value instanceof Map ? [...value] : value),
    )
    const values = [...out.headers.values(), ...readDxo(out).meta.values()]
    return values.includes(SECRET) || text.includes('1234.5') || text.includes('secret')
  }

  it.each<[string, Shareable]>([
    ['an array in its meta', result({ a: f64(1) }, { x: SECRET })],
    ['a list in its meta', result({ a: f64(1) }, { x: [1234.5] })],
    ['a map in its meta', result({ a: f64(1) }, { x: new Map([['y', 1234.5]]) })],
    ['octets in its meta', result({ a: f64(1) }, { secret: new Uint8Array(9) })],
    ['a long text in its meta', result({ a: f64(1) }, { x: 'secret'.repeat(20) })],
    ['a number of any size in its meta', result({ a: f64(1) }, { secret: 2n ** 999n })],
    ['a long name in its meta', result({ a: f64(1) }, { ['secret'.repeat(20)]: 1 })],
    ['a header of its own', withHeader('x', 'secret')],
    ['an array in a header of a workflow', withHeader(HEADER.validateType, SECRET)],
  ])('with %s arrives without it', async (_what, message) => {
    const out = await atSite(percentile()).run(message)
    expect(leaks(out)).toBe(false)
    expect(numbersOf(out, 'a')).toEqual([0.5])
  })

  it('with content beside its model arrives without it', async () => {
    const message = result({ a: f64(1) })
    message.content.set('more', SECRET)
    expect([...(await atSite(percentile()).run(message)).content.keys()]).toEqual(['DXO'])
  })

  it('has no more facts than a few', async () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`m${i}`, i]))
    const out = await atSite(percentile()).run(result({ a: f64(1) }, many))
    // And the history of the filter.
    expect(readDxo(out).meta.size).toBe(51)
  })

  it('forges no history of filters', async () => {
    const out = await atSite(percentile()).run(
      result({ a: f64(1) }, { filter_history: ['SVTPrivacy'] }),
    )
    expect(readDxo(out).meta.get('filter_history')).toEqual(['PercentilePrivacy'])
  })

  it('is nothing but a code when it says that it is none', async () => {
    const { run, reports } = atSite(percentile())
    const message = result({ a: SECRET }, { x: 1 })
    message.headers.set(HEADER.returnCode, 'EXECUTION_EXCEPTION')
    message.headers.set(HEADER.reason, 'r'.repeat(5_000))
    message.headers.set('x', 'secret')
    const out = await run(message)
    expect(out.content.size).toBe(0)
    expect([...out.headers]).toEqual([
      [HEADER.returnCode, 'EXECUTION_EXCEPTION'],
      [HEADER.reason, 'r'.repeat(500)],
    ])
    expect(reports).toHaveLength(1)
  })

  it.each<[string, Shareable]>([
    ['carries no DXO', new Shareable(new Map(), new Map([['weights', SECRET]]))],
    ['is a collection', result({ a: SECRET }, {}, 'COLLECTION')],
    ['is of a kind that no filter looks at', result({ a: SECRET }, {}, 'APP_DEFINED')],
    ['is of a kind of analytics', result({ a: SECRET }, {}, 'ANALYTIC')],
    ['has an array for a metric', result({ a: SECRET }, {}, 'METRICS')],
    ['has a whole number of any size for a metric', result({ a: 2n ** 999n }, {}, 'METRICS')],
    [
      'has hundreds of metrics',
      result(
        Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`m${i}`, i])),
        {},
        'METRICS',
      ),
    ],
    [
      'has an array among the metrics of its model',
      result({ a: f64(1) }, { initial_metrics: new Map([['m', SECRET]]) }),
    ],
    [
      'has hundreds of parameters without dimensions',
      result(Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`p${i}`, scalar(i)]))),
    ],
    [
      'has hundreds of parameters without elements, for their names',
      result(Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`p${i}`, f64()]))),
    ],
    ['has a text for a name', result({ ['secret'.repeat(50)]: f64(1) })],
    ['has parameters that are no arrays', result({ a: 'secret' })],
  ])('stays where it is when it %s', async (_what, message) => {
    const { reports, run } = atSite(percentile())
    await expect(run(message)).rejects.toMatchObject({ code: 'ERR_FILTER' })
    expect(reports).toMatchObject([{ refusal: expect.stringMatching(/./) }])
  })

  it('does not choose the other kind of model when only one is filtered', async () => {
    const { run } = atSite(percentile(['WEIGHT_DIFF']))
    await expect(run(result({ a: SECRET }))).rejects.toThrow(/looks at data of kind WEIGHTS/)
    expect(numbersOf(await run(result({ a: SECRET }, {}, 'WEIGHT_DIFF')), 'a')).toEqual([0.5])
  })

  it('is not looked at by a filter that only changes its form', async () => {
    const { run } = atSite(new ConvertWeights('weights_to_diff'))
    await expect(run(result({ a: SECRET }))).rejects.toThrow(/no filter/)
  })

  it('passes in a kind that the site allows by name', async () => {
    const out = await atSite(new DxoBlocker(['APP_DEFINED'], true)).run(
      result({ a: f64(1) }, {}, 'APP_DEFINED'),
    )
    expect(readDxo(out).kind).toBe('APP_DEFINED')
  })

  it('may have metrics, alone and beside a model, and a few parameters without dimensions', async () => {
    const { run } = atSite(percentile())
    const metrics = new Map<string, FobsValue>([
      ['accuracy', new Float(1)],
      ['n', 3],
    ])
    const alone = await run(withDxo({ kind: 'METRICS', data: metrics, meta: new Map() }))
    expect(readDxo(alone).data).toEqual(metrics)
    const beside = await run(
      result({ a: f64(1), n: scalar(9) }, { initial_metrics: metrics, NUM_STEPS_CURRENT_ROUND: 4 }),
    )
    expect(readDxo(beside).meta.get('initial_metrics')).toEqual(metrics)
    expect(numbersOf(beside, 'a')).toEqual([1])
    expect(numbersOf(beside, 'n')).toEqual([9])
  })

  it('never leaves an array as it was, whatever its kind and meta', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...DATA_KINDS),
        fc.dictionary(fc.string(), fc.oneof(fc.double(), fc.string(), fc.constant(SECRET))),
        async (kind, meta) => {
          const out = await atSite(percentile())
            .run(result({ a: SECRET }, meta, kind))
            .catch(() => undefined)
          if (out === undefined) return
          expect([...readDxo(out).meta.values()]).not.toContain(SECRET)
          expect(mapOf(readDxo(out)).get('a')).not.toBe(SECRET)
        },
      ),
    )
  })
})

it('bind a result whatever the job says, before its own filters', async () => {
  const executor: Executor = { execute: async () => result({ a: SECRET }, { x: SECRET }) }
  const executors = new ExecutorTable()
  executors.add(['train'], executor)
  const filters = new FilterChains()
  const seen: number[][] = []
  filters.add('result', {
    tasks: ['train'],
    direction: 'out',
    filters: [
      {
        process(message) {
          seen.push(numbersOf(message, 'a'))
          return message
        },
      },
    ],
  })
  filters.addAlways('result', 'out', [
    new PlaceFilterChain(named([percentile()]), { distrusts: true }),
  ])
  const runner = new TaskRunner(
    { executors, filters, log: silentLogger, random: Math.random },
    { siteName: 'site-1', jobId: 'j' },
  )
  const task = { id: 'i', name: 'train', data: new Shareable() }
  const out = await runner.run(task, { signal: new AbortController().signal })
  expect(seen).toEqual([[0.5]])
  expect(numbersOf(out, 'a')).toEqual([0.5])
  expect(readDxo(out).meta.has('x')).toBe(false)
})

it('at a server take messages of other sites as they are', async () => {
  const chain = new PlaceFilterChain(named([percentile()]))
  const metrics = result({ a: SECRET }, { x: SECRET }, 'METRICS')
  expect(await chain.process(metrics, context)).toBe(metrics)
})
