import { describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League } from '../support/league.ts'

const TRAINER = trainerOf(`
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

describe.each([
  ['tls', 'TLSv1.3'],
  ['clear', null],
] as const)('a league whose links are %s', (security, tlsVersion) => {
  it('logs everybody in by their proofs, runs a job, and says how each is connected', async () => {
    await using league = await League.start({ security })
    const job = await league.submit(
      await writeJob(league.folder, { name: 'one', rounds: 1, trainer: TRAINER }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const { json } = await league.asLead('status', '--connections')
    const connections = json?.['connections'] as Record<string, unknown>[]
    expect(connections.find(({ cell }) => cell === 'site-1')).toMatchObject({
      peer: null,
      mode: security,
      tlsVersion,
      messageProofs: true,
    })
  }, 60_000)
})
