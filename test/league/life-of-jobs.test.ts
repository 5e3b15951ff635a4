import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

let league: League
beforeAll(async () => {
  league = await League.start()
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const SEND = `await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`
const QUICK = trainerOf(SEND)
/** Logs one number of each site in each round; the words that it prints are the site's own affair. */
const TALKATIVE = trainerOf(
  `log('loss', site === 'site-1' ? 0.5 : 0.25, { step: model.currentRound ?? 0 })
  console.log('the secret of ' + site)
  ${SEND}`,
).replace('import { ', 'import { log, ')
/** Takes long enough for two to be seen side by side. */
const PATIENT = trainerOf(`await new Promise((resolve) => setTimeout(resolve, 1500))
  ${SEND}`)

const statusOf = async (job: string) => String((await league.show(job))['status'])
const runsOf = (place: string) => readdir(join(league.kit(place), 'state', 'runs'))

describe('the life of jobs', () => {
  it('brings the numbers that trainers log to the result, and nothing that they print', async () => {
    const job = await league.submit(
      await writeJob(league.folder, { name: 'talkative', rounds: 2, trainer: TALKATIVE }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const folder = await league.download(job)
    const lines = (await readFile(join(folder, 'workspace', 'metrics.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ site, key, value, step }) => [site, key, value, step]).toSorted()).toEqual([
      ['site-1', 'loss', 0.5, 0],
      ['site-1', 'loss', 0.5, 1],
      ['site-2', 'loss', 0.25, 0],
      ['site-2', 'loss', 0.25, 1],
    ])
    const files = await readdir(folder, { recursive: true, withFileTypes: true })
    for (const file of files.filter((entry) => entry.isFile()))
      expect(
        (await readFile(join(file.parentPath, file.name))).includes('the secret of site'),
        file.name,
      ).toBe(false)
  }, 120_000)

  it('runs two jobs at once, each with its own result', async () => {
    const folders = await Promise.all(
      ['one', 'two'].map((name) => writeJob(league.folder, { name, rounds: 1, trainer: PATIENT })),
    )
    const jobs = await Promise.all(folders.map((folder) => league.submit(folder)))
    await expect
      .poll(() => Promise.all(jobs.map(statusOf)), { timeout: 30_000 })
      .toEqual(['RUNNING', 'RUNNING'])
    expect(await Promise.all(jobs.map((job) => league.wait(job)))).toEqual([
      'FINISHED:COMPLETED',
      'FINISHED:COMPLETED',
    ])
  }, 120_000)

  it('waits for a mandatory site that is away, and starts when it comes', async () => {
    league.place('site-2').kill('SIGTERM')
    await league.place('site-2').exited
    const job = await league.submit(
      await writeJob(league.folder, {
        name: 'mandatory',
        rounds: 1,
        minClients: 1,
        mandatoryClients: ['site-2'],
        trainer: QUICK,
      }),
    )
    expect(await statusOf(job)).toBe('SUBMITTED')
    await league.startPlace('site-2')
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  }, 120_000)

  it('clones and deletes', async () => {
    const job = await league.submit(
      await writeJob(league.folder, { name: 'first', rounds: 1, trainer: QUICK }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const clone = String((await league.asLead('job', 'clone', job)).json?.['job'])
    expect(clone).not.toBe(job)
    expect(await league.wait(clone)).toBe('FINISHED:COMPLETED')
    expect((await league.show(clone))['cloned_from']).toBe(job)
    expect((await league.asLead('job', 'delete', job)).code).toBe(0)
    expect((await league.asLead('job', 'show', job)).code).not.toBe(0)
    // The clone has its own copy.
    await league.download(clone)
  }, 120_000)

  it('recorded each step at each place once, with who wanted it', async () => {
    const job = await league.submit(
      await writeJob(league.folder, { name: 'recorded', rounds: 1, trainer: QUICK }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const actsAt = async (place: string) =>
      (await league.record(place)).flatMap((entry) =>
        entry['job'] === job ? [`${entry['act']} ${entry['outcome']}`] : [],
      )
    await expect.poll(() => actsAt('site-1'), { timeout: 10_000 }).toContain('job.end accepted')
    expect((await actsAt('site-1')).toSorted()).toEqual([
      'check-resources accepted',
      'deploy accepted',
      'job.end accepted',
      'start accepted',
    ])
    const server = await actsAt(SERVER)
    for (const act of ['check-resources', 'deploy', 'start'])
      expect(server.filter((entry) => entry === `${act} accepted`)).toHaveLength(2)
    const deployed = (await league.record('site-1')).find(
      (entry) => entry['job'] === job && entry['act'] === 'deploy',
    )
    expect(JSON.stringify(deployed)).toContain(LEAD)
  }, 120_000)

  const jobProcessAt = async (place: string, job: string) =>
    (await league.processes()).find(
      ({ command }) =>
        command.includes('job-process') &&
        command.includes(league.kit(place)) &&
        command.includes(job),
    )

  it('ends only the job whose process at a site is killed, and says so', async () => {
    const job = await league.submit(
      await writeJob(league.folder, { name: 'killed', rounds: 50, trainer: PATIENT }),
    )
    await expect.poll(() => statusOf(job), { timeout: 30_000 }).toBe('RUNNING')
    await expect.poll(() => jobProcessAt('site-2', job), { timeout: 30_000 }).toBeDefined()
    process.kill((await jobProcessAt('site-2', job))!.pid, 'SIGKILL')
    expect(await league.wait(job)).toBe('FINISHED:EXECUTION_EXCEPTION')
    expect(String((await league.show(job))['reason'])).toMatch(/site-2.*SIGKILL/s)
    await expect
      .poll(async () => (await league.processes()).filter(({ command }) => command.includes(job)), {
        timeout: 15_000,
      })
      .toEqual([])
  }, 120_000)

  it('does not wait for the grace when a site was started anew', async () => {
    const job = await league.submit(
      await writeJob(league.folder, { name: 'restarted', rounds: 50, trainer: PATIENT }),
    )
    await expect.poll(() => jobProcessAt('site-2', job), { timeout: 30_000 }).toBeDefined()
    await expect.poll(() => statusOf(job), { timeout: 30_000 }).toBe('RUNNING')
    league.place('site-2').kill('SIGKILL')
    await league.place('site-2').exited
    const killedAt = Date.now()
    await league.startPlace('site-2')
    expect(await league.wait(job)).toBe('FINISHED:EXECUTION_EXCEPTION')
    expect(Date.now() - killedAt).toBeLessThan(14_000)
    expect(String((await league.show(job))['reason'])).toMatch(/site-2.*started anew/s)
  }, 120_000)

  it('leaves no folder of a run at the server, and a bounded number at a site', async () => {
    await expect.poll(() => runsOf(SERVER), { timeout: 10_000 }).toEqual([])
    expect((await runsOf('site-1')).length).toBeLessThanOrEqual(20)
  })
})
