import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League, SERVER } from '../support/league.ts'

/** Stock's grace in Hanse kits, and what scheduling and a slow machine may add. */
const GRACE_MS = 15_000

let league: League
beforeEach(async () => {
  league = await League.start()
}, 120_000)
afterEach(() => league?.[Symbol.asyncDispose]())

/** Answers at once; `site-2` never answers in the round given. */
const stuckInRound = (round: number) =>
  trainerOf(`
  if (site === 'site-2' && (model.currentRound ?? 0) === ${round}) await new Promise(() => setInterval(() => {}, 1000))
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(site === 'site-1' ? 1 : 3) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

const QUICK = trainerOf(`
  await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(site === 'site-1' ? 1 : 3) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

/** The job's processes of one kind at one place, found by what they run. */
async function processesOf(job: string, fits: (command: string) => boolean) {
  return (await league.processes()).filter(({ command }) => command.includes(job) && fits(command))
}

async function untilProcess(job: string, fits: (command: string) => boolean): Promise<number> {
  for (;;) {
    const [found] = await processesOf(job, fits)
    if (found !== undefined) return found.pid
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Resolves when the site's contribution to the round under way has arrived. */
async function untilArrived(job: string, site: string): Promise<void> {
  for (;;) {
    const jobs = ((await league.asLead('status')).json?.['jobs'] ?? []) as {
      readonly job: string
      readonly progress?: { readonly sites: { readonly name: string; readonly state: string }[] }
    }[]
    const sites = jobs.find((candidate) => candidate.job === job)?.progress?.sites ?? []
    if (sites.some(({ name, state }) => name === site && state === 'contributed')) return
  }
}

async function expectNoOrphans(): Promise<void> {
  expect(await league.leftovers()).toEqual([])
}

const runJob = async (folder: string) => {
  const job = await league.submit(folder)
  return { job, status: await league.wait(job) }
}

describe('kill -9 of a site in a round', () => {
  it('lets the job go on when enough sites are left, and the site takes part in the next job', async () => {
    const folder = await writeJob(league.folder, {
      rounds: 2,
      minClients: 1,
      clients: 2,
      trainer: stuckInRound(0),
    })
    const job = await league.submit(folder)
    await untilArrived(job, 'site-1')
    const killedAt = Date.now()
    league.place('site-2').kill('SIGKILL')
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    expect(Date.now() - killedAt).toBeLessThan(GRACE_MS + 30_000)
    await expectNoOrphans()

    await league.startPlace('site-2')
    const next = await runJob(
      await writeJob(league.folder, { name: 'next', rounds: 1, trainer: QUICK }),
    )
    expect(next.status).toBe('FINISHED:COMPLETED')
    const model = await readGlobalModel(await league.download(next.job))
    expect([...model.get('w')!.data]).toEqual([2])
  }, 180_000)

  it('ends the job with the reason when too few are left', async () => {
    const folder = await writeJob(league.folder, {
      rounds: 2,
      minClients: 2,
      trainer: stuckInRound(0),
    })
    const job = await league.submit(folder)
    await untilArrived(job, 'site-1')
    league.place('site-2').kill('SIGKILL')
    expect(await league.wait(job)).toBe('FINISHED:EXECUTION_EXCEPTION')
    expect(String((await league.show(job))['reason'])).toMatch(/site-2/)
    await expectNoOrphans()
  }, 180_000)
})

describe('kill -9 of a part of a job', () => {
  it('ends only that job when a trainer is killed, and says so', async () => {
    const folder = await writeJob(league.folder, { trainer: stuckInRound(0) })
    const job = await league.submit(folder)
    await untilArrived(job, 'site-1')
    const pid = await untilProcess(
      job,
      (command) => command.includes('train.ts') && command.includes('site-2'),
    )
    process.kill(pid, 'SIGKILL')
    expect(await league.wait(job)).toBe('FINISHED:EXECUTION_EXCEPTION')
    expect(String((await league.show(job))['reason'])).toMatch(/site-2.*trainer/s)
    const next = await runJob(await writeJob(league.folder, { name: 'next', trainer: QUICK }))
    expect(next.status).toBe('FINISHED:COMPLETED')
    await expectNoOrphans()
  }, 180_000)

  it("ends only that job when the server's job is killed, and says so", async () => {
    const folder = await writeJob(league.folder, { trainer: stuckInRound(0) })
    const job = await league.submit(folder)
    await untilArrived(job, 'site-1')
    const pid = await untilProcess(
      job,
      (command) => command.includes('job-process') && command.includes(SERVER),
    )
    process.kill(pid, 'SIGKILL')
    expect(await league.wait(job)).toBe('FINISHED:ABNORMAL')
    expect(String((await league.show(job))['reason'])).toMatch(/server.*SIGKILL/s)
    const next = await runJob(await writeJob(league.folder, { name: 'next', trainer: QUICK }))
    expect(next.status).toBe('FINISHED:COMPLETED')
    await expectNoOrphans()
  }, 180_000)
})

describe('kill -9 of the server', () => {
  it('keeps what is finished, says what became of what ran, and gets its sites back', async () => {
    const finished = await runJob(
      await writeJob(league.folder, { name: 'finished', trainer: QUICK }),
    )
    const running = await league.submit(
      await writeJob(league.folder, { name: 'running', trainer: stuckInRound(0) }),
    )
    await untilArrived(running, 'site-1')
    league.place(SERVER).kill('SIGKILL')
    await league.place(SERVER).exited
    await league.startPlace(SERVER)
    const restartedAt = Date.now()
    for (;;) {
      const sites = ((await league.asLead('status')).json?.['sites'] ?? []) as {
        connected: boolean
      }[]
      if (sites.filter(({ connected }) => connected).length === 2) break
    }
    expect(Date.now() - restartedAt).toBeLessThan(15_000)
    expect((await league.show(finished.job))['status']).toBe('FINISHED:COMPLETED')
    const model = await readGlobalModel(await league.download(finished.job))
    expect([...model.get('w')!.data]).toEqual([2])
    const abandoned = await league.show(running)
    expect(abandoned['status']).toBe('FINISHED:ABANDONED')
    expect(String(abandoned['reason'])).toMatch(/server/)
    const next = await runJob(await writeJob(league.folder, { name: 'next', trainer: QUICK }))
    expect(next.status).toBe('FINISHED:COMPLETED')
    await expectNoOrphans()
  }, 240_000)
})

describe('a word to stop', () => {
  it('aborts a job and leaves nothing of it', async () => {
    const job = await league.submit(await writeJob(league.folder, { trainer: stuckInRound(0) }))
    await untilArrived(job, 'site-1')
    expect((await league.asLead('job', 'abort', job)).code).toBe(0)
    expect(await league.wait(job)).toBe('FINISHED:ABORTED')
    await expectNoOrphans()
  }, 120_000)

  it('ends a site and a server at SIGTERM, with code 0 and no process left', async () => {
    league.place('site-2').kill('SIGTERM')
    expect(await league.place('site-2').exited).toMatchObject({ code: 0 })
    league.place(SERVER).kill('SIGTERM')
    expect(await league.place(SERVER).exited).toMatchObject({ code: 0 })
    const left = await league.processes()
    expect(
      left.filter(({ command }) => command.includes('site-2') || command.includes(SERVER)),
    ).toEqual([])
  }, 60_000)
})
