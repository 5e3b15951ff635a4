import { type JsonObject, messageOf } from '@hanse/contract'
import { coreCodecs, createFobsRegistry, decodeWhole, type FobsValue } from '@hanse/fobs'
import { platformCodecs, Shareable } from '@hanse/session'
import { parseNpz, parseSafetensors, Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { MemoryFiles } from '../../test/memory-files.ts'
import { MemorySpools } from '../../test/memory-spools.ts'
import { learningCodecs } from '../codecs/codec-lists.ts'
import type { RunEvent } from '../components/run-events.ts'
import { HEADER, modelToShareable, shareableToModel } from '../model/fl-model.ts'

const NPY = 'nvflare.app_common.np.np_model_persistor.NPModelPersistor'
const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const error = (code: string): Shareable => new Shareable(new Map([[HEADER.returnCode, code]]))

function reply(
  params: Record<string, FobsValue>,
  rest: {
    steps?: FobsValue
    metrics?: Record<string, FobsValue>
    diff?: boolean
    meta?: Record<string, FobsValue>
  } = {},
): Shareable {
  return modelToShareable({
    paramsType: rest.diff ? 'DIFF' : 'FULL',
    params: new Map(Object.entries(params)),
    metrics: rest.metrics && new Map(Object.entries(rest.metrics)),
    meta: new Map<string, FobsValue>([
      ...(rest.steps === undefined
        ? []
        : [['NUM_STEPS_CURRENT_ROUND', rest.steps] as [string, FobsValue]]),
      ...Object.entries(rest.meta ?? {}),
    ]),
  })
}

function config(args: JsonObject, components: readonly JsonObject[] = []): JsonObject {
  return {
    format_version: 2,
    workflows: [
      {
        id: 'controller',
        path: 'hanse.FedAvg',
        args: { num_clients: 2, num_rounds: 1, persistor_id: '', ...args },
      },
    ],
    components: [...components],
  }
}

const run = (
  args: JsonObject,
  trainer: Trainer,
  rest: Partial<InMemoryRunOptions> & { components?: readonly JsonObject[] } = {},
) =>
  runInMemory({
    sites: ['site-1', 'site-2'],
    trainer,
    ...rest,
    config: config(args, rest.components),
  })

const failure = async (running: Promise<unknown>): Promise<string> => {
  try {
    await running
  } catch (thrown) {
    return messageOf(thrown)
  }
  throw new Error('the run did not fail')
}

/** Writes only once it is opened, or fails then. */
class SlowFiles extends MemoryFiles {
  readonly #gate = Promise.withResolvers<void>()

  open(failure?: Error): void {
    if (failure === undefined) this.#gate.resolve()
    else this.#gate.reject(failure)
    this.#gate.promise.catch(() => {})
  }

  override async write(...args: Parameters<MemoryFiles['write']>): Promise<void> {
    await this.#gate.promise
    await super.write(...args)
  }
}

const of = <Type extends RunEvent['type']>(events: readonly RunEvent[], type: Type) =>
  events.filter((event): event is Extract<RunEvent, { type: Type }> => event.type === type)

describe('FedAvg', () => {
  it('makes the weighted mean of full models the next model', async () => {
    const { state, files } = await run({}, (_, site) =>
      site === 'site-1'
        ? reply({ w: f32(0.25) }, { steps: 20 })
        : reply({ w: f32(1.75), only2: f32(3) }, { steps: 40 }),
    )
    expect(Object.fromEntries(state.globalModel.weights)).toEqual({ w: f32(1.25), only2: f32(3) })
    const { tensors, metadata } = parseSafetensors(files.content.get('global_model.safetensors')!)
    expect(Object.fromEntries(tensors)).toEqual({ w: f32(1.25), only2: f32(3) })
    expect(metadata.get('round')).toBe('0')
  })

  it('gives the same bits whatever the order of arrival, also through spools', async () => {
    const values: Record<string, number> = { 'site-1': 0.1, 'site-2': 1e7 + 0.3, 'site-3': -1e7 }
    const results = await Promise.all(
      [
        ['site-1', 'site-2', 'site-3'],
        ['site-3', 'site-1', 'site-2'],
        ['site-2', 'site-3', 'site-1'],
      ].map(async (order) => {
        const turns = new Map(order.map((site) => [site, Promise.withResolvers<void>()]))
        turns.get(order[0]!)!.resolve()
        const { state, events } = await run(
          { num_clients: 3 },
          (_, site) =>
            reply(
              { w: new Tensor('float64', [], Float64Array.of(values[site]!)) },
              { steps: values[site]! > 0 ? 3 : 7 },
            ),
          {
            sites: ['site-1', 'site-2', 'site-3'],
            memoryBytes: order[0] === 'site-2' ? 0 : 100,
            spools: new MemorySpools(),
            async beforeSubmit(site) {
              await turns.get(site)!.promise
              const next = order[order.indexOf(site) + 1]
              if (next !== undefined) setImmediate(() => turns.get(next)!.resolve())
            },
          },
        )
        expect(of(events, 'contribution').map(({ report }) => report.site)).toEqual(order)
        return (state.globalModel.weights.get('w') as Tensor).data[0]
      }),
    )
    expect(new Set(results).size).toBe(1)
  })

  it('adds differences to the model and refuses those that do not fit it', async () => {
    const replies: Record<string, Record<string, Tensor>> = {
      'site-1': { numpy_key: f32(1, 1) },
      'site-2': { numpy_key: f32(3, 5) },
      'site-3': { numpy_key: f32(9) },
      'site-4': { unknown: f32(9) },
    }
    const { state, events } = await run(
      { num_clients: 4, persistor_id: 'persistor' },
      (_, site) => reply(replies[site]!, { diff: true }),
      {
        sites: Object.keys(replies),
        components: [{ id: 'persistor', path: NPY, args: { model: [10, 20] } }],
      },
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(12, 23))
    expect(
      of(events, 'contribution')
        .filter(({ report }) => !report.accepted)
        .map(({ report }) => report.site)
        .sort(),
    ).toEqual(['site-3', 'site-4'])
  })

  it.each<[string, FobsValue]>([
    ['nothing', null],
    ['zero', 0],
    ['a negative number', -3],
    ['a boolean', true],
    ['text', '7'],
    ['infinity', Number.POSITIVE_INFINITY],
  ])('counts a site once when its steps are %s', async (_, steps) => {
    const { state } = await run({}, (_task, site) =>
      reply({ w: f32(site === 'site-1' ? 2 : 6) }, { steps: site === 'site-1' ? steps : 3 }),
    )
    expect(state.globalModel.weights.get('w')).toEqual(f32(5))
  })

  it('multiplies by the factors of aggregation_weights', async () => {
    const { state, events } = await run({ aggregation_weights: { 'site-1': 3 } }, (_, site) =>
      reply({ w: f32(site === 'site-1' ? 2 : 6) }, { steps: 5 }),
    )
    expect(state.globalModel.weights.get('w')).toEqual(f32(3))
    expect(
      of(events, 'contribution')
        .map(({ report }) => report.weight)
        .sort(),
    ).toEqual([15, 5])
  })

  it('leaves out excluded parameters', async () => {
    const { state } = await run({ exclude_vars: '^secret' }, () =>
      reply({ w: f32(1), secret_a: f32(2) }),
    )
    expect([...state.globalModel.weights.keys()]).toEqual(['w'])
  })

  it('sends round, cookies, mu and the model of the round before', async () => {
    const seen: unknown[] = []
    await run({ num_rounds: 2, start_round: 3, fedprox_mu: 0.5 }, ({ data }, site) => {
      const model = shareableToModel(data)
      if (site === 'site-1')
        seen.push([
          model.currentRound,
          model.startRound,
          model.totalRounds,
          model.meta.get('fedprox_mu'),
          Object.fromEntries(model.params ?? []),
        ])
      return reply({ w: f32((model.currentRound ?? 0) * 2) })
    })
    expect(seen).toEqual([
      [3, 3, 2, 0.5, {}],
      [4, 3, 2, 0.5, { w: f32(6) }],
    ])
  })

  it('starts from the model in its arguments', async () => {
    const seen: unknown[] = []
    await run({ model: { w: [1, 2], deep: { x: 1 } } }, ({ data }) => {
      seen.push(shareableToModel(data).params)
      return reply({ w: f32(1) })
    })
    expect(seen[0]).toEqual(
      new Map<string, FobsValue>([
        ['w', [1, 2]],
        ['deep', new Map([['x', 1]])],
      ]),
    )
  })

  it('draws as many sites as it should, anew each round', async () => {
    const sites = Array.from({ length: 10 }, (_, i) => `site-${i}`)
    const { events } = await run({ num_rounds: 20 }, () => reply({ w: f32(1) }), { sites })
    const rounds = of(events, 'round-started').map((event) => event.sites)
    expect(rounds.every((drawn) => new Set(drawn).size === 2)).toBe(true)
    // 20 draws of 2 in 10 that all are the same: one in 45^19.
    expect(new Set(rounds.map(String)).size).toBeGreaterThan(1)
  })

  it('averages metrics that are numbers, if every site sent some', async () => {
    const metricsOf = async (second: Record<string, FobsValue> | undefined) => {
      const { events } = await run({}, (_, site) =>
        reply(
          { w: f32(1) },
          {
            steps: site === 'site-1' ? 1 : 3,
            ...(site === 'site-1'
              ? { metrics: { acc: 0.5, ok: true, note: 'x' } }
              : second && { metrics: second }),
          },
        ),
      )
      return of(events, 'after-aggregation')[0]?.metrics
    }
    expect(await metricsOf({ acc: 1, loss: 4 })).toEqual(
      new Map([
        ['acc', 0.875],
        ['ok', 1],
        ['loss', 4],
      ]),
    )
    expect(await metricsOf(undefined)).toBeUndefined()
  })

  it('refuses contributions that are empty, malformed or still processed', async () => {
    const bad: Record<string, Shareable> = {
      'site-2': reply({}),
      'site-3': new Shareable(
        new Map([['__content_type__', 'DXO']]),
        new Map([['DXO', new Map([['kind', 'NONSENSE']])]]),
      ),
      'site-4': new Shareable(),
      'site-5': reply({ w: f32(100) }, { meta: { PROCESSED_ALGORITHM: 'CKKS' } }),
      'site-6': reply({ w: 'text' }),
    }
    const { state, events } = await run(
      { num_clients: 6 },
      (_, site) => bad[site] ?? reply({ w: f32(2) }),
      {
        sites: ['site-1', ...Object.keys(bad)],
      },
    )
    expect(state.globalModel.weights.get('w')).toEqual(f32(2))
    const refused = of(events, 'contribution').filter(({ report }) => !report.accepted)
    expect(refused.map(({ report }) => report.site).sort()).toEqual(Object.keys(bad))
  })

  it('fails when nothing was accepted, rather than go on with an empty model', async () => {
    expect(await failure(run({}, () => reply({})))).toMatch(/no contribution of round 0/)
  })

  it.each<[JsonObject, boolean]>([
    [{}, false],
    [{ ignore_result_error: false }, false],
    [{ ignore_result_error: true }, true],
  ])('with %j an error of one site lets the run go on: %s', async (args, goesOn) => {
    const trainer: Trainer = (_, site) =>
      site === 'site-1' ? reply({ w: f32(4) }) : error('EXECUTION_EXCEPTION')
    if (goesOn)
      expect((await run(args, trainer)).state.globalModel.weights.get('w')).toEqual(f32(4))
    else
      expect(await failure(run(args, trainer))).toMatch(
        /site 'site-2' has no result for round 0: EXECUTION_EXCEPTION/,
      )
  })

  it('stops when aborted', async () => {
    const abort = new AbortController()
    const running = run(
      { num_rounds: 100 },
      ({ data }) => {
        if (shareableToModel(data).currentRound === 2) abort.abort(new Error('enough'))
        return reply({ w: f32(1) })
      },
      { signal: abort.signal },
    )
    expect(await failure(running)).toBe('enough')
  })

  it('stops by a fatal code', async () => {
    expect(await failure(run({}, () => error('UNSAFE_JOB')))).toMatch(/UNSAFE_JOB/)
  })

  it('stops early when the target is reached, and keeps the best model', async () => {
    const losses = [4, 2, 3, 1, 0.5]
    const { events, files } = await run({ num_rounds: 5, stop_cond: 'loss <= 1' }, ({ data }) => {
      const round = shareableToModel(data).currentRound ?? 0
      return reply({ w: f32(round) }, { metrics: { loss: losses[round]! } })
    })
    expect(of(events, 'round-finished')).toHaveLength(4)
    const { tensors } = parseSafetensors(files.content.get('global_model.safetensors')!)
    expect(tensors.get('w')).toEqual(f32(3))
  })

  it('stops when patience runs out, and an equal value does not buy time', async () => {
    const losses = [4, 2, 2, 3, 1]
    const { events, files } = await run(
      { num_rounds: 5, stop_cond: 'loss <= 0.5', patience: 2 },
      ({ data }) => {
        const round = shareableToModel(data).currentRound ?? 0
        return reply({ w: f32(round) }, { metrics: { loss: losses[round]! } })
      },
    )
    expect(of(events, 'round-finished')).toHaveLength(4)
    expect(
      parseSafetensors(files.content.get('global_model.safetensors')!).tensors.get('w'),
    ).toEqual(f32(1))
  })

  it('keeps the last model when nobody reports the metric of stop_cond', async () => {
    const { files } = await run({ num_rounds: 2, stop_cond: 'loss <= 0.5' }, ({ data }) =>
      reply({ w: f32(shareableToModel(data).currentRound ?? 0) }),
    )
    expect(
      parseSafetensors(files.content.get('global_model.safetensors')!).tensors.get('w'),
    ).toEqual(f32(1))
  })

  it('saves a model of several arrays as npz where the persistor knows one', async () => {
    const { files } = await run(
      { persistor_id: 'persistor' },
      () => reply({ a: f32(1), b: f32(2, 3) }),
      {
        components: [{ id: 'persistor', path: NPY }],
      },
    )
    expect(Object.fromEntries(parseNpz(files.content.get('models/server.npz')!))).toEqual({
      a: f32(1),
      b: f32(2, 3),
    })
  })

  it('writes the model as stock does when there is no persistor', async () => {
    const { files } = await run({}, () => reply({ w: f32(1, 2) }))
    const registry = createFobsRegistry(coreCodecs, platformCodecs, learningCodecs)
    const model = decodeWhole(files.content.get('FL_global_model.pt')!, registry)
    expect(model).toMatchObject({
      fields: { params: new Map([['w', f32(1, 2)]]), currentRound: 0, totalRounds: 1 },
    })
    const silent = await run({ save_filename: null }, () => reply({ w: f32(1) }))
    expect([...silent.files.content.keys()]).toEqual(['global_model.safetensors'])
  })

  it('begins a round while the model of the one before is being saved, and ends when all are', async () => {
    const files = new SlowFiles()
    const started: number[] = []
    const { events } = await run(
      { num_rounds: 3 },
      (task) => {
        const round = shareableToModel(task.data).currentRound ?? -1
        started.push(round)
        // Nothing is written before the second round: the first one's save is still under way then.
        if (round === 1) files.open()
        return reply({ w: f32(round) })
      },
      { files },
    )
    expect(started).toEqual([0, 0, 1, 1, 2, 2])
    expect(of(events, 'model-saved').map(({ round }) => round)).toEqual([0, 1, 2])
    expect(events.at(-1)?.type).toBe('run-ending')
    const saved = parseSafetensors(files.content.get('global_model.safetensors')!)
    expect(saved.tensors.get('w')).toEqual(f32(2))
    expect(saved.metadata.get('round')).toBe('2')
  })

  it('fails with what went wrong with a save, whatever came after', async () => {
    const files = new SlowFiles()
    files.open(new Error('disk full'))
    const rounds: number[] = []
    const text = await failure(
      run(
        { num_rounds: 5 },
        (task) => {
          rounds.push(shareableToModel(task.data).currentRound ?? -1)
          return reply({ w: f32(1) })
        },
        { files },
      ),
    )
    expect(text).toContain('disk full')
    expect(Math.max(...rounds)).toBe(1)
  })

  it('tells in order what happens', async () => {
    const { events } = await run({ num_clients: 1 }, () => reply({ w: f32(1) }), { sites: ['a'] })
    expect(events.map(({ type }) => type)).toEqual([
      'run-started',
      'training-started',
      'initial-model-loaded',
      'round-started',
      'before-contribution',
      'contribution',
      'before-aggregation',
      'after-aggregation',
      'model-updated',
      'round-finished',
      'model-saved',
      'training-finished',
      'run-ending',
    ])
  })
})
