import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  type ExpectedArray,
  expectClose,
  expectModels,
  expectSimilar,
} from './support/expect-results.ts'
import { InteropLeague, type Runtime } from './support/interop-league.ts'
import { expectedOf, vectorJob, writeTwoLanguageJob } from './support/vector-job.ts'

const stock = inject('stock')

const LEAGUES: readonly {
  readonly area: string
  readonly where: string
  readonly server: Runtime
  readonly second: Runtime
}[] = [
  {
    area: 'FLARE sites under a Hanse server',
    where: '',
    server: 'hanse',
    second: 'stock',
  },
  {
    area: 'One job, a FLARE site and a Hanse site',
    where: 'Hanse server: ',
    server: 'hanse',
    second: 'hanse',
  },
  {
    area: 'One job, a FLARE site and a Hanse site',
    where: 'FLARE server: ',
    server: 'stock',
    second: 'hanse',
  },
]

const LINEAR = { trainer: 'train-linear.ts', data: 'linear-data.json' }
const KMEANS = { trainer: 'train-kmeans.ts', data: 'kmeans-data.json' }
const SCAFFOLD = { trainer: 'train-scaffold.ts', data: 'scaffold-data.json' }

/** Where scikit-learn jobs keep their parameters. */
const PARAMS = 'app_server/model_param.joblib'

for (const { area, where, server, second } of LEAGUES)
  describe.skipIf(stock === null)(area, () => {
    let league: InteropLeague
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits: 'hanse',
        server,
        sites: { 'site-1': 'stock', 'site-2': second },
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    /** The folder of the finished run, and what stock makes of the same job. */
    async function runVector(name: string, inTypeScript: { trainer: string; data: string }) {
      const sites = { python: ['site-1'], typescript: ['site-2'] }
      const folder =
        second === 'stock'
          ? vectorJob(name)
          : await writeTwoLanguageJob(league.folder, name, { ...sites, ...inTypeScript })
      return resultOf(name, await league.submit(folder))
    }

    async function resultOf(name: string, job: string) {
      const status = await league.wait(job)
      // The server's own log of the job says most when something is wrong.
      const log =
        status === 'FINISHED:COMPLETED' ? '' : (await league.nvflare('job', 'logs', job)).text
      expect(status, log + (await league.logs())).toBe('FINISHED:COMPLETED')
      const result = join(await league.download(job), 'workspace')
      return { result, expected: await expectedOf(name) }
    }

    it.concurrent(`${where}CyclicController: the model as FLARE computes it`, async () => {
      const { result, expected } = await runVector('numpy-cyclic', LINEAR)
      await expectModels(result, expected.final_models.server)
    }, 180_000)

    it.concurrent(`${where}Scaffold: model and controls as FLARE computes them`, async () => {
      const { result, expected } = await runVector('numpy-scaffold', SCAFFOLD)
      await expectModels(result, expected.final_models.server)
    }, 180_000)

    it.concurrent(`${where}CrossSiteModelEval and GlobalModelEval: what each site measures on each model`, async () => {
      const { result, expected } = await runVector('numpy-linear-cse', LINEAR)
      await expectModels(result, expected.final_models.server)
      const file = join(result, 'cross_site_val', 'cross_val_results.json')
      expectSimilar(JSON.parse(await readFile(file, 'utf8')), expected.cross_val_results)
      // The files beside it, as stock reads them.
      const { code, text } = await league.python(
        'read_dxo.py',
        join(result, 'cross_site_val', 'model_shareables', 'SRV_server'),
        join(result, 'global_val', 'result_shareables', 'site-2_SRV_server'),
      )
      expect(code, text).toBe(0)
      const [model, metrics] = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expectSimilar(model, {
        kind: 'WEIGHTS',
        data: { numpy_key: expected.final_models.server['models/server.npy'].data },
      })
      const { val_loss, accuracy } = expected.cross_val_results['site-2'].SRV_server
      expectSimilar(metrics, {
        kind: 'METRICS',
        data: { val_loss: [val_loss], accuracy: [accuracy] },
      })
    }, 240_000)

    it.concurrent(`${where}k-means, collected and assembled at the server: the centers as FLARE computes them`, async () => {
      const { result, expected } = await runVector('kmeans', KMEANS)
      const { center } = await loadParams(result)
      const known = expected.final_params[PARAMS].center
      expect(center).toMatchObject({ dtype: known.dtype, shape: known.shape })
      // Which cluster comes first is a matter of chance, there as here.
      const rows = ({ data }: ExpectedArray) =>
        [0, 2, 4].map((at) => data.slice(at, at + 2)).sort(([a = 0], [b = 0]) => a - b)
      expectClose(rows(center as ExpectedArray).flat(), rows(known).flat())
    }, 240_000)

    /** The parameters of a scikit-learn job, as joblib loads them. */
    async function loadParams(result: string): Promise<Record<string, unknown>> {
      const { code, text } = await league.python('read_joblib.py', join(result, PARAMS))
      expect(code, text).toBe(0)
      return JSON.parse(text)
    }

    // What follows needs components that only stock sites have.
    if (second !== 'stock') return

    it.concurrent('StatisticsController: counts, sums, means, deviations and histograms, with cleansers', async () => {
      const name = 'fed-statistics'
      const { result, expected } = await resultOf(name, await league.submitByApi(vectorJob(name)))
      const file = join(result, 'statistics', 'result.json')
      expectSimilar(JSON.parse(await readFile(file, 'utf8')), expected.statistics)
    }, 180_000)

    it.concurrent('NPTrainer and NPValidator: a job without code, model and evaluation', async () => {
      const { result, expected } = await runVector('numpy-builtin-cse', LINEAR)
      await expectModels(result, expected.final_models.server)
      const file = join(result, 'cross_site_val', 'cross_val_results.json')
      const seen = JSON.parse(await readFile(file, 'utf8'))
      for (const [site, models] of Object.entries<object>(expected.cross_val_results)) {
        expect(Object.keys(seen[site]).sort()).toEqual(Object.keys(models).sort())
        // The elements by the largest one add up to 6; then comes a number below 1, by chance.
        for (const { accuracy } of Object.values<{ accuracy: number }>(seen[site]))
          expect(Math.floor(accuracy + 1e-6)).toBe(6)
      }
    }, 240_000)

    it.concurrent('FedAvgLR: logistic regression by Newton steps, as FLARE computes it', async () => {
      const { result, expected } = await runVector('newton-lr', LINEAR)
      await expectModels(result, expected.final_models.server)
    }, 240_000)

    it.concurrent('a linear classifier of scikit-learn: coefficients as FLARE computes them', async () => {
      const { result, expected } = await runVector('sklearn-linear', LINEAR)
      expectSimilar(await loadParams(result), expected.final_params[PARAMS])
    }, 240_000)
  })
