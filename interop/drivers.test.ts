import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { describe, expect, inject, it } from 'vitest'
import { runHanse } from '../test/support/hanse.ts'
import { InteropLeague, LEAD } from './support/interop-league.ts'
import { BY_DRIVER } from './support/matrix.ts'
import { mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')

const SERVERS = { hanse: 'Hanse server', stock: 'FLARE server' } as const
const DRIVERS = ['http', 'grpc', 'tcp'] as const
const MODES = ['mtls', 'tls', 'clear'] as const

describe.skipIf(stock === null)(BY_DRIVER, () => {
  // Mostly waiting for FLARE to start and to ask: a few at a time.
  for (const scheme of DRIVERS)
    for (const security of MODES)
      for (const server of ['hanse', 'stock'] as const)
        it.concurrent(`${scheme}, ${security}: ${SERVERS[server]}`, async () => {
          const options = { name: 'mixed', rounds: 1, python: ['site-1'], typescript: ['site-2'] }
          await using league = await InteropLeague.start({
            stock: stock!,
            kits: 'hanse',
            server,
            scheme,
            security,
            sites: { 'site-1': 'stock', 'site-2': 'hanse' },
          })
          const job = await league.submit(await writeMixedJob(league.folder, options))
          expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
          const doctor = await runHanse(['doctor', league.kit(LEAD), '--json'], league.env)
          expect(doctor.json, doctor.stderr).toMatchObject({ ok: true, faults: [] })
          const result = await league.download(job)
          const file = await readFile(join(result, 'workspace', 'models', 'server.npy'))
          const model = [...parseNpy(new Uint8Array(file)).data].map(Number)
          for (const [i, value] of mixedModel(options).entries())
            expect(Math.abs(model[i]! - value)).toBeLessThan(1e-6 * Math.abs(value))
        }, 240_000)
})
