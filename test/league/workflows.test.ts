import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League } from '../support/league.ts'

let league: League
beforeAll(async () => {
  league = await League.start()
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

/** Adds 1 at `site-1` and 3 at `site-2`, which has three times as many examples, and says how good it is. */
const ADDER = (sends: 'FULL' | 'DIFF') =>
  trainerOf(`
  const step = site === 'site-1' ? 1 : 3
  const base = Number(model.params?.numpy_key?.data[0] ?? 0)
  const value = ${sends === 'DIFF' ? 'step' : 'base + step'}
  const numpy_key = { dtype: 'float64', shape: [1], data: Float64Array.of(value) }
  await send({
    params: { numpy_key },
    paramsType: '${sends}',
    metrics: { accuracy: -Math.abs(base - 2.5) },
    meta: { NUM_STEPS_CURRENT_ROUND: step },
  })`)

/** The weighted mean of the steps is (1 · 1 + 3 · 3) / 4 a round. */
const THREE_ROUNDS = 7.5

const PERSISTOR = {
  id: 'persistor',
  path: 'nvflare.app_common.np.np_model_persistor.NPModelPersistor',
  args: { model: [0] },
}

describe('ScatterAndGather', () => {
  it('runs with stock class names, a persistor, and differences', async () => {
    const folder = await writeJob(league.folder, {
      name: 'sag',
      trainer: ADDER('DIFF'),
      server: {
        workflows: [
          {
            id: 'scatter_and_gather',
            path: 'nvflare.app_common.workflows.scatter_and_gather.ScatterAndGather',
            args: {
              min_clients: 2,
              num_rounds: 3,
              aggregator_id: 'aggregator',
              persistor_id: 'persistor',
              shareable_generator_id: 'shareable_generator',
              train_task_name: 'train',
            },
          },
        ],
        components: [
          PERSISTOR,
          {
            id: 'shareable_generator',
            path: 'nvflare.app_common.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator',
            args: {},
          },
          {
            id: 'aggregator',
            path: 'nvflare.app_common.aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator',
            args: { expected_data_kind: 'WEIGHT_DIFF' },
          },
        ],
      },
    })
    const job = await league.submit(folder)
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  }, 90_000)
})

describe('FedAvg', () => {
  it('saves the model where its persistor says, and keeps the best one', async () => {
    const folder = await writeJob(league.folder, {
      name: 'best',
      rounds: 3,
      trainer: ADDER('FULL'),
      server: {
        components: [
          PERSISTOR,
          {
            id: 'selector',
            path: 'nvflare.app_common.widgets.intime_model_selector.IntimeModelSelector',
            args: { key_metric: 'accuracy' },
          },
        ],
      },
    })
    const job = await league.submit(folder)
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const result = await league.download(job)
    expect([...(await readGlobalModel(result)).get('numpy_key')!.data]).toEqual([THREE_ROUNDS])
    await access(join(result, 'workspace', 'models', 'server.npy'))
  }, 90_000)

  it('stops early when its condition holds', async () => {
    const folder = await writeJob(league.folder, {
      name: 'early',
      trainer: trainerOf(`
  const round = model.currentRound ?? 0
  await send({
    params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(round) } },
    metrics: { accuracy: 0.5 + round / 10 },
    meta: { NUM_STEPS_CURRENT_ROUND: 1 },
  })`),
      server: {
        workflows: [
          {
            id: 'controller',
            path: 'nvflare.app_common.workflows.fedavg.FedAvg',
            args: { num_clients: 2, num_rounds: 20, stop_cond: 'accuracy >= 0.7' },
          },
        ],
      },
    })
    const job = await league.submit(folder)
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const model = await readGlobalModel(await league.download(job))
    expect([...model.get('w')!.data]).toEqual([2])
  }, 90_000)
})

describe('several jobs', () => {
  it('run at once and keep apart', async () => {
    const folders = await Promise.all(
      [1, 2, 3].map((n) =>
        writeJob(league.folder, {
          name: `job-${n}`,
          rounds: 2,
          trainer: trainerOf(`
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(${n}) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`),
        }),
      ),
    )
    const jobs = await Promise.all(folders.map((folder) => league.submit(folder)))
    for (const [index, job] of jobs.entries()) {
      expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
      const model = await readGlobalModel(await league.download(job))
      expect([...model.get('w')!.data]).toEqual([index + 1])
    }
  }, 120_000)

  it('are cloned, listed and deleted', async () => {
    const list = async () =>
      ((await league.asLead('job', 'list')).json?.['jobs'] ?? []) as { job: string }[]
    const [first] = await list()
    const clone = await league.asLead('job', 'clone', first!.job)
    expect(clone.code, clone.stdout).toBe(0)
    const job = String(clone.json?.['job'])
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    expect((await league.asLead('job', 'delete', job)).code).toBe(0)
    expect((await list()).map((entry) => entry.job)).not.toContain(job)
  }, 90_000)
})
