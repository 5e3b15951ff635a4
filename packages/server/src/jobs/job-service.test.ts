import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { folderMembers, writeArchive } from '@hanse/archive'
import type { AuditEvent, AuditLog } from '@hanse/audit'
import { type JsonObject, silentLogger } from '@hanse/contract'
import { createMemoryJobStore, deleteJob } from '@hanse/jobs'
import type { PrivacyPolicy, ServerKit } from '@hanse/provision'
import { COMMAND } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../../../../test/support/job-folder.ts'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { FakeServerJob } from '../../test/fake-server-job.ts'
import { FakeSites, resources } from '../../test/fake-sites.ts'
import { SiteRegistry } from '../sites/site-registry.ts'
import { JobService } from './job-service.ts'

let folder: string
let archive: Uint8Array
const open: AsyncDisposable[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-jobs-'))
  await mkdir(join(folder, 'upload'))
  await writeJob(join(folder, 'upload'), { trainer: trainerOf('') })
  const parts: Uint8Array[] = []
  for await (const part of writeArchive(folderMembers(join(folder, 'upload')))) parts.push(part)
  archive = Buffer.concat(parts)
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const anna = { name: 'anna', organization: 'org', role: 'lead' }

async function setUp(
  sitesToJoin: readonly string[] = ['a', 'b'],
  maxJobs = 2,
  privacyPolicy?: PrivacyPolicy,
) {
  const clock = fakeClock()
  const store = createMemoryJobStore()
  const far = new FakeSites(clock)
  const record: AuditEvent[] = []
  const statuses: string[] = []
  const processes = new Map<string, FakeServerJob>()
  const sites = new SiteRegistry(
    clock,
    {
      onPresent: ({ name }) => jobs.siteBack(name),
      onAbsent: ({ name }, why) => jobs.siteAbsent(name, why),
    },
    { maxSites: 10, heartbeatTimeoutMs: 600_000 },
  )
  const jobs: JobService = new JobService({
    cell: far.cell,
    clock,
    logger: silentLogger,
    audit: { append: async (event: AuditEvent) => void record.push(event) } as unknown as AuditLog,
    // What running jobs need of a kit.
    kit: {
      name: 'server1',
      project: 'league',
      privacyPolicy,
      settings: { maxJobs, deadClientGraceSeconds: 15 },
    } as ServerKit,
    store,
    sites,
    processes: {
      async start(jobId, runFolder) {
        await writeFile(join(runFolder, 'log.txt'), 'what the process wrote\n')
        const process = new FakeServerJob()
        processes.set(jobId, process)
        process.becomeReady()
        return process
      },
    },
    folder: join(folder, 'runs'),
    logLevel: 'info',
    onStatus: (jobId, status, reason) =>
      statuses.push(`${jobId} ${status}${reason === undefined ? '' : `: ${reason}`}`),
  })
  open.push(jobs)
  const join_ = (name: string) =>
    sites.heartbeat({
      kind: 'site',
      name,
      cell: name,
      fingerprint: '',
      issuedAt: 0,
      nonce: name,
      proven: false,
    })
  for (const name of sitesToJoin) join_(name)
  const submit = async (id: string, meta: JsonObject = {}) => {
    async function* data() {
      yield archive
    }
    await store.create(
      {
        job_id: id,
        name: 'job',
        job_folder_name: 'job',
        status: 'SUBMITTED',
        submit_time: statuses.length,
        submitter_name: 'lead',
        deploy_map: { app: ['@ALL'] },
        min_clients: 1,
        ...meta,
      },
      data(),
    )
    jobs.wake()
  }
  const until = (text: string) =>
    expect.poll(() => statuses).toContainEqual(expect.stringContaining(text))
  /** Runs a job until its process serves, and hands the process over. */
  const running = async (id: string): Promise<FakeServerJob> => {
    await submit(id)
    await until(`${id} RUNNING`)
    return processes.get(id)!
  }
  return { clock, store, far, record, statuses, sites, jobs, join: join_, submit, until, running }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

describe('a job', () => {
  it('goes from its submission to its end; results are there when the end is told', async () => {
    const { running, until, statuses, store, jobs, record } = await setUp()
    const process = await running('j1')
    expect(jobs.underway()).toEqual(['j1'])
    expect(jobs.jobsOf('a')).toEqual(['j1'])
    expect(jobs.participantsOf('j1')).toEqual(['a', 'b'])
    jobs.onProgress('j1', '{"round":1}')
    expect(jobs.progress('j1')).toBe('{"round":1}')
    process.complete()
    for (const site of ['a', 'b']) jobs.finalReport(site, 'j1', 0, '')
    await until('j1 FINISHED')
    expect(statuses).toEqual(['j1 DISPATCHED', 'j1 RUNNING', 'j1 FINISHED:COMPLETED'])
    expect((await store.blobs('j1')).map(({ name }) => name)).toEqual([
      'data',
      'log.txt',
      'workspace',
    ])
    await expect.poll(() => exists(jobs.runFolder('j1'))).toBe(false)
    await expect.poll(() => jobs.underway()).toEqual([])
    expect(jobs.progress('j1')).toBeUndefined()
    jobs.onProgress('j1', 'late')
    expect(jobs.progress('j1')).toBeUndefined()
    expect(record.map(({ act, target = '' }) => `${act} ${target}`.trim()).toSorted()).toEqual(
      [
        ...['a', 'b'].flatMap((site) => [
          `check-resources ${site}`,
          `deploy ${site}`,
          `start ${site}`,
        ]),
        'job.start',
        'job.end',
      ].toSorted(),
    )
    expect((await store.get('j1'))?.meta).toMatchObject({
      job_deploy_detail: ['a: OK', 'b: OK'],
      job_clients: [{ name: 'a' }, { name: 'b' }],
    })
  })

  it('that fails keeps its log, and says and records why', async () => {
    const { running, until, store, record, jobs } = await setUp()
    const process = await running('j1')
    process.say({ failed: true, reason: 'site a: the trainer died' })
    process.exit(1)
    await until('j1 FINISHED:EXECUTION_EXCEPTION: site a: the trainer died')
    expect((await store.get('j1'))?.meta['reason']).toBe('site a: the trainer died')
    expect((await store.blobs('j1')).map(({ name }) => name)).toContain('workspace')
    expect(record.at(-1)).toMatchObject({
      act: 'job.end',
      code: 'execution-exception',
      text: 'site a: the trainer died',
    })
    expect(await jobs.abort('j1', anna)).toBe('already-finished')
  })

  it('that no site takes ends as failed, with what each said on record', async () => {
    const { far, submit, until, record, store } = await setUp()
    for (const site of ['a', 'b']) far.answer(site, COMMAND.deploy, { refusal: 'not signed' })
    await submit('j1')
    await until('j1 FINISHED:FAILED_TO_RUN')
    expect(record.filter(({ act }) => act === 'deploy')).toMatchObject([
      { target: 'a', outcome: 'refused', code: 'refused-by-site', text: 'not signed' },
      { target: 'b', outcome: 'refused', code: 'refused-by-site', text: 'not signed' },
    ])
    expect((await store.get('j1'))?.meta['job_deploy_detail']).toEqual([
      'a: not signed',
      'b: not signed',
    ])
  })

  it('of a privacy scope that the server does not have is not run, with reason and record', async () => {
    const { submit, until, record, store, far } = await setUp(['a', 'b'], 2, {
      scopes: new Map([['open', { name: 'open', filters: [] }]]),
      defaultScope: undefined,
    })
    for (const [id, scope] of [
      ['j1', 'x'],
      ['j2', ''],
    ] as const) {
      record.length = 0
      await submit(id, { scope })
      await until(`${id} FINISHED:FAILED_TO_RUN`)
      const reason = `the server: privacy scope '${scope}' is not allowed`
      expect((await store.get(id))?.meta['reason']).toContain(reason)
      expect(record).toMatchObject([
        { act: 'deploy', outcome: 'refused', code: 'scope-not-allowed', job: id },
        { act: 'job.end', code: 'failed-to-run' },
      ])
    }
    expect(far.commands).toEqual([])
  })

  it('of a privacy scope of the server finds its filters in the run file', async () => {
    const filter = { where: 'scopes[0]', payload: 'result', component: { name: 'X' } } as const
    const { submit, until, jobs } = await setUp(['a', 'b'], 2, {
      scopes: new Map([['open', { name: 'open', filters: [filter] }]]),
      defaultScope: 'open',
    })
    await submit('j1')
    await until('j1 RUNNING')
    const run = JSON.parse(await readFile(join(jobs.runFolder('j1'), 'run.json'), 'utf8'))
    expect(run).toMatchObject({ filters: [filter] })
  })

  it('whose archive cannot be read ends as failed', async () => {
    const { submit, until } = await setUp()
    archive = Uint8Array.of(1, 2, 3)
    await submit('j1')
    await until('j1 FINISHED:FAILED_TO_RUN')
  })

  it('that found no resources is tried again later, not at once', async () => {
    const { far, submit, store, clock, until } = await setUp()
    for (const site of ['a', 'b'])
      far.answer(site, COMMAND.checkResource, resources(false, 'no GPU'))
    await submit('j1')
    const tries = async () => Number((await store.get('j1'))?.meta['schedule_count'] ?? 0)
    await expect.poll(tries).toBe(1)
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(await tries()).toBe(1)
    for (const site of ['a', 'b']) far.answer(site, COMMAND.checkResource, resources(true, 't'))
    clock.advance(10_000)
    await until('j1 RUNNING')
  })

  it('waits for a mandatory site and starts when it connects', async () => {
    const { submit, until, statuses, join } = await setUp(['a'])
    await submit('j1', { mandatory_clients: ['b'] })
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(statuses).toEqual([])
    join('b')
    await until('j1 RUNNING')
  })

  it('runs beside another, but no more of them than the server allows', async () => {
    const { running, submit, until, jobs, statuses } = await setUp(['a', 'b'], 2)
    const first = await running('j1')
    await running('j2')
    await submit('j3')
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(jobs.underway().toSorted()).toEqual(['j1', 'j2'])
    expect(statuses.some((status) => status.startsWith('j3'))).toBe(false)
    first.complete()
    for (const site of ['a', 'b']) jobs.finalReport(site, 'j1', 0, '')
    await until('j3 RUNNING')
    expect(jobs.underway().toSorted()).toEqual(['j2', 'j3'])
  })
})

describe('a word to end', () => {
  it('ends a job that waits', async () => {
    const { submit, jobs, store, statuses } = await setUp([])
    await submit('j1')
    expect(await jobs.abort('j1', anna)).toBe('not-started')
    expect((await store.get('j1'))?.state).toBe('FINISHED:ABORTED')
    expect(statuses).toEqual(['j1 FINISHED:ABORTED: aborted by anna before it ran'])
    expect(await jobs.abort('j2', anna)).toBe('unknown')
  })

  it('ends a running job with its sites', async () => {
    const { running, jobs, until, far } = await setUp()
    await running('j1')
    expect(await jobs.abort('j1', anna)).toBe('signalled')
    await until('j1 FINISHED:ABORTED: aborted by anna')
    expect(far.commandsTo('a').at(-1)).toBe(COMMAND.abort)
  })

  it.each([
    [
      'aborted',
      async (id: string, { jobs }: Awaited<ReturnType<typeof setUp>>) => {
        await jobs.abort(id, anna)
      },
    ],
    [
      'deleted',
      async (id: string, { store }: Awaited<ReturnType<typeof setUp>>) => {
        await deleteJob(store, id)
      },
    ],
  ])('holds for a job that is %s while its run is prepared', async (_how, act) => {
    const all = await setUp()
    const { store, submit, statuses, far, jobs } = all
    // Read slowly: the schedule has chosen the job, and nothing is known of it yet.
    const gate = Promise.withResolvers<void>()
    const chosen = Promise.withResolvers<void>()
    const read = store.readBlob.bind(store)
    store.readBlob = async function* (...given) {
      chosen.resolve()
      await gate.promise
      yield* read(...given)
    }
    await submit('j1')
    await chosen.promise
    await act('j1', all)
    gate.resolve()
    await expect.poll(() => exists(jobs.runFolder('j1'))).toBe(false)
    expect(statuses.filter((status) => /DISPATCHED|RUNNING/.test(status))).toEqual([])
    expect(far.commands.filter((command) => command.includes(COMMAND.deploy))).toEqual([])
  })

  it('of the server ends what runs and leaves what waits', async () => {
    const { running, submit, jobs, store, statuses } = await setUp(['a', 'b'], 1)
    await running('j1')
    await submit('j2')
    await jobs.stop()
    expect(statuses.at(-1)).toBe('j1 FINISHED:ABORTED: aborted by the server, which was stopped')
    expect((await store.get('j2'))?.state).toBe('SUBMITTED')
  })

  it('of the server leaves a job whose run is only prepared', async () => {
    const { submit, jobs, store } = await setUp()
    const chosen = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const read = store.readBlob.bind(store)
    store.readBlob = async function* (...given) {
      chosen.resolve()
      await gate.promise
      yield* read(...given)
    }
    await submit('j1')
    await chosen.promise
    const stopped = jobs.stop()
    gate.resolve()
    await stopped
    expect((await store.get('j1'))?.state).toBe('SUBMITTED')
  })
})

describe('a server that starts anew', () => {
  it('gives up what ran before, and clears what it left', async () => {
    const { store, jobs, record, submit } = await setUp([])
    await submit('j1', { status: 'RUNNING' })
    await submit('j2', { status: 'FINISHED:COMPLETED' })
    await mkdir(join(folder, 'runs', 'j1'), { recursive: true })
    await jobs.start()
    expect((await store.get('j1'))?.state).toBe('FINISHED:ABANDONED')
    expect((await store.get('j1'))?.meta['reason']).toMatch(/server stopped/)
    expect((await store.get('j2'))?.state).toBe('FINISHED:COMPLETED')
    expect(await exists(join(folder, 'runs', 'j1'))).toBe(false)
    expect(record).toMatchObject([{ act: 'job.end', job: 'j1', code: 'job-abandoned' }])
    expect(record[0]?.text).toMatch(/server stopped/)
  })

  it('tells sites to end what it does not know', async () => {
    const { running, jobs, until } = await setUp()
    const process = await running('j1')
    expect(jobs.reported('a', ['j1', 'old'])).toEqual(['old'])
    process.exit(null, 'SIGKILL')
    await until('j1 FINISHED:ABNORMAL')
    await expect.poll(() => jobs.reported('a', ['j1'])).toEqual(['j1'])
  })
})
