import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { InteropLeague } from './support/interop-league.ts'
import { type MixedJobOptions, mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')

const NAMES = { hanse: 'Hanse', stock: 'FLARE' } as const
const LEAGUES = [
  { scheme: 'grpc', server: 'hanse' },
  { scheme: 'grpc', server: 'stock' },
  { scheme: 'http', server: 'hanse' },
  { scheme: 'http', server: 'stock' },
] as const
const JOB: MixedJobOptions = {
  name: 'large',
  rounds: 2,
  elements: 2_000_000,
  python: ['site-1'],
  typescript: ['site-2'],
}

describe.skipIf(stock === null).each(LEAGUES)(
  'A model of 8 MB, by reference and in pieces: a FLARE site and a Hanse site',
  ({ scheme, server }) => {
    let league: InteropLeague
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits: 'hanse',
        server,
        scheme,
        sites: { 'site-1': 'stock', 'site-2': 'hanse' },
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it(`${scheme}, ${NAMES[server]} server: every element of the mean is exact to 1e-6`, async () => {
      const job = await league.submit(await writeMixedJob(league.folder, JOB))
      expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
      const file = join(await league.download(job), 'workspace', 'models', 'server.npy')
      const model = parseNpy(new Uint8Array(await readFile(file)))
      expect(model.shape).toEqual([JOB.elements])
      const expected = mixedModel(JOB)
      let worst = 0
      for (const [i, value] of model.data.entries())
        worst = Math.max(worst, Math.abs(Number(value) / expected[i % 4]! - 1))
      expect(worst).toBeLessThan(1e-6)
    }, 240_000)
  },
)
