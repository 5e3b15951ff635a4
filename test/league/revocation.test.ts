import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'
const QUICK = trainerOf(`
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

let league: League
beforeAll(async () => {
  league = await League.start()
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const asBoss = (...args: string[]) => league.hanse(...args, '--as', league.kit(BOSS))
const sites = async () =>
  ((await asBoss('status')).json?.['sites'] ?? []) as { name: string; connected: boolean }[]
const connected = async () =>
  (await sites()).filter((site) => site.connected).map(({ name }) => name)

describe('a revoked site', () => {
  it('is cut off at once and stays out, also after a restart of the server', async () => {
    const revoked = await asBoss('revoke', 'site-2', '--reason', 'its key was lost')
    expect(revoked.json).toEqual({ participant: 'site-2', revoked: true, already: false })
    expect(await connected()).toEqual(['site-1'])
    await league.place('site-2').stop()
    const again = league.launch('site-2')
    expect((await again.exited).code).toBe(3)
    expect(JSON.stringify(again.events)).toContain('its key was lost')

    await league.place(SERVER).stop()
    await league.startPlace(SERVER)
    const later = league.launch('site-2')
    expect((await later.exited).code).toBe(3)
  }, 60_000)

  it('takes no part in jobs until it is reinstated', async () => {
    const alone = await league.submit(
      await writeJob(league.folder, { name: 'alone', rounds: 1, minClients: 1, trainer: QUICK }),
    )
    expect(await league.wait(alone)).toBe('FINISHED:COMPLETED')
    expect((await league.show(alone))['job_clients']).toEqual([{ name: 'site-1' }])

    expect((await asBoss('reinstate', 'site-2')).json).toMatchObject({ revoked: false })
    await league.startPlace('site-2')
    const both = await league.submit(
      await writeJob(league.folder, { name: 'both', rounds: 1, trainer: QUICK }),
    )
    expect(await league.wait(both)).toBe('FINISHED:COMPLETED')
  }, 60_000)
})

describe('a revoked person', () => {
  it('can do nothing until reinstated', async () => {
    expect((await asBoss('revoke', LEAD)).code).toBe(0)
    const refused = await league.asLead('status')
    expect(refused.code).toBe(3)
    expect(JSON.stringify(refused.json)).toMatch(/revoked/)
    expect((await asBoss('reinstate', LEAD)).code).toBe(0)
    expect((await league.asLead('status')).code).toBe(0)
  }, 60_000)
})

describe('revoking', () => {
  it('is for project admins, is recorded, and spares the server', async () => {
    const byLead = await league.asLead('revoke', 'site-1')
    expect(byLead.code).toBe(3)
    expect(await connected()).toContain('site-1')
    expect((await asBoss('revoke', SERVER)).code).not.toBe(0)
    const acts = (await league.record(SERVER)).filter(({ act }) => act === 'hanse.revoke')
    expect(acts.some((entry) => JSON.stringify(entry).includes('site-2'))).toBe(true)
    expect(acts.some(({ outcome }) => outcome === 'refused')).toBe(true)
  }, 60_000)
})

describe('status --connections', () => {
  it('says how every site is connected', async () => {
    const { json } = await asBoss('status', '--connections')
    const connections = json?.['connections'] as Record<string, unknown>[]
    expect(connections.find(({ cell }) => cell === 'site-1')).toMatchObject({
      peer: 'site-1',
      driver: 'tcp',
      mode: 'mtls',
      tlsVersion: 'TLSv1.3',
      keyExchange: 'X25519MLKEM768',
      messageProofs: true,
      certificateExpiry: expect.stringMatching(/^\d{4}-/),
    })
  }, 30_000)
})
