import { silentLogger } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { Tensor, toNumbers } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Filter, FilterContext } from '../components/contracts.ts'
import type { DataKind } from '../model/data-kind.ts'
import { mapOf, readDxo, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import { ConvertWeights } from './convert-weights.ts'
import { DxoBlocker } from './dxo-blocker.ts'
import { excludeVars } from './exclude-vars.ts'
import { FilterChains } from './filter-chains.ts'
import { percentilePrivacy } from './percentile-privacy.ts'
import { svtPrivacy } from './svt-privacy.ts'

const context: FilterContext = {
  taskName: 'train',
  direction: 'out',
  payload: 'result',
  site: 'site-1',
  log: silentLogger,
  random: Math.random,
}
const MODELS = ['WEIGHT_DIFF', 'WEIGHTS'] as const
const f64 = (...values: number[]): Tensor =>
  new Tensor('float64', [values.length], Float64Array.from(values))
const message = (
  data: Record<string, FobsValue>,
  meta: Record<string, FobsValue> = {},
  kind: DataKind = 'WEIGHT_DIFF',
): Shareable =>
  withDxo({ kind, data: new Map(Object.entries(data)), meta: new Map(Object.entries(meta)) })

async function filtered(filter: Filter, shareable: Shareable, rest: Partial<FilterContext> = {}) {
  const dxo = readDxo(await filter.process(shareable, { ...context, ...rest }))
  return {
    data: Object.fromEntries(mapOf(dxo)),
    meta: Object.fromEntries(dxo.meta),
    kind: dxo.kind,
  }
}

describe('ExcludeVars', () => {
  it.each([
    [{ names: ['a', 'bias'] }, ['b', 'bias2']],
    [{ pattern: /bias/ }, ['a', 'b']],
  ])('removes %j', async (which, left) => {
    const original = message(
      { a: f64(1), b: f64(2), bias: f64(3), bias2: f64(4) },
      { filter_history: ['Earlier'] },
    )
    const { data, meta } = await filtered(excludeVars(which, MODELS), original)
    const kept = Object.keys(data)
    expect(kept).toEqual(left[0] === 'a' ? ['a', 'b'] : left)
    expect(meta['filter_history']).toEqual(['Earlier', 'ExcludeVars'])
    // Others may hold the same message.
    expect(mapOf(readDxo(original)).size).toBe(4)
  })

  it('leaves alone what is no model, an error, and other kinds', async () => {
    const filter = excludeVars({ pattern: /./ }, ['WEIGHTS'])
    const error = message({ a: f64(1) }, {}, 'WEIGHTS')
    error.headers.set(HEADER.returnCode, 'EXECUTION_EXCEPTION')
    for (const one of [new Shareable(), message({ a: f64(1) }), error])
      expect(await filter.process(one, context)).toBe(one)
  })

  it('refuses collections rather than let them through unseen', () => {
    const filter = excludeVars({ pattern: /./ }, MODELS)
    expect(() => filter.process(message({}, {}, 'COLLECTION'), context)).toThrow(/collection/)
  })
})

describe('PercentilePrivacy', () => {
  it('drops small changes per step, limits large ones and keeps scalars', async () => {
    const values = [0.1, -0.2, 0.3, -0.4, 5]
    const { data } = await filtered(
      percentilePrivacy({ percentile: 50, gamma: 0.15, kinds: MODELS }),
      message(
        { w: f64(...values), s: new Tensor('float64', [], Float64Array.of(9)) },
        { NUM_STEPS_CURRENT_ROUND: 2 },
      ),
    )
    // |d| = 0.05 0.1 0.15 0.2 2.5 4.5: the median lies between 0.15 and 0.2, so 0.15 is dropped, -0.2 limited.
    const out = [...toNumbers('float64', (data['w'] as Tensor).data)]
    expect(out).toEqual([0, 0, 0, -0.3, 0.3])
    expect((data['s'] as Tensor).data[0]).toBe(9)
  })

  it('never lets out more than gamma per step, and nothing below the cutoff', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ noNaN: true, min: -10, max: 10 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 1, max: 9 }),
        async (values, percentile, steps) => {
          const { data } = await filtered(
            percentilePrivacy({ percentile, gamma: 0.5, kinds: MODELS }),
            message({ w: f64(...values) }, { NUM_STEPS_CURRENT_ROUND: steps }),
          )
          const out = toNumbers('float64', (data['w'] as Tensor).data)
          const kept = values.map((value) => Math.abs(value / steps)).sort((a, b) => a - b)
          const position = (percentile / 100) * (kept.length - 1)
          const below = kept[Math.floor(position)]!
          for (const [i, value] of values.entries()) {
            expect(Math.abs(out[i]!)).toBeLessThanOrEqual(0.5 * steps)
            if (out[i] !== 0) expect(Math.abs(value / steps)).toBeGreaterThanOrEqual(below)
          }
        },
      ),
    )
  })

  it('keeps the element type, and refuses what it cannot judge', async () => {
    const filter = percentilePrivacy({ percentile: 10, gamma: 1, kinds: MODELS })
    const { data } = await filtered(
      filter,
      message({ w: new Tensor('float32', [2], Float32Array.of(0.5, 2)) }),
    )
    expect(data['w']).toMatchObject({ dtype: 'float32' })
    expect(() => filter.process(message({ w: 'text' }), context)).toThrow(
      /no array of real numbers/,
    )
  })
})

