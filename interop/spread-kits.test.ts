import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { runHanse } from '../test/support/hanse.ts'
import { InteropLeague, LEAD, type Runtime } from './support/interop-league.ts'
import { type MixedJobOptions, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')
const NAMES = { hanse: 'Hanse', stock: 'FLARE' } as const
const JOB: MixedJobOptions = {
  name: 'spread',
  rounds: 2,
  python: ['site-1'],
  typescript: ['site-2'],
}

describe.skipIf(stock === null).each<Runtime>(['hanse', 'stock'])(
  'Kits of `nvflare cert` and `nvflare package`',
  (server) => {
    const where = `${NAMES[server]} server, a FLARE site and a Hanse site`
    let league: InteropLeague
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits: 'spread',
        server,
        sites: { 'site-1': 'stock', 'site-2': 'hanse' },
      })
    }, 240_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it(`${where}: start, and learn together a job of \`hanse job submit\``, async () => {
      const hanse = (...args: string[]) =>
        runHanse([...args, '--json', '--as', league.kit(LEAD)], league.env)
      const submitted = await hanse('job', 'submit', await writeMixedJob(league.folder, JOB))
      const job = String(submitted.json?.['job'])
      const { json, stdout } = await hanse('job', 'wait', job, '--timeout', '120')
      expect(json?.['status'], stdout + (await league.logs())).toBe('FINISHED:COMPLETED')
    }, 180_000)

    it(`${where}: \`nvflare\` shows them`, async () => {
      const { data } = await league.nvflare('system', 'status')
      const names = data.clients.map((client: { client_name: string }) => client.client_name)
      expect(names.toSorted()).toEqual(['site-1', 'site-2'])
    }, 60_000)
  },
)
