import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseNpy } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { expectClose, expectModels } from './support/expect-results.ts'
import { InteropLeague, SERVER } from './support/interop-league.ts'
import { mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')
const VECTORS = fileURLToPath(new URL('../vectors/jobs', import.meta.url))

let league: InteropLeague
beforeAll(async () => {
  if (stock === null) return
  league = await InteropLeague.start({
    stock,
    kits: 'hanse',
    server: 'hanse',
    sites: { 'site-1': 'stock', 'site-2': 'stock' },
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

/** The result of a job of `vectors/jobs`, and what stock makes of the same job. */
async function runVector(name: string) {
  const job = await league.submit(join(VECTORS, name))
  expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
  const folder = join(await league.download(job), 'workspace')
  const expected = JSON.parse(await readFile(join(VECTORS, 'expected', `${name}.json`), 'utf8'))
  return { folder, expected }
}

describe.skipIf(stock === null)('FLARE sites under a Hanse server', () => {
  it('log in with the kits of `hanse provision`', async () => {
    const { data } = await league.nvflare('system', 'status')
    expect(data.clients).toHaveLength(2)
  }, 60_000)

  it('FedAvg, Client API in process: model and metrics as FLARE computes them', async () => {
    const { folder, expected } = await runVector('numpy-fedavg')
    await expectModels(folder, expected.final_models.server)
    const summary = JSON.parse(
      await readFile(join(folder, 'metrics', 'metrics_summary.json'), 'utf8'),
    )
    const metrics = ['final_aggregated_metrics', 'best_metrics'] as const
    for (const key of metrics)
      for (const [i, { name, value }] of expected.metrics_summary[key].entries()) {
        expect(summary[key][i].name).toBe(name)
        expectClose([summary[key][i].value], [value])
      }
    expect(summary).toMatchObject({
      final_round: expected.metrics_summary.final_round,
      best_round: expected.metrics_summary.best_round,
      key_metric: expected.metrics_summary.key_metric,
    })
  }, 180_000)

  it('FedAvg, Client API in a process of its own, differences, early stopping', async () => {
    const { folder, expected } = await runVector('numpy-fedavg-external')
    await expectModels(folder, expected.final_models.server)
  }, 180_000)

  it('ScatterAndGather with filters on tasks and results', async () => {
    const { folder, expected } = await runVector('numpy-sag-filters')
    await expectModels(folder, expected.final_models.server)
  }, 180_000)

  it('keep their session over all jobs', async () => {
    const server = league.hanse.get(SERVER)!
    const { data } = await league.nvflare('system', 'status', 'client')
    for (const { client_name, status } of data.client_status)
      expect([client_name, status]).toEqual([client_name, 'no_jobs'])
    expect(server.events.filter(({ event }) => event === 'site-left')).toEqual([])
  }, 60_000)

  it.each([
    ['a component that Hanse has not', 'xgb-horizontal', 'XGBFedController', 'is it misspelt'],
    [
      'an aggregator of its own',
      'numpy-fedavg-custom-aggregator',
      'median_aggregator.MedianAggregator',
      'such as the weighted mean of an aggregator',
    ],
  ])(
    'a job with %s is refused at submission, by name',
    async (_, job, component, advice) => {
      const answer = await league.nvflare('job', 'submit', '-j', join(VECTORS, job))
      expect(answer.code).not.toBe(0)
      expect(answer.text).toContain(component)
      expect(answer.text).toContain(advice)
    },
    60_000,
  )

  it('come back after the server was killed and started again, and run apps and resources of their own', async () => {
    await league.restartServer()
    const server = league.hanse.get(SERVER)!
    for (const site of ['site-1', 'site-2'])
      await server.event((event) => event.event === 'site-joined' && event['site'] === site)
    const { folder, expected } = await runVector('numpy-per-site')
    await expectModels(folder, expected.final_models.server)
  }, 180_000)

  it("apply their own privacy filters, whatever the job says: a site's scope", async () => {
    await league.stock.get('site-1')!.stop()
    const percentile = {
      path: 'nvflare.app_common.filters.percentile_privacy.PercentilePrivacy',
      args: { percentile: 10, gamma: 0.12, data_kinds: ['WEIGHTS'] },
    }
    const policy = {
      scopes: [{ name: 'careful', task_result_filters: [percentile] }],
      default_scope: 'careful',
    }
    await writeFile(join(league.kit('site-1'), 'local', 'privacy.json'), JSON.stringify(policy))
    await league.startSite('site-1')
    const python = ['site-1', 'site-2']
    const options = { name: 'careful', rounds: 1, python, typescript: [] }
    const job = await league.submit(await writeMixedJob(league.folder, options))
    expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
    const file = join(await league.download(job), 'workspace', 'models', 'server.npy')
    const { data } = parseNpy(new Uint8Array(await readFile(file)))
    // Of the model, a tenth of it by step: below the tenth percentile 0, and 0.12 at most.
    const filtered = [0, 1, 1.2, 1.2]
    expectClose(
      Array.from(data, Number),
      mixedModel(options).map((value, i) => (value + filtered[i]!) / 2),
    )
  }, 180_000)

  it('leave when they are stopped', async () => {
    await league.stock.get('site-2')!.stop()
    const left = await league.hanse
      .get(SERVER)!
      .event((event) => event.event === 'site-left' && event['site'] === 'site-2')
    expect(left).toMatchObject({ site: 'site-2' })
  }, 60_000)
})
