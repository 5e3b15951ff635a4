import { type JsonObject, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { readDxo, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'

const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const error = (code: string): Shareable => new Shareable(new Map([[HEADER.returnCode, code]]))
const reply = (
  value: Tensor,
  steps = 1,
  kind: 'WEIGHTS' | 'WEIGHT_DIFF' = 'WEIGHT_DIFF',
  meta: Record<string, FobsValue> = {},
): Shareable =>
  withDxo({
    kind,
    data: new Map([['numpy_key', value]]),
    meta: new Map<string, FobsValue>([['NUM_STEPS_CURRENT_ROUND', steps], ...Object.entries(meta)]),
  })

function config(
  args: JsonObject,
  aggregator: JsonObject = {},
  extra: readonly JsonObject[] = [],
): JsonObject {
  return {
    format_version: 2,
    workflows: [
      {
        id: 'sag',
        name: 'ScatterAndGather',
        args: {
          min_clients: 2,
          num_rounds: 1,
          wait_time_after_min_received: 0,
          persistor_id: 'persistor',
          ...args,
        },
      },
    ],
    components: [
      { id: 'persistor', name: 'NPModelPersistor', args: { model: [10, 20] } },
      { id: 'shareable_generator', name: 'FullModelShareableGenerator' },
      { id: 'aggregator', name: 'InTimeAccumulateWeightedAggregator', args: aggregator },
      ...extra,
    ],
  }
}

const run = (trainer: Trainer, args: JsonObject = {}, rest: Partial<InMemoryRunOptions> = {}) =>
  runInMemory({ sites: ['site-1', 'site-2'], config: config(args), trainer, ...rest })

const failure = (running: Promise<unknown>): Promise<string> =>
  running.then(() => 'no failure', messageOf)

describe('ScatterAndGather', () => {
  it('adds the weighted mean of differences to the model', async () => {
    const { state, files } = await run((_, site) =>
      site === 'site-1' ? reply(f32(1, 1), 1) : reply(f32(5, 9), 3),
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(14, 27))
    expect([...files.content.keys()].sort()).toEqual([
      'global_model.safetensors',
      'models/server.npy',
    ])
  })

  it('replaces the model by the mean of whole ones', async () => {
    const { state } = await run(
      (_, site) => reply(f32(site === 'site-1' ? 1 : 3), 1, 'WEIGHTS'),
      {},
      {
        config: config({}, { expected_data_kind: 'WEIGHTS' }),
      },
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(2))
  })

  it('sends model, rounds and cookie', async () => {
    const seen: unknown[] = []
    await run(
      ({ data }, site) => {
        if (site === 'site-1')
          seen.push([
            data.headers.get('current_round'),
            data.headers.get('num_rounds'),
            readDxo(data).kind,
          ])
        return reply(f32(0, 0))
      },
      { num_rounds: 2, start_round: 4 },
    )
    expect(seen).toEqual([
      [4, 2, 'WEIGHTS'],
      [5, 2, 'WEIGHTS'],
    ])
  })

  it('refuses results of another round, another kind and a second one of a site', async () => {
    const { events, state } = await run(
      (_, site) => (site === 'site-1' ? reply(f32(2, 2)) : reply(f32(50, 50), 1, 'WEIGHTS')),
      {},
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(12, 22))
    expect(events).toContainEqual({
      type: 'contribution',
      report: expect.objectContaining({
        site: 'site-2',
        accepted: false,
        reason: expect.stringContaining('WEIGHTS'),
      }),
    })
  })

  it('takes a late result of the round that runs, and none of an earlier one', async () => {
    const gates = { first: Promise.withResolvers<void>(), second: Promise.withResolvers<void>() }
    const { events } = await run(
      () => reply(f32(1, 1)),
      { min_clients: 1, num_rounds: 2 },
      {
        async beforeSubmit(site, task) {
          const round = task.data.headers.get('current_round')
          // Site 2 answers round 0 only when site 1 is asked for round 1.
          if (site === 'site-2' && round === 0) await gates.first.promise
          if (site === 'site-1' && round === 1) {
            gates.first.resolve()
            await gates.second.promise
          }
          if (site === 'site-2' && round === 1) gates.second.resolve()
        },
      },
    )
    const reports = events.flatMap((event) => (event.type === 'contribution' ? [event.report] : []))
    expect(reports.map(({ site, round, accepted }) => [site, round, accepted])).toContainEqual([
      'site-2',
      1,
      false,
    ])
    expect(reports.find(({ accepted }) => !accepted)?.reason).toBe('it belongs to round 0, not 1')
  })

  it.each<[JsonObject, boolean]>([
    [{ min_clients: 2 }, true],
    [{ min_clients: 3 }, false],
    [{ min_clients: 2, ignore_result_error: false }, false],
    [{ min_clients: 3, ignore_result_error: true }, true],
  ])('with %j an error of one of three sites lets the run go on: %s', async (args, goesOn) => {
    const running = run(
      (_, site) => (site === 'site-3' ? error('EXECUTION_EXCEPTION') : reply(f32(1, 1))),
      args,
      {
        sites: ['site-1', 'site-2', 'site-3'],
      },
    )
    const message = await failure(running)
    expect(message).toEqual(
      goesOn ? 'no failure' : expect.stringMatching(/site 'site-3' has no result for round 0/),
    )
  })

  it('fails when no site contributes', async () => {
    expect(await failure(run(() => error('EMPTY_RESULT'), { ignore_result_error: true }))).toMatch(
      /no contribution/,
    )
  })

  it('sums values that sites have weighted themselves', async () => {
    const { state } = await run(
      (_, site) => (site === 'site-1' ? reply(f32(2, 4), 2) : reply(f32(6, 8), 2)),
      {},
      {
        config: config({}, { weigh_by_local_iter: false }),
      },
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(12, 23))
  })

  it('never mixes what was processed in different ways', async () => {
    const { state } = await run(
      (_, site) =>
        reply(f32(1, 1), 1, 'WEIGHT_DIFF', site === 'site-3' ? { PROCESSED_ALGORITHM: 'X' } : {}),
      {},
      { sites: ['site-3', 'site-1', 'site-2'], config: config({ min_clients: 3 }) },
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(11, 21))
  })

  it('saves every n rounds and after the last', async () => {
    const { events } = await run(() => reply(f32(1, 1)), {
      num_rounds: 5,
      persist_every_n_rounds: 2,
    })
    expect(events.flatMap((event) => (event.type === 'model-saved' ? [event.round] : []))).toEqual([
      1, 3, 4,
    ])
  })

  it.each([
    ['aggregator_id', 'has no aggregator'],
    ['shareable_generator_id', 'has no shareable generator'],
    ['persistor_id', 'has no persistor'],
  ])('says which component is missing: %s', async (arg, message) => {
    expect(await failure(run(() => reply(f32(1, 1)), { [arg]: 'nobody' }))).toContain(message)
  })

  it('chooses the best model by what sites measured on it, and keeps it', async () => {
    const accuracy = [9, 0.2, 0.8, 0.5]
    const { files, events } = await run(
      ({ data }) =>
        reply(f32(1, 1), 1, 'WEIGHT_DIFF', {
          initial_metrics: new Map([['acc', accuracy[Number(data.headers.get('current_round'))]!]]),
        }),
      {},
      {
        config: config({ num_rounds: 4, persistor_id: 'best' }, {}, [
          { id: 'selector', name: 'IntimeModelSelector', args: { key_metric: 'acc' } },
          { id: 'best', name: 'NPFileModelPersistor' },
        ]),
        trainer: ({ data }) =>
          reply(new Tensor('float32', [3, 3], new Float32Array(9).fill(1)), 1, 'WEIGHT_DIFF', {
            initial_metrics: new Map([
              ['acc', accuracy[Number(data.headers.get('current_round'))]!],
            ]),
          }),
      },
    )
    // Round 0 has no model yet to speak of; round 2 measured the model with two updates.
    expect(
      events.flatMap((event) => (event.type === 'best-model' ? [[event.round, event.value]] : [])),
    ).toEqual([
      [1, 0.2],
      [2, 0.8],
    ])
    const first = (path: string): number =>
      new DataView(files.content.get(path)!.buffer).getFloat32(128, true)
    expect(first('models/best_global_model.npy')).toBe(3)
    expect(first('models/last_global_model.npy')).toBe(5)
  })
})
