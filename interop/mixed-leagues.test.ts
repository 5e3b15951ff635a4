import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { InteropLeague, type Runtime } from './support/interop-league.ts'
import { mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')

const NAMES = { hanse: 'Hanse', stock: 'FLARE' } as const
const LEAGUES: readonly { readonly server: Runtime; readonly kits: Runtime }[] = [
  { server: 'hanse', kits: 'hanse' },
  { server: 'hanse', kits: 'stock' },
  { server: 'stock', kits: 'stock' },
  { server: 'stock', kits: 'hanse' },
]

describe.skipIf(stock === null).each(LEAGUES)(
  'One job, a FLARE site and a Hanse site',
  ({ server, kits }) => {
    const where = `${NAMES[server]} server, kits from ${NAMES[kits]}'s provisioner`
    const options = {
      name: 'mixed',
      rounds: 3,
      python: ['site-1'],
      typescript: ['site-2'],
    }
    let league: InteropLeague
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits,
        server,
        sites: { 'site-1': 'stock', 'site-2': 'hanse' },
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it(`${where}: both sites log in`, async () => {
      const { data } = await league.nvflare('system', 'status')
      const names = data.clients.map((client: { client_name: string }) => client.client_name)
      expect(names.toSorted()).toEqual(['site-1', 'site-2'])
    }, 60_000)

    it(`${where}: each site's own policy decides who learns what it lends to jobs`, async () => {
      const { data } = await league.nvflare('system', 'resources')
      // In the policy of the kits, `operate` is for people of the site's own organization.
      expect(data['site-1']).toContain('reserved_resources')
      expect(data['site-2']).toContain('not authorized')
    }, 60_000)

    it(`${where}: federated averaging over Python and TypeScript trainers is exact to 1e-6`, async () => {
      const job = await league.submit(await writeMixedJob(league.folder, options))
      expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
      const result = await league.download(job)
      const file = await readFile(join(result, 'workspace', 'models', 'server.npy'))
      const model = [...parseNpy(new Uint8Array(file)).data].map(Number)
      for (const [i, value] of mixedModel(options).entries())
        expect(Math.abs(model[i]! - value)).toBeLessThan(1e-6 * Math.abs(value))
    }, 180_000)

    // It does not depend on who made the kits: once for each server.
    if (kits === 'hanse')
      it(`${where}: the Hanse site filters by its privacy scopes, and refuses others`, async () => {
        await league.hanse.get('site-2')!.stop()
        const percentile = {
          name: 'PercentilePrivacy',
          args: { percentile: 0, gamma: 0.1, data_kinds: ['WEIGHTS'] },
        }
        const policy = { scopes: [{ name: 'careful', task_result_filters: [percentile] }] }
        const file = join(league.kit('site-2'), 'local', 'privacy.json')
        await writeFile(file, JSON.stringify(policy))
        await league.startSite('site-2')
        const run = async (scope: string) => {
          const one = { ...options, name: `scope-${scope}`, rounds: 1, meta: { scope } }
          const job = await league.submit(await writeMixedJob(league.folder, one))
          return { job, status: await league.wait(job) }
        }
        const { job, status } = await run('careful')
        expect(status, await league.logs()).toBe('FINISHED:COMPLETED')
        const path = join(await league.download(job), 'workspace', 'models', 'server.npy')
        const model = Array.from(parseNpy(new Uint8Array(await readFile(path))).data, Number)
        // 0.5, 1, 1.5, 2 with 10 steps; of 2.5, 3, 3.5, 4 with 30 steps 3 at most.
        for (const [i, value] of [2, 2.5, 2.625, 2.75].entries())
          expect(Math.abs(model[i]! - value)).toBeLessThan(1e-6 * value)
        expect((await run('x')).status).toBe('FINISHED:FAILED_TO_RUN')
      }, 240_000)
  },
)
