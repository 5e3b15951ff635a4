import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { trainerOf, writeJob } from '../test/support/job-folder.ts'
import { BOSS, InteropLeague, LEAD, SERVER } from './support/interop-league.ts'
import { writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')

let league: InteropLeague
let slow: string
beforeAll(async () => {
  if (stock === null) return
  league = await InteropLeague.start({
    stock,
    kits: 'hanse',
    server: 'hanse',
    sites: { 'site-1': 'hanse', 'site-2': 'stock' },
  })
  slow = await writeJob(league.folder, {
    name: 'slow',
    minClients: 1,
    meta: { deploy_map: { app: ['server', 'site-1'] } },
    trainer: trainerOf('await new Promise((resolve) => setTimeout(resolve, 120_000))'),
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const asBoss = (...args: string[]) => league.nvflareAs(BOSS, ...args)
const clients = async (): Promise<string[]> =>
  ((await asBoss('system', 'status')).data?.clients ?? []).map(
    ({ client_name }: { client_name: string }) => client_name,
  )
const POLL = { timeout: 40_000, interval: 1_000 }

describe.skipIf(stock === null)(
  '`nvflare` operates a Hanse server, a Hanse site and a FLARE site',
  () => {
    it('`job stats` of a running job; `show_stats`, `show_errors`, `reset_errors` of the FLARE API', async () => {
      const job = await league.submit(slow)
      await league.hanse
        .get(SERVER)!
        .event((e) => e.event === 'job' && e['job'] === job && e['status'] === 'RUNNING')
      await expect
        .poll(async () => {
          const { data } = await league.nvflare('job', 'stats', job)
          return JSON.stringify(data)
        }, POLL)
        .toContain('"current_task_name":"train"')
      const { code, text } = await league.python('flare_info.py', LEAD, league.kit(LEAD), job)
      expect(code, text).toBe(0)
      const said = JSON.parse(text.trim().split('\n').at(-1)!)
      expect(said.stats).toMatchObject({
        server: { ServerRunner: { job_id: job, status: 'started' } },
        'site-1': { ClientRunner: { job_id: job, current_task_name: 'train' } },
      })
      expect(said.errors.server.ServerRunner.warning).toEqual([
        expect.stringContaining('no persistor of that name'),
      ])
      expect(said.errors_after_reset.server).toEqual({})
      expect(said.not_running).toBe('JobNotRunning')
      expect((await league.nvflare('job', 'log-config', job, 'DEBUG')).code).toBe(0)
      expect((await league.nvflare('job', 'abort', job, '--force')).code).toBe(0)
      expect((await league.nvflare('job', 'wait', job, '--timeout', '30')).errorCode).toBe(
        'JOB_ABORTED',
      )
    }, 120_000)

    it('`system log-config`: levels everywhere, the layouts of FLARE at FLARE sites only', async () => {
      expect((await asBoss('system', 'log-config', 'DEBUG')).code).toBe(0)
      expect((await asBoss('system', 'log-config', 'INFO', '--site', 'site-1')).code).toBe(0)
      expect((await asBoss('system', 'log-config', 'concise', '--site', 'site-2')).code).toBe(0)
      const refused = await asBoss('system', 'log-config', 'concise', '--site', 'server')
      expect(refused.text).toContain('layouts such as concise and full are not in Hanse')
      await asBoss('system', 'log-config', 'reload')
    }, 120_000)

    it('`system disable-client` and `enable-client`: both kinds of sites are out, and come back by themselves', async () => {
      for (const site of ['site-1', 'site-2']) {
        const { data } = await asBoss('system', 'disable-client', site, '--force')
        expect(data).toMatchObject({ client_name: site, state: 'disabled', rejoin_allowed: false })
      }
      expect(await clients()).toEqual([])
      for (const site of ['site-1', 'site-2']) {
        const { data } = await asBoss('system', 'enable-client', site, '--force')
        expect(data).toMatchObject({ client_name: site, state: 'enabled', was_disabled: true })
      }
      await expect.poll(clients, POLL).toEqual(['site-1', 'site-2'])
    }, 120_000)

    it('the error log that a FLARE site sends of a job: `list_job_components`, `download_job_components`', async () => {
      const options = { name: 'broken', rounds: 1, python: ['site-2'], typescript: [] }
      const folder = await writeMixedJob(league.folder, options)
      await writeFile(
        join(folder, 'app_python', 'custom', 'train.py'),
        'raise RuntimeError("no data here")\n',
      )
      const job = await league.submit(folder)
      expect(await league.wait(job)).not.toContain('COMPLETED')
      const said = async () => {
        const { text } = await league.python('flare_components.py', LEAD, league.kit(LEAD), job)
        return text
      }
      await expect.poll(said, POLL).toContain('ERRORLOG_site-2')
      const { names, texts } = JSON.parse((await said()).trim().split('\n').at(-1)!)
      expect(names).toContain('ERRORLOG_site-2')
      expect(texts['ERRORLOG_site-2']).toContain('no data here')
    }, 180_000)

    it('`get_client_env` of the FLARE API', async () => {
      const { code, text } = await league.python('flare_env.py', BOSS, league.kit(BOSS))
      expect(code, text).toBe(0)
      expect(JSON.parse(text.trim().split('\n').at(-1)!)).toMatchObject([
        { site_name: 'site-1', secure_mode: true },
        { site_name: 'site-2', secure_mode: true },
      ])
    }, 60_000)

    it('what Hanse does not do says why: files of the server, commands to jobs', async () => {
      const { code, text } = await league.python('flare_refused.py', BOSS, league.kit(BOSS))
      expect(code, text).toBe(0)
      const said = JSON.parse(text.trim().split('\n').at(-1)!)
      expect(said.ls).toContain('shows nobody its files')
      expect(said.remove_client).toContain('disable_client keeps it out')
    }, 60_000)

    it('`system restart` of sites, and of the server, whose sites come back', async () => {
      const sites = await asBoss('system', 'restart', 'client', '--force', '--timeout', '60')
      expect(sites.code, sites.text).toBe(0)
      await expect.poll(clients, POLL).toEqual(['site-1', 'site-2'])
      const server = await asBoss('system', 'restart', 'server', '--force', '--timeout', '60')
      expect(server.code, server.text).toBe(0)
      await expect.poll(clients, POLL).toEqual(['site-1', 'site-2'])
    }, 180_000)

    it('`system shutdown`: not the server while sites are there; then all of them', async () => {
      const early = await asBoss('system', 'shutdown', 'server', '--force')
      expect(early.text).toContain('one or more clients are still running')
      const refused = await league.nvflare('system', 'shutdown', 'all', '--force')
      expect(refused.text).toContain("site-2: user 'lead@example.org' is not authorized")
      const all = await asBoss('system', 'shutdown', 'all', '--force', '--timeout', '60')
      expect(all.code, all.text).toBe(0)
      expect((await league.hanse.get(SERVER)!.exited).code).toBe(0)
      expect((await league.hanse.get('site-1')!.exited).code).toBe(0)
    }, 120_000)
  },
)
