import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { runHanse } from '../test/support/hanse.ts'
import { BOSS, InteropLeague, LEAD, SERVER } from './support/interop-league.ts'
import { type MixedJobOptions, mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')
const POLL = { timeout: 60_000, interval: 1_000 }
const BOTH: MixedJobOptions = {
  name: 'both',
  rounds: 2,
  python: ['site-1'],
  typescript: ['site-2'],
}
/** Goes on for minutes unless it is ended. */
const LONG: MixedJobOptions = { ...BOTH, name: 'long', rounds: 200, pauseMs: 1_000 }

let league: InteropLeague
const hanse = (...args: string[]) =>
  runHanse([...args, '--json', '--as', league.kit(BOSS)], league.env)
const submit = async (options: MixedJobOptions) =>
  league.submit(await writeMixedJob(league.folder, options))
const status = async (job: string) => (await league.nvflare('job', 'meta', job)).data?.status
const isRunning = (job: string) => expect.poll(() => status(job), POLL).toBe('RUNNING')

interface Site {
  readonly name: string
  readonly connected: boolean
  readonly software: string
  readonly jobs: readonly string[]
}
const sites = async () => ((await hanse('status')).json?.['sites'] ?? []) as Site[]
const bothAreBack = () =>
  expect.poll(async () => (await sites()).filter(({ connected }) => connected).length, POLL).toBe(2)
/** Nobody runs anything, by their own account. */
const allAreIdle = () =>
  expect
    .poll(async () => {
      const { data } = await league.nvflareAs(BOSS, 'system', 'status', 'client')
      return data?.client_status?.map(({ status }: { status: string }) => status)
    }, POLL)
    .toEqual(['no_jobs', 'no_jobs'])
/** Both take part in a job from its start to its end. */
async function bothLearn(): Promise<void> {
  const job = await submit(BOTH)
  expect(await league.wait(job), await league.logs()).toBe('FINISHED:COMPLETED')
  const file = join(await league.download(job), 'workspace', 'models', 'server.npy')
  const model = [...parseNpy(new Uint8Array(await readFile(file))).data].map(Number)
  expect(model).toEqual(mixedModel(BOTH).map((value) => expect.closeTo(value, 5)))
}

describe.skipIf(stock === null)(
  'A Hanse server, a FLARE site and a Hanse site, when things break',
  () => {
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits: 'hanse',
        server: 'hanse',
        sites: { 'site-1': 'stock', 'site-2': 'hanse' },
        spareSites: ['site-3'],
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it('the FLARE site is killed in a job: the job says so; started again it takes part in the next', async () => {
      const job = await submit(LONG)
      await isRunning(job)
      await league.stock.get('site-1')!.kill()
      expect(await league.wait(job)).toMatch(/^FINISHED:(EXECUTION_EXCEPTION|ABNORMAL)/)
      const { data } = await league.nvflare('job', 'meta', job)
      expect(data.reason).toContain('site-1')
      await league.startSite('site-1')
      await bothAreBack()
      await bothLearn()
    }, 300_000)

    it('the Hanse server is killed in a job: both sites end their part and come back by themselves', async () => {
      const job = await submit(LONG)
      await isRunning(job)
      const before = await sites()
      await league.restartServer()
      expect(await status(job)).toBe('FINISHED:ABANDONED')
      await bothAreBack()
      expect((await sites()).map(({ name, software }) => [name, software])).toEqual(
        before.map(({ name, software }) => [name, software]),
      )
      await allAreIdle()
      await bothLearn()
    }, 300_000)

    it.each(['nvflare', 'hanse'])(
      '`%s job abort` ends a running job at both sites',
      async (tool) => {
        const job = await submit(LONG)
        await isRunning(job)
        if (tool === 'nvflare') await league.nvflare('job', 'abort', job, '--force')
        else await hanse('job', 'abort', job)
        await expect.poll(() => status(job), POLL).toBe('FINISHED:ABORTED')
        await allAreIdle()
      },
      180_000,
    )

    it('a FLARE site that sends what it should not is refused, on record, and harms nobody', async () => {
      const job = await submit(LONG)
      await isRunning(job)
      const { code, text } = await league.python(
        'rogue_site.py',
        league.kit('site-3'),
        'site-3',
        'site-2',
        job,
      )
      expect(code, text).toBe(0)
      const said = JSON.parse(text.trim().split('\n').at(-1)!)
      expect(said.honest).toMatch(/^ok/)
      expect(said.unknown_type).toMatch(/^invalid_request/)
      for (const lie of ['another_name', 'another_token', 'as_server', 'to_job'])
        expect(`${lie} ${said[lie]}`).toMatch(/unauthenticated|target_unreachable|timeout/)
      expect(said.still_honest).toMatch(/^ok/)
      // Nobody was stopped, and the job goes on without having failed.
      expect(await status(job)).toBe('RUNNING')
      const there = (await sites()).filter(({ connected }) => connected)
      expect(there.map(({ name }) => name)).toEqual(['site-1', 'site-2'])
      const { stdout } = await runHanse(
        ['audit', 'show', league.kit(SERVER), '--refused', '--json'],
        league.env,
      )
      expect(stdout).toContain("the token belongs to another name than 'site-2'")
      expect(stdout).toContain('site-3')
      await expect(access('/tmp/should-never-be')).rejects.toMatchObject({ code: 'ENOENT' })
      await league.nvflare('job', 'abort', job, '--force')
      await expect.poll(() => status(job), POLL).toBe('FINISHED:ABORTED')
    }, 180_000)
  },
)

describe.skipIf(stock === null)(
  'A FLARE server, a FLARE site and a Hanse site, when things break',
  () => {
    beforeAll(async () => {
      league = await InteropLeague.start({
        stock: stock!,
        kits: 'stock',
        server: 'stock',
        sites: { 'site-1': 'stock', 'site-2': 'hanse' },
      })
    }, 120_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it('the FLARE server is killed in a job: the Hanse site ends its part and comes back by itself', async () => {
      const job = await submit(LONG)
      await isRunning(job)
      await expect.poll(() => siteEvents('job-started'), POLL).toContain(job)
      await league.restartServer()
      await expect.poll(() => siteEvents('job-ended'), POLL).toContain(job)
      await bothAreBack()
      await bothLearn()
    }, 300_000)

    it('a Hanse site is killed and started again: it takes part in the next job', async () => {
      league.hanse.get('site-2')!.kill()
      await league.hanse.get('site-2')!.exited
      await league.startSite('site-2')
      await bothAreBack()
      await bothLearn()
    }, 300_000)

    it.each(['nvflare', 'hanse'])(
      '`%s job abort` ends a running job at both sites',
      async (tool) => {
        const job = await submit(LONG)
        await isRunning(job)
        await expect.poll(() => siteEvents('job-started'), POLL).toContain(job)
        if (tool === 'nvflare') await league.nvflare('job', 'abort', job, '--force')
        else await runHanse(['job', 'abort', job, '--json', '--as', league.kit(LEAD)], league.env)
        await expect.poll(() => status(job), POLL).toBe('FINISHED:ABORTED')
        await expect.poll(() => siteEvents('job-ended'), POLL).toContain(job)
      },
      180_000,
    )
  },
)

/** Jobs of which the Hanse site has told that event. */
function siteEvents(event: string): unknown[] {
  return league.hanse
    .get('site-2')!
    .events.filter((one) => one.event === event)
    .map((one) => one['job'])
}
