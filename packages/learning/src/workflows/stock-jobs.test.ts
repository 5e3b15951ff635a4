import { readFileSync } from 'node:fs'
import { type JsonObject, silentLogger } from '@hanse/contract'
import { parseNpy, Tensor, type TypedArray } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { runInMemory } from '../../test/in-memory-run.ts'
import { buildClientApp, checkApp } from '../catalogue/build-app.ts'
import { createCatalogue } from '../catalogue/catalogue.ts'
import { standardComponents } from '../catalogue/standard-components.ts'
import type { Executor } from '../components/contracts.ts'
import type { ClientApiExecutorArgs } from '../executors/client-api-executor-args.ts'
import { TaskRunner } from '../executors/task-runner.ts'
import { type FLModel, modelToShareable, shareableToModel } from '../model/fl-model.ts'
import { NUMPY_KEY } from '../persistors/np-model-persistor.ts'

const read = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../vectors/${path}`, import.meta.url), 'utf8'))
const { x: data } = read('linear-data.json') as { x: Record<string, number[][]> }

/** `custom/train_linear.py`: gradient descent on a line, in float32 as the script does it. */
function trainLinear(
  site: string,
  w: Float32Array,
): { w: Float32Array; loss: number; steps: number } {
  const x = data[site]!
  const number = Number(site.replace(/\D/g, ''))
  const y = x.map((row) =>
    Math.fround(row.reduce((sum, v, i) => sum + v * (i + 1), 0) + 0.1 * number),
  )
  const residuals = (weights: Float32Array): number[] =>
    x.map((row, r) => row.reduce((sum, v, i) => sum + v * weights[i]!, 0) - y[r]!)
  const loss = residuals(w).reduce((sum, r) => sum + r * r, 0) / y.length
  let current = w
  for (let step = 0; step < 5; step++) {
    const rest = residuals(current)
    current = current.map((weight, i) => {
      const gradient = (2 * rest.reduce((sum, r, n) => sum + r * x[n]![i]!, 0)) / y.length
      return weight - 0.1 * gradient
    })
  }
  return { w: current, loss, steps: y.length }
}

function trainerExecutor(args: ClientApiExecutorArgs): Executor {
  let best: FLModel | undefined
  return {
    async execute({ name, data: task }, { siteName }) {
      if (name === 'submit_model') return modelToShareable(best!)
      const received = shareableToModel(task).params?.get(NUMPY_KEY)
      if (!(received instanceof Tensor)) throw new Error('no model came')
      const start = received.data as Float32Array
      const { w, loss, steps } = trainLinear(siteName, start)
      const metrics = new Map([
        ['val_loss', loss],
        ['accuracy', -loss],
      ])
      if (name === 'validate') return modelToShareable({ metrics, meta: new Map() })
      const isDiff = args.params_transfer_type === 'DIFF'
      const model: FLModel = {
        paramsType: isDiff ? 'DIFF' : 'FULL',
        params: new Map([
          [
            NUMPY_KEY,
            new Tensor('float32', [w.length], isDiff ? w.map((v, i) => v - start[i]!) : w),
          ],
        ]),
        metrics,
        meta: new Map([['NUM_STEPS_CURRENT_ROUND', steps]]),
      }
      best = { ...model, metrics: undefined }
      return modelToShareable(model)
    },
  }
}

async function runJob(name: string) {
  const server = read(`jobs/${name}/app/config/config_fed_server.json`) as JsonObject
  const client = read(`jobs/${name}/app/config/config_fed_client.json`) as JsonObject
  const catalogue = createCatalogue(
    standardComponents({ createClientApiExecutor: trainerExecutor }),
  )
  expect(checkApp(server, 'server', catalogue)).toEqual([])
  expect(checkApp(client, 'client', catalogue)).toEqual([])
  const runners = new Map(
    ['site-1', 'site-2'].map((siteName) => {
      const app = buildClientApp(client, {
        catalogue,
        site: { siteName, jobId: 'job-1', log: silentLogger },
      })
      return [
        siteName,
        new TaskRunner(
          { ...app, log: silentLogger, random: Math.random },
          { siteName, jobId: 'job-1' },
        ),
      ]
    }),
  )
  return runInMemory({
    config: server,
    sites: [...runners.keys()],
    trainer: (task, site) => runners.get(site)?.run(task, { signal: new AbortController().signal }),
  })
}

function expectClose(actual: TypedArray, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length)
  for (const [i, value] of wanted.entries())
    expect(Math.abs(Number(actual[i]) - value)).toBeLessThanOrEqual(
      1e-4 * Math.max(1, Math.abs(value)),
    )
}

interface Expected {
  final_models: { server: { 'models/server.npy': { shape: number[]; data: number[] } } }
  metrics_summary: Record<string, unknown>
  round_metrics: {
    round: number
    aggregated_metrics: { name: string; value: number }[]
    sites: { name: string }[]
  }[]
  cross_val_results?: unknown
}

/** The same shape and words, and numbers that agree to what single precision allows. */
function expectSimilar(actual: unknown, wanted: unknown, path = ''): void {
  if (typeof wanted === 'number') {
    expect(Math.abs(Number(actual) - wanted), path).toBeLessThanOrEqual(
      1e-4 * Math.max(1, Math.abs(wanted)),
    )
  } else if (typeof wanted === 'object' && wanted !== null) {
    expect(Object.keys(actual as object).sort(), path).toEqual(Object.keys(wanted).sort())
    for (const [key, value] of Object.entries(wanted))
      expectSimilar((actual as Record<string, unknown>)[key], value, `${path}.${key}`)
  } else expect(actual, path).toEqual(wanted)
}

describe('stock jobs give what stock gives', () => {
  it.each([
    'numpy-fedavg',
    'numpy-fedavg-external',
    'numpy-sag-filters',
    'numpy-cyclic',
    'numpy-linear-cse',
  ])('%s: the model', async (name) => {
    const expected = read(`jobs/expected/${name}.json`) as Expected
    const { files } = await runJob(name)
    const model = parseNpy(files.content.get('models/server.npy')!)
    const wanted = expected.final_models.server['models/server.npy']
    expect(model).toMatchObject({ dtype: 'float32', shape: wanted.shape })
    expectClose(model.data, wanted.data)
    expect(files.content.has('global_model.safetensors')).toBe(true)
  })

  it.each(['numpy-fedavg', 'numpy-fedavg-external'])('%s: the metrics', async (name) => {
    const expected = read(`jobs/expected/${name}.json`) as Expected
    const { files } = await runJob(name)
    const rounds = files
      .text('metrics/round_metrics.jsonl')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const sorted = (records: Expected['round_metrics']) =>
      records.map((record) => ({
        ...record,
        sites: record.sites.toSorted((a, b) => a.name.localeCompare(b.name)),
      }))
    expectSimilar(sorted(rounds), sorted(expected.round_metrics))
    const {
      notes,
      job_name: _job,
      ...summary
    } = JSON.parse(files.text('metrics/metrics_summary.json'))
    const { notes: _notes, job_name: _name, ...wanted } = expected.metrics_summary
    expectSimilar(summary, wanted)
    expect(notes).toHaveLength(2)
    expect(JSON.parse(files.text('cross_site_val/cross_val_results.json'))).toEqual(
      expected.cross_val_results,
    )
  })

  it('numpy-linear-cse: what every site measures on every model', async () => {
    const { cross_val_results } = read('jobs/expected/numpy-linear-cse.json') as Expected
    const { files } = await runJob('numpy-linear-cse')
    expectSimilar(
      JSON.parse(files.text('cross_site_val/cross_val_results.json')),
      cross_val_results,
    )
  })

  it('a job with a component we do not have is refused by its name', () => {
    const server = read(
      'jobs/numpy-fedavg-custom-aggregator/app/config/config_fed_server.json',
    ) as JsonObject
    const problems = checkApp(server, 'server', createCatalogue(standardComponents()))
    expect(problems).toEqual([
      expect.objectContaining({
        code: 'ERR_COMPONENT_UNKNOWN',
        message: expect.stringContaining('median_aggregator'),
      }),
    ])
  })
})