describe('SVTPrivacy', () => {
  const settings = {
    fraction: 0.5,
    epsilon: 0.1,
    noiseVar: 0.1,
    gamma: 1e-5,
    tau: 1e-6,
    kinds: MODELS,
    replace: false,
  }
  /** Repeatable numbers in [0, 1). */
  function sequence(): () => number {
    let state = 12345
    return () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return state / 2 ** 32
    }
  }

  it('lets out the share it should, noisy and near the clipped values', async () => {
    const gamma = 0.5
    const count = 400
    const values = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? 3 : -3))
    const { data, meta } = await filtered(
      svtPrivacy({ ...settings, gamma, epsilonRelease: 1e9, epsilon: 1e9 }),
      message({ w: f64(...values) }, { NUM_STEPS_CURRENT_ROUND: 3 }),
      { random: sequence() },
    )
    const out = [...toNumbers('float64', (data['w'] as Tensor).data)]
    const released = out.filter((value) => value !== 0)
    expect(released).toHaveLength(count / 2)
    // Each is ±gamma per step, times the steps; the noise is tiny with so large a budget.
    for (const [i, value] of out.entries())
      if (value !== 0)
        expect(Math.abs(value - Math.sign(values[i]!) * gamma * 3)).toBeLessThan(1e-3)
    expect(meta['filter_history']).toEqual(['SVTPrivacy'])
  })

  it('adds noise of the scale that it says', async () => {
    const count = 4000
    const gamma = 1
    const epsilonRelease = 4000
    const { data } = await filtered(
      svtPrivacy({ ...settings, fraction: 1, gamma, epsilon: 1e9, epsilonRelease }),
      message({ w: f64(...new Array<number>(count).fill(1)) }),
      { random: sequence() },
    )
    const noise = [...toNumbers('float64', (data['w'] as Tensor).data)].map((value) => value - 1)
    const scale = (2 * gamma * count) / epsilonRelease
    // The mean absolute value of Laplace noise is its scale: 2 here, far from its standard deviation 2.8.
    const mean = noise.reduce((sum, value) => sum + Math.abs(value), 0) / count
    expect(mean).toBeGreaterThan(scale * 0.93)
    expect(mean).toBeLessThan(scale * 1.07)
  })

  it('keeps an account of what it spent, over all rounds', async () => {
    const filter = svtPrivacy(settings)
    const send = () => filtered(filter, message({ w: f64(1, 2, 3, 4) }), { random: sequence() })
    const first = (await send()).meta['svt_privacy_budget'] as Map<string, FobsValue>
    // Half of four values at noise_var 0.1 each, and the 0.1 for choosing them.
    expect(first.get('epsilon_total')).toBeCloseTo(0.3, 12)
    expect(first.get('n_upload')).toBe(2)
    const account = (await send()).meta['svt_privacy_accountant'] as Map<string, FobsValue>
    expect(account.get('epsilon_total')).toBeCloseTo(0.6, 12)
    expect(account.get('calls')).toBe(2)
  })

  it('lets nothing out when the share is nothing', async () => {
    const { data } = await filtered(
      svtPrivacy({ ...settings, fraction: 0 }),
      message({ w: f64(1, 2) }),
    )
    expect([...(data['w'] as Tensor).data]).toEqual([0, 0])
  })

  it('refuses parts of a budget that do not make the whole', () => {
    expect(() => svtPrivacy({ ...settings, epsilonThreshold: 0.06, epsilonQuery: 0.06 })).toThrow(
      /sum/,
    )
  })
})

