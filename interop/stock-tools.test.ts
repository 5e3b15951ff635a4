import { access, cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { readGlobalModel } from '../test/support/global-model.ts'
import { trainerOf, writeJob } from '../test/support/job-folder.ts'
import { BOSS, InteropLeague, LEAD, SERVER } from './support/interop-league.ts'

const stock = inject('stock')
const VECTORS = fileURLToPath(new URL('../vectors/jobs', import.meta.url))

let league: InteropLeague
let means: string
/** A finished job. */
let job: string
beforeAll(async () => {
  if (stock === null) return
  league = await InteropLeague.start({
    stock,
    kits: 'hanse',
    server: 'hanse',
    sites: { 'site-1': 'hanse', 'site-2': 'hanse' },
  })
  means = await writeJob(league.folder, {
    name: 'means',
    trainer: trainerOf(`
  const value = site === 'site-1' ? 1 : 3
  await send({
    params: { w: { dtype: 'float64', shape: [2], data: Float64Array.of(value, 2) } },
    metrics: { accuracy: 0.5 },
    meta: { NUM_STEPS_CURRENT_ROUND: 1 },
  })`),
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

describe.skipIf(stock === null)('`nvflare` against a Hanse server', () => {
  it('`job submit`, `job wait`', async () => {
    job = await league.submit(means)
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  }, 60_000)

  it('`job list`, by name and id prefix', async () => {
    const { data } = await league.nvflare('job', 'list', '-n', 'mea', '-i', job.slice(0, 8))
    expect(data).toMatchObject([
      { job_id: job, job_name: 'means', status: 'FINISHED:COMPLETED', submitter: LEAD },
    ])
    expect((await league.nvflare('job', 'list', '-n', 'other')).data).toEqual([])
  }, 60_000)

  it('`job meta`', async () => {
    const { data } = await league.nvflare('job', 'meta', job)
    expect(data).toMatchObject({
      name: 'means',
      submitter_name: LEAD,
      submitter_org: 'league',
      submitter_role: 'lead',
      job_deploy_detail: ['site-1: OK', 'site-2: OK'],
    })
  }, 60_000)

  it('`job download` brings the model', async () => {
    const model = await readGlobalModel(await league.download(job))
    expect([...model.get('w')!.data]).toEqual([2, 2])
  }, 60_000)

  it("`job logs` gives the server's log; a site's log stays at the site", async () => {
    const { data } = await league.nvflare('job', 'logs', job)
    expect(data.logs.server).toContain('workflow finished')
    const ofSite = await league.nvflare('job', 'logs', job, '--site', 'site-1')
    expect(ofSite.errorCode).toBe('LOG_NOT_FOUND')
  }, 60_000)

  it('`job clone` runs the job again under a new id; `job monitor`', async () => {
    const { data } = await league.nvflare('job', 'clone', job)
    expect(data.new_job_id).not.toBe(job)
    const monitored = await league.nvflare('job', 'monitor', data.new_job_id, '--timeout', '60')
    expect(monitored.code, monitored.text).toBe(0)
    expect(await league.wait(data.new_job_id)).toBe('FINISHED:COMPLETED')
  }, 60_000)

  it('`system status` while a job runs, `job abort`', async () => {
    const slow = await writeJob(league.folder, {
      name: 'slow',
      trainer: trainerOf('await new Promise((resolve) => setTimeout(resolve, 120_000))'),
    })
    const running = await league.submit(slow)
    await league.hanse
      .get(SERVER)!
      .event((e) => e.event === 'job' && e['job'] === running && e['status'] === 'RUNNING')
    const { data } = await league.nvflare('system', 'status')
    expect(data).toMatchObject({ server_status: 'started', jobs: [{ job_id: running }] })
    expect(data.client_status).toMatchObject([
      { client_name: 'site-1', job_id: running, status: 'started' },
      { client_name: 'site-2', job_id: running, status: 'started' },
    ])
    expect(JSON.stringify(data)).not.toContain('token')
    expect((await league.nvflare('job', 'abort', running, '--force')).code).toBe(0)
    const ended = await league.nvflare('job', 'wait', running, '--timeout', '30')
    expect(ended.errorCode).toBe('JOB_ABORTED')
  }, 90_000)

  it('`job submit --submit-token`: repeated it is the same job; other content and deleted jobs are refused', async () => {
    const token = ['--submit-token', 'run-1']
    const first = await league.nvflare('job', 'submit', '-j', means, ...token)
    const again = await league.nvflare('job', 'submit', '-j', means, ...token)
    expect(again.data.job_id).toBe(first.data.job_id)
    const { data } = await league.nvflare('job', 'list', ...token)
    expect(data).toMatchObject([{ job_id: first.data.job_id }])
    const other = await writeJob(league.folder, { name: 'other', trainer: trainerOf('') })
    const conflict = await league.nvflare('job', 'submit', '-j', other, ...token)
    expect(conflict.errorCode).toBe('SUBMIT_TOKEN_CONFLICT')
    await league.wait(first.data.job_id)
    await league.nvflare('job', 'delete', first.data.job_id, '--force')
    const deleted = await league.nvflare('job', 'submit', '-j', means, ...token)
    expect(deleted.errorCode).toBe('SUBMIT_TOKEN_JOB_DELETED')
  }, 120_000)

  it('`study`: there are none, and why', async () => {
    expect((await league.nvflare('study', 'list')).data).toMatchObject({ studies: [] })
    const refused = await league.nvflareAs(BOSS, 'study', 'show', 'heart')
    expect(refused.text).toContain('a Hanse server has no studies')
  }, 60_000)

  it('`job delete`', async () => {
    expect((await league.nvflare('job', 'delete', job, '--force')).code).toBe(0)
    expect((await league.nvflare('job', 'meta', job)).errorCode).toBe('JOB_NOT_FOUND')
  }, 60_000)

  it('`system resources`', async () => {
    const { data } = await league.nvflare('system', 'resources')
    expect(data.server).toBe('unlimited')
    // In the policy of the kits, `operate` is for people of the site's own organization.
    expect(JSON.parse(data['site-1'])).toMatchObject({ resources: { num_of_gpus: 0 } })
    expect(data['site-2']).toContain('not authorized')
  }, 60_000)

  it('`system version`', async () => {
    const { data } = await league.nvflare('system', 'version')
    expect(data).toMatchObject({ compatible: true })
    expect(data.sites.map(({ site }: { site: string }) => site)).toEqual([
      'server',
      'site-1',
      'site-2',
    ])
  }, 60_000)
})

describe.skipIf(stock === null)('The console of FLARE against a Hanse server', () => {
  it('`check_status`, `list_jobs`, `ls`, `bye`', async () => {
    const lines = [LEAD, 'check_status server', 'list_jobs', 'ls server', 'bye']
    const shown = await league.console(LEAD, lines)
    expect(shown).toContain('Engine status: started')
    expect(shown).toMatch(/site-1 .*\*{8}/)
    expect(shown).toContain('RUN DURATION')
    expect(shown).toContain('Error: a Hanse server shows nobody its files')
  }, 60_000)
})

describe.skipIf(stock === null)('The FLARE API against a Hanse server', () => {
  it('`new_secure_session`, `submit_job`, `monitor_job`, `download_job_result`; its exceptions', async () => {
    const destination = join(league.folder, 'api-result')
    // The API signs a job where it lies.
    const unknown = join(league.folder, 'xgb-horizontal')
    await cp(join(VECTORS, 'xgb-horizontal'), unknown, { recursive: true })
    const { code, text } = await league.python(
      'flare_api.py',
      LEAD,
      league.kit(LEAD),
      means,
      unknown,
      destination,
    )
    expect(code, text).toBe(0)
    const said = JSON.parse(text.trim().split('\n').at(-1)!)
    expect(said).toMatchObject({
      clients: ['site-1', 'site-2'],
      server_status: 'started',
      monitor: 'JOB_FINISHED',
      status: 'FINISHED:COMPLETED',
      submitter: LEAD,
      newest: said.job_id,
      missing_job: 'JobNotFound',
    })
    expect(said.seen.at(-1)).toBe('FINISHED:COMPLETED')
    expect(said.bad_job).toContain('XGBFedController')
    await access(said.result)
    expect([...(await readGlobalModel(said.result)).get('w')!.data]).toEqual([2, 2])
    expect(JSON.parse(await readFile(join(said.result, 'meta.json'), 'utf8')).name).toBe('means')
  }, 90_000)
})
