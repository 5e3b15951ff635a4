import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League, SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'
const QUICK = trainerOf(`
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

let league: League
beforeAll(async () => {
  league = await League.start()
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const asBoss = (...args: string[]) => league.hanse(...args, '--as', league.kit(BOSS))

interface Site {
  readonly name: string
  readonly connected: boolean
  readonly disabled: boolean
  readonly organization: string
  readonly software: string
}

const sites = async () => ((await asBoss('status')).json?.['sites'] ?? []) as Site[]
const site = async (name: string) => (await sites()).find((one) => one.name === name)
const POLL = { timeout: 30_000, interval: 500 }

describe('a disabled site', () => {
  it('is out at once, also after a restart of the server, and keeps running', async () => {
    const result = await asBoss('disable', 'site-2')
    expect(result.json).toEqual({ site: 'site-2', disabled: true, already: false })
    expect(await site('site-2')).toMatchObject({ connected: false, disabled: true })
    await league.place(SERVER).stop()
    await league.startPlace(SERVER)
    expect((await asBoss('disable', 'site-2')).json).toMatchObject({ already: true })
    await expect.poll(async () => (await site('site-1'))?.connected, POLL).toBe(true)
    const alone = await league.submit(
      await writeJob(league.folder, { name: 'alone', rounds: 1, minClients: 1, trainer: QUICK }),
    )
    expect(await league.wait(alone)).toBe('FINISHED:COMPLETED')
    expect((await league.show(alone))['job_clients']).toEqual([{ name: 'site-1' }])
  }, 90_000)

  it('comes back by itself once it is enabled', async () => {
    expect((await asBoss('enable', 'site-2')).json).toMatchObject({ disabled: false })
    await expect.poll(async () => (await site('site-2'))?.connected, POLL).toBe(true)
  }, 60_000)

  it('is on record: who kept it out, and what it tried meanwhile', async () => {
    const record = await league.record(SERVER)
    const acts = record.filter(({ act }) => act === 'disable_client' || act === 'enable_client')
    expect(acts).toMatchObject([
      { act: 'disable_client', target: 'site-2', outcome: 'accepted', actor: { name: BOSS } },
      { act: 'disable_client', target: 'site-2', outcome: 'accepted', actor: { name: BOSS } },
      { act: 'enable_client', target: 'site-2', outcome: 'accepted', actor: { name: BOSS } },
    ])
    const refusals = record.filter(({ outcome }) => outcome === 'refused')
    expect(JSON.stringify(refusals)).toContain("'site-2' is disabled")
  }, 60_000)
})

describe('a server that was restarted', () => {
  it('knows what its sites are', async () => {
    const before = await site('site-1')
    expect(before).toMatchObject({ software: expect.stringMatching(/^hanse /) })
    expect(before?.organization).not.toBe('')
    league.place(SERVER).kill()
    await league.place(SERVER).exited
    await league.startPlace(SERVER)
    await expect.poll(async () => (await site('site-1'))?.connected, POLL).toBe(true)
    expect(await site('site-1')).toMatchObject({
      organization: before?.organization,
      software: before?.software,
    })
  }, 60_000)

  it('with a new key and without its state is known again by sites that go on running', async () => {
    await league.place(SERVER).stop()
    const again = await league.hanse(
      'provision',
      join(league.folder, 'project.yml'),
      '--out',
      join(league.folder, 'kits'),
      '--reissue',
      SERVER,
    )
    const kits = (again.json?.['participants'] ?? []) as { name: string; kit: string }[]
    const renewed = kits.find(({ name }) => name === SERVER)?.kit
    expect(renewed).not.toBe(league.kit(SERVER))
    const server = league.launch(SERVER, renewed)
    await server.event('ready')
    await expect
      .poll(async () => (await sites()).filter(({ connected }) => connected).length, POLL)
      .toBe(2)
    const job = await league.submit(
      await writeJob(league.folder, { name: 'after', rounds: 1, trainer: QUICK }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  }, 90_000)
})