describe('ConvertWeights', () => {
  const base = message({ w: f64(1, 2), more: f64(9) }, {}, 'WEIGHTS')

  it('turns models into differences and back, exactly', async () => {
    const there = new ConvertWeights('weights_to_diff')
    const back = new ConvertWeights('diff_to_weights')
    const diff = await there.process(message({ w: f64(4, 1) }, {}, 'WEIGHTS'), {
      ...context,
      task: base,
    })
    expect(readDxo(diff)).toMatchObject({ kind: 'WEIGHT_DIFF', data: new Map([['w', f64(3, -1)]]) })
    const again = readDxo(await back.process(diff, { ...context, task: base }))
    expect(again).toMatchObject({ kind: 'WEIGHTS', data: new Map([['w', f64(4, 1)]]) })
    expect(again.meta.get('filter_history')).toEqual(['ConvertWeights', 'ConvertWeights'])
  })

  it('leaves alone what it cannot convert', async () => {
    const filter = new ConvertWeights('weights_to_diff')
    const whole = message({ w: f64(1, 1) }, {}, 'WEIGHTS')
    const processed = message({ w: f64(1, 1) }, { PROCESSED_ALGORITHM: 'X' }, 'WEIGHTS')
    expect(filter.process(whole, context)).toBe(whole)
    expect(filter.process(whole, { ...context, task: processed })).toBe(whole)
    expect(filter.process(processed, { ...context, task: base })).toBe(processed)
    const diff = message({ w: f64(1, 1) })
    expect(filter.process(diff, { ...context, task: base })).toBe(diff)
  })

  it('refuses a parameter without a base', () => {
    const filter = new ConvertWeights('weights_to_diff')
    const strange = message({ other: f64(1) }, {}, 'WEIGHTS')
    expect(() => filter.process(strange, { ...context, task: base })).toThrow(/"other"/)
  })
})

describe('DXOBlocker', () => {
  it.each<[boolean, DataKind, boolean]>([
    [false, 'WEIGHTS', false],
    [false, 'METRICS', true],
    [true, 'WEIGHTS', true],
    [true, 'METRICS', false],
  ])('with allow %s passes %s: %s', (allow, kind, passes) => {
    const blocker = new DxoBlocker(['WEIGHTS'], allow)
    const one = message({}, {}, kind)
    if (passes) expect(blocker.process(one)).toBe(one)
    else expect(() => blocker.process(one)).toThrow(expect.objectContaining({ code: 'ERR_FILTER' }))
  })
})

describe('FilterChains', () => {
  const mark = (word: string): Filter => ({
    process: ({ headers, content }) =>
      new Shareable(
        new Map([...headers, ['trail', `${headers.get('trail') ?? ''}${word}`]]),
        content,
      ),
  })

  it("run the place's filters first, then the job's, each in order", async () => {
    const chains = new FilterChains()
    chains.add('result', { tasks: ['train'], direction: 'out', filters: [mark('c'), mark('d')] })
    chains.addAlways('result', 'out', [mark('a'), mark('b')])
    const run = (rest: Partial<FilterContext>) =>
      chains
        .run(new Shareable(), { ...context, ...rest })
        .then(({ headers }) => headers.get('trail'))
    expect(await run({})).toBe('abcd')
    expect(await run({ taskName: 'validate' })).toBe('ab')
    expect(await run({ direction: 'in' })).toBeUndefined()
    expect(await run({ payload: 'data' })).toBeUndefined()
  })

  it('allow one chain per task and direction', () => {
    const chains = new FilterChains()
    chains.add('data', { tasks: ['train'], direction: 'inout', filters: [] })
    chains.add('result', { tasks: ['train'], direction: 'in', filters: [] })
    expect(() =>
      chains.add('data', { tasks: ['other', 'train'], direction: 'in', filters: [] }),
    ).toThrow(/two chains/)
  })

  it('stop at the first that refuses, with its reason', async () => {
    const chains = new FilterChains()
    const refuse: Filter = {
      process() {
        throw new Error('too much')
      },
    }
    let reached = false
    const record: Filter = {
      process(one) {
        reached = true
        return one
      },
    }
    chains.add('result', { tasks: ['train'], direction: 'out', filters: [refuse, record] })
    await expect(chains.run(new Shareable(), context)).rejects.toMatchObject({
      code: 'ERR_FILTER',
      message: expect.stringContaining('too much'),
    })
    expect(reached).toBe(false)
  })
})
