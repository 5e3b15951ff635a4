import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { expectModels, expectSimilar } from './support/expect-results.ts'
import { InteropLeague, type InteropLeagueOptions } from './support/interop-league.ts'
import { expectedOf, vectorJob } from './support/vector-job.ts'

const stock = inject('stock')

const LEAGUES: readonly (Pick<InteropLeagueOptions, 'server' | 'kits' | 'sites'> & {
  readonly where: string
})[] = [
  {
    where: 'Hanse server, a FLARE site and a Hanse site',
    server: 'hanse',
    kits: 'hanse',
    sites: { 'site-1': 'stock', 'site-2': 'hanse' },
  },
  {
    where: 'FLARE server, two Hanse sites',
    server: 'stock',
    kits: 'stock',
    sites: { 'site-1': 'hanse', 'site-2': 'hanse' },
  },
]

/** Where scikit-learn jobs keep their parameters. */
const PARAMS = 'app_server/model_param.joblib'

for (const { where, ...members } of LEAGUES)
  describe.skipIf(stock === null)("FLARE's Python scripts, unchanged, at Hanse sites", () => {
    let league: InteropLeague
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        python: true,
        ...members,
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    /** The folder of the finished run of a job of `vectors/jobs`, and what FLARE alone makes of it. */
    async function runVector(name: string) {
      const job = await league.submit(vectorJob(name))
      expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
      const result = join(await league.download(job), 'workspace')
      return { result, expected: await expectedOf(name) }
    }

    it.each([
      ['FedAvg, Client API in process', 'numpy-fedavg'],
      ['FedAvg, Client API in a process of its own, differences', 'numpy-fedavg-external'],
    ])(
      `${where}: %s: the model as FLARE computes it`,
      async (_, name) => {
        const { result, expected } = await runVector(name)
        await expectModels(result, expected.final_models.server)
      },
      180_000,
    )

    it(`${where}: training, evaluation and submission of models, as FLARE measures them`, async () => {
      const { result, expected } = await runVector('numpy-linear-cse')
      await expectModels(result, expected.final_models.server)
      const file = join(result, 'cross_site_val', 'cross_val_results.json')
      expectSimilar(JSON.parse(await readFile(file, 'utf8')), expected.cross_val_results)
    }, 240_000)

    it(`${where}: scikit-learn, settings as parameters: the model as FLARE computes it`, async () => {
      const { result, expected } = await runVector('sklearn-linear')
      const { code, text } = await league.python('read_joblib.py', join(result, PARAMS))
      expect(code, text).toBe(0)
      expectSimilar(JSON.parse(text), expected.final_params[PARAMS])
    }, 180_000)
  })
