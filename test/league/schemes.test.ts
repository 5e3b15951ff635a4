import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League, SERVER } from '../support/league.ts'

/** Half a million numbers: more than one piece of a stream on every link. */
const COUNT = 500_000

const TRAINER = trainerOf(`
  const before = model.params?.w?.data
  const share = site === 'site-1' ? 1 : 3
  const data = new Float32Array(${COUNT}).map((_, i) => share + Number(before?.[i] ?? 0))
  await send({ params: { w: { dtype: 'float32', shape: [${COUNT}], data } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

describe.each(['http', 'grpc', 'tcp'] as const)('a league over %s', (scheme) => {
  it('runs a job, and its kits and its server say what its links are made of', async () => {
    await using league = await League.start({ scheme })
    const client = JSON.parse(
      await readFile(join(league.kit('site-1'), 'startup', 'fed_client.json'), 'utf8'),
    )
    expect(client.servers[0].service.scheme).toBe(scheme)
    const job = await league.submit(
      await writeJob(league.folder, { name: 'means', rounds: 2, trainer: TRAINER }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const model = await readGlobalModel(await league.download(job))
    const values = model.get('w')?.data ?? []
    expect(values).toHaveLength(COUNT)
    expect([values[0], values[COUNT - 1]]).toEqual([4, 4])
    expect((await league.hanse('audit', 'verify', league.kit(SERVER))).code).toBe(0)
  }, 120_000)
})
