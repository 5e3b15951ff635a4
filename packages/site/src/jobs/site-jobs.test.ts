import { access, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import type { AuditEvent } from '@hanse/audit'
import { type Cell, createCell } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry, type FobsValue } from '@hanse/fobs'
import type { PrivacyPolicy } from '@hanse/provision'
import {
  AdminMessage,
  adminCodecs,
  COMMAND,
  COMMAND_HEADER,
  commandSite,
  fobsOfJson,
  platformCodecs,
  type Shareable,
} from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../../../../test/support/job-folder.ts'
import { LinkedCells } from '../../../session/test/linked-cells.ts'
import { appArchive, fakeAudit, metaOf, siteKit, TestPeople } from '../../test/site-fixtures.ts'
import { SITE_JOB_TOPIC } from '../job-process/site-job-protocol.ts'
import type { RunningJob, SiteJobEnding } from './site-job.ts'
import { SiteJobs } from './site-jobs.ts'
import { SubmissionMemory } from './submission-memory.ts'

const people = new TestPeople()
const FILTER = { where: 'scopes[0]', payload: 'result', component: { name: 'X' } } as const
const CAREFUL: PrivacyPolicy = {
  scopes: new Map([
    ['open', { name: 'open', filters: [] }],
    ['careful', { name: 'careful', filters: [FILTER] }],
  ]),
  defaultScope: 'careful',
}
let folder: string
let archive: Uint8Array
let cells: LinkedCells
let site: Cell
let jobs: SiteJobs
let record: AuditEvent[]
let refusals: AuditEvent[]
let events: string[]
/** Final reports as the server gets them; answered with `reportCode`. */
let reports: string[]
let reportCode: string
let started: Map<string, FakeJob>
let submissions: SubmissionMemory
let startFault: Error | undefined
/** How the site was told to end, and levels of its log that were set. */
let told: string[]

/** A job's process that a test lets live and die. */
class FakeJob implements RunningJob {
  readonly jobId: string
  readonly cellName: string
  readonly words: string[] = []
  isStopping = false
  readonly #ended = Promise.withResolvers<SiteJobEnding>()
  readonly ended = this.#ended.promise

  constructor(jobId: string) {
    this.jobId = jobId
    this.cellName = `site-1.${jobId}`
  }

  end(code = 0, reason = ''): void {
    this.#ended.resolve({ code, reason })
  }

  explain(words: string): void {
    this.words.push(words)
  }

  async abort(): Promise<void> {
    this.isStopping = true
    this.end()
    await this.ended
  }

  kill(): void {
    void this.abort()
  }

  readonly stats: Record<string, string | number> = {}

  works(task: string, tasksDone: number): void {
    Object.assign(this.stats, { task, tasksDone })
  }

  setLogLevel(level: string): void {
    this.words.push(`log ${level}`)
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-site-'))
  archive = await appArchive(await writeJob(join(folder, 'upload'), { trainer: trainerOf('') }))
  cells = await LinkedCells.open()
  site = await cells.linked('site-1')
  refusals = []
  events = []
  reports = []
  reportCode = 'ok'
  started = new Map()
  startFault = undefined
  told = []
  cells.server.handle('task', 'report_job_failure', ({ body }) => {
    if (body instanceof Map)
      reports.push([...body.values()].map((value) => String(value)).join(' '))
    return { returnCode: reportCode }
  })
  await mkdir(join(folder, 'runs', 'left-over'), { recursive: true })
  submissions = await SubmissionMemory.open(join(folder, 'submissions.jsonl'), systemClock)
  await openJobs()
})
afterEach(async () => {
  await jobs[Symbol.asyncDispose]()
  await submissions[Symbol.asyncDispose]()
  await cells[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function openJobs(privacyPolicy?: PrivacyPolicy): Promise<void> {
  const { audit, events: recorded } = fakeAudit()
  record = recorded
  const kit = siteKit(await people.of('site-1', ''))
  jobs = await SiteJobs.open({
    cell: site,
    kit: { ...kit, privacyPolicy, settings: { ...kit.settings, requireSignedJobs: false } },
    clock: systemClock,
    logger: silentLogger,
    audit,
    recordRefusal: (event) => void refusals.push(event),
    submissions,
    folder: join(folder, 'runs'),
    runtimes: new Map([
      ['node', { program: '/bin/node', kind: 'node', options: [], environment: {}, read: [] }],
    ]),
    logLevel: 'info',
    software: 'hanse 1',
    confinement: { level: 'namespaces', shortcomings: [] },
    async startJob(_components, jobId) {
      if (startFault !== undefined) throw startFault
      const job = new FakeJob(jobId)
      started.set(jobId, job)
      return job
    },
    setLogLevel(level) {
      told.push(`log ${level}`)
      return true
    },
    end: (how) => void told.push(how),
    onEvent: ({ event, job, reason }) =>
      events.push(`${event} ${job}${reason === undefined ? '' : `: ${reason}`}`),
  })
}

function tell(
  topic: string,
  jobId: string,
  headers: Record<string, FobsValue> = {},
  body: FobsValue = '',
) {
  return commandSite(
    cells.server,
    'site-1',
    { topic, headers: new Map([['job_id', jobId], ...Object.entries(headers)]), body },
    { timeoutMs: 2_000 },
  )
}

async function reserve(jobId: string): Promise<string> {
  const answer = await tell(COMMAND.checkResource, jobId, {}, new Map())
  const { headers } = (answer.ok ? answer.body : undefined) as Shareable
  return String(headers.get(COMMAND_HEADER.reservation))
}

const deploy = (jobId: string, meta = {}) =>
  tell(
    COMMAND.deploy,
    jobId,
    { app_name: 'app', job_meta: fobsOfJson(metaOf(jobId, meta)), _userName: 'lead@example.org' },
    archive,
  )
const start = (jobId: string, reservation: string, meta = {}) =>
  tell(COMMAND.startJob, jobId, {
    job_meta: fobsOfJson(metaOf(jobId, { job_clients: [], ...meta })),
    [COMMAND_HEADER.reservation]: reservation,
  })

async function run(jobId: string): Promise<FakeJob> {
  const reservation = await reserve(jobId)
  expect(await deploy(jobId)).toMatchObject({ ok: true })
  expect(await start(jobId, reservation)).toMatchObject({ ok: true })
  return started.get(jobId)!
}

const exists = (jobId: string) =>
  access(join(folder, 'runs', jobId)).then(
    () => true,
    () => false,
  )

const acts = () => record.map(({ act, outcome }) => `${act} ${outcome}`)

describe('a job at a site', () => {
  it('is reserved, deployed, started, and reported when it ends; each step once on record', async () => {
    const job = await run('j1')
    expect(jobs.owned()).toEqual(['j1'])
    expect(await readdir(join(folder, 'runs', 'j1'))).toContain('run.json')
    job.end()
    await expect.poll(() => jobs.owned()).toEqual([])
    expect(reports).toEqual(['j1 0 null'])
    expect(events).toEqual(['job-started j1', 'job-ended j1'])
    expect(acts()).toEqual([
      'check-resources accepted',
      'deploy accepted',
      'start accepted',
      'job.end accepted',
    ])
    expect(record[1]).toMatchObject({
      actor: { name: 'lead@example.org' },
      job: 'j1',
      text: expect.stringContaining('code of its own'),
    })
  })

  it('that failed says why, to the server and to the record', async () => {
    const job = await run('j1')
    job.end(101, 'the trainer died')
    await expect.poll(() => reports).toEqual(['j1 101 the trainer died'])
    expect(events.at(-1)).toBe('job-ended j1: the trainer died')
    expect(record.at(-1)).toMatchObject({
      act: 'job.end',
      code: 'failed',
      text: 'the trainer died',
    })
  })

  it('stays on the list until its report is answered', async () => {
    const job = await run('j1')
    const gate = Promise.withResolvers<void>()
    cells.server.handle('task', 'report_job_failure', async () => {
      await gate.promise
      return {}
    })
    job.end()
    await expect.poll(() => events.at(-1)).toBe('job-ended j1')
    expect(jobs.owned()).toEqual(['j1'])
    gate.resolve()
    await expect.poll(() => jobs.owned()).toEqual([])
  })

  it('is ended when the server does not know it, once, and not reported for ever', async () => {
    reportCode = 'comm_error'
    const job = await run('j1')
    jobs.abortUnknown(['j1', 'j9', '../j1'])
    jobs.abortUnknown(['j1'])
    expect(job.isStopping).toBe(true)
    await expect.poll(() => events.at(-1)).toBe('job-ended j1')
    jobs.abortUnknown(['j1'])
    await expect.poll(() => acts().filter((act) => act.startsWith('abort'))).toHaveLength(1)
    expect(record.find(({ act }) => act === 'abort')?.code).toBe('job-unknown')
  })

  it('can be run again after its end', async () => {
    const first = await run('j1')
    first.end()
    await expect.poll(() => jobs.owned()).toEqual([])
    await run('j1')
    expect(jobs.owned()).toEqual(['j1'])
  })
})

describe('a deployment is refused', () => {
  it('for a job that runs, without an archive, without meta, and for what is no job', async () => {
    await run('j1')
    record.length = 0
    expect(await deploy('j1')).toMatchObject({ ok: false, reason: 'job j1 is running' })
    expect(await tell(COMMAND.deploy, 'j2', { job_meta: new Map() }, 'text')).toMatchObject({
      reason: 'the app is not an archive',
    })
    expect(await tell(COMMAND.deploy, 'j2', {}, archive)).toMatchObject({
      reason: 'missing job meta',
    })
    for (const evil of ['../../etc', '', '.', 'a/b', 'x'.repeat(200)])
      expect(await deploy(evil)).toMatchObject({ reason: expect.stringMatching(/job_id/) })
    expect(record).toHaveLength(8)
    expect(record.every(({ act, outcome }) => act === 'deploy' && outcome === 'refused')).toBe(true)
    // Ids that are none do not get into the record as such.
    expect(record.filter(({ job }) => job !== undefined)).toHaveLength(3)
  })

  it('with the reason of the site, which is on record with its code', async () => {
    expect(await deploy('j1', { submitter_role: 'king' })).toMatchObject({ ok: false })
    expect(record).toMatchObject([
      { act: 'deploy', outcome: 'refused', code: 'role-unknown', job: 'j1' },
    ])
    expect(await exists('j1')).toBe(false)
  })
})

describe('a start is refused', () => {
  it.each<[string, (reservation: string) => Promise<unknown>, RegExp]>([
    ['without a deployment', (reservation) => start('j2', reservation), /was not deployed/],
    ['with a made-up reservation', () => start('j1', 'made up'), /reservation/],
    ['without meta', () => tell(COMMAND.startJob, 'j1'), /missing job meta/],
    ...['scope', 'study', 'resource_spec', 'launcher_spec'].map(
      (key) =>
        [
          `with another ${key}`,
          (reservation: string) => start('j1', reservation, { [key]: { x: 1 } }),
          new RegExp(`${key} is not what was deployed`),
        ] as [string, (reservation: string) => Promise<unknown>, RegExp],
    ),
  ])('%s, and that is on record', async (_why, act, reason) => {
    const reservation = await reserve('j1')
    await deploy('j1')
    expect(await act(reservation)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(reason),
    })
    expect(started.size).toBe(0)
    expect(record.at(-1)).toMatchObject({
      act: 'start',
      outcome: 'refused',
      text: expect.stringMatching(reason),
    })
  })

  it('when the process cannot be started, without a word about the inside', async () => {
    startFault = new Error('spawn /opt/secret EACCES')
    const reservation = await reserve('j1')
    await deploy('j1')
    const answer = await start('j1', reservation)
    expect(answer).toMatchObject({ ok: false })
    expect(JSON.stringify(answer)).not.toContain('secret')
    expect(record.at(-1)).toMatchObject({ act: 'start', code: 'failed' })
    expect(jobs.owned()).toEqual([])
    // The reservation is spent, what it held is free again.
    startFault = undefined
    expect(await start('j1', await reserve('j1'))).toMatchObject({ ok: true })
  })

  it('the second time, however fast it comes: one process', async () => {
    const [one, two] = [await reserve('j1'), await reserve('j1')]
    await deploy('j1')
    const answers = await Promise.all([start('j1', one), start('j1', two)])
    expect(answers).toMatchObject([
      { body: 'Start the client app...' },
      { body: 'Client app already started.' },
    ])
    expect(events).toEqual(['job-started j1'])
  })
})

describe('an abort', () => {
  it('ends a running job', async () => {
    const job = await run('j1')
    expect(await tell(COMMAND.abort, 'j1')).toMatchObject({ ok: true })
    expect(job.isStopping).toBe(true)
    await expect.poll(() => jobs.owned()).toEqual([])
    expect(acts()).toContain('abort accepted')
  })

  it('that comes while the job starts is done after the start', async () => {
    const reservation = await reserve('j1')
    await deploy('j1')
    await Promise.all([start('j1', reservation), tell(COMMAND.abort, 'j1')])
    expect(started.get('j1')?.isStopping).toBe(true)
  })

  it('takes back what was only deployed', async () => {
    await deploy('j1')
    expect(await exists('j1')).toBe(true)
    await tell(COMMAND.abort, 'j1')
    expect(await exists('j1')).toBe(false)
    expect(await start('j1', await reserve('j1'))).toMatchObject({ ok: false })
  })

  it('of nothing is no fault', async () => {
    expect(await tell(COMMAND.abort, 'j1')).toEqual({
      ok: true,
      body: 'Client app has not started.',
    })
  })
})

describe('what a site keeps', () => {
  it('is nothing of an earlier run of it', async () => {
    expect(await readdir(join(folder, 'runs'))).toEqual([])
  })

  it('is bounded, whether jobs ran or were only deployed', async () => {
    const job = await run('runs')
    for (let i = 0; i < 25; i++) await deploy(`j${i}`)
    const kept = await readdir(join(folder, 'runs'))
    expect(kept).toHaveLength(21)
    // What runs is not touched, the oldest went.
    expect(kept).toContain('runs')
    expect(kept).not.toContain('j0')
    expect(kept).toContain('j24')
    job.end()
    await expect.poll(async () => (await readdir(join(folder, 'runs'))).length).toBe(20)
  })

  it('goes at a word, but not while it is in use', async () => {
    const job = await run('j1')
    expect(await tell(COMMAND.deleteRun, 'j1')).toMatchObject({ ok: false })
    job.end()
    await expect.poll(() => jobs.owned()).toEqual([])
    expect(await tell(COMMAND.deleteRun, 'j1')).toMatchObject({ ok: true })
    expect(await exists('j1')).toBe(false)
  })
})

describe('a site that stops', () => {
  it('ends its jobs and reports them', async () => {
    const job = await run('j1')
    await jobs.stopAll()
    expect(job.isStopping).toBe(true)
    expect(reports).toEqual(['j1 0 null'])
    expect(jobs.owned()).toEqual([])
  })
})

describe('questions', () => {
  it('about state, version and resources are answered', async () => {
    await run('j1')
    const text = async (topic: string) => {
      const answer = await tell(topic, '', { _userName: 'lead@example.org', _userRole: 'lead' })
      return JSON.parse(String(answer.ok ? answer.body : answer.reason))
    }
    expect(await text(COMMAND.checkStatus)).toEqual({
      client_name: 'site-1',
      running_jobs: [{ app_name: 'app', job_id: 'j1', status: 'started' }],
    })
    expect(await text(COMMAND.reportVersion)).toEqual({ version: 'hanse 1' })
    expect(await text(COMMAND.reportResources)).toEqual({
      resources: { num_of_gpus: 0 },
      reserved_resources: { num_of_gpus: 0 },
    })
  })

  it("of people whom the site's own policy grants nothing are refused, and recorded", async () => {
    const answer = await tell(COMMAND.reportResources, '', {
      _userName: 'member@example.org',
      _userRole: 'member',
    })
    expect(answer).toMatchObject({
      ok: false,
      reason: expect.stringContaining("'member@example.org' is not authorized"),
    })
    expect(refusals).toMatchObject([
      { actor: { name: 'member@example.org' }, target: COMMAND.reportResources },
    ])
    expect(await tell(COMMAND.reportVersion, '')).toMatchObject({ ok: false })
  })

  const lead = { _userName: 'lead@example.org', _userRole: 'lead' }
  const textOf = async (topic: string, jobId = '', body = '') => {
    const answer = await tell(topic, jobId, lead, body)
    return answer.ok ? String(answer.body) : answer.reason
  }

  it('about the site itself never tell where it lies', async () => {
    const environment = JSON.parse(await textOf(COMMAND.reportEnvironment))
    expect(environment).toMatchObject({ site_name: 'site-1', secure_mode: true })
    expect(JSON.stringify(environment)).not.toContain(folder)
  })

  it('to change its log take levels, and nothing else', async () => {
    expect(await textOf(COMMAND.configureSiteLog, '', 'WARNING')).toContain('successfully')
    expect(await textOf(COMMAND.configureSiteLog, '', 'reload')).toContain('successfully')
    expect(await textOf(COMMAND.configureSiteLog, '', 'concise')).toContain('DEBUG, INFO')
    expect(told).toEqual(['log warn', 'log undefined'])
  })

  it('to stop or restart it are done when no job runs, and recorded', async () => {
    const job = await run('j1')
    expect(await textOf(COMMAND.shutdown)).toContain('1 jobs are running here')
    expect(told).toEqual([])
    job.end()
    await expect.poll(() => jobs.owned()).toEqual([])
    record.length = 0
    expect(await textOf(COMMAND.restart)).toContain('Restart')
    expect(told).toEqual(['restart'])
    expect(record).toMatchObject([
      { act: 'restart', outcome: 'accepted', actor: { name: 'lead@example.org' } },
    ])
  })

  it('about a running job are answered without a word of its log', async () => {
    expect(await textOf(COMMAND.showStats, 'j1')).toContain('does not run here')
    const job = await run('j1')
    job.works('train', 1)
    expect(JSON.parse(await textOf(COMMAND.showStats, 'j1'))).toEqual({
      ClientRunner: { task: 'train', tasksDone: 1 },
    })
    expect(JSON.parse(await textOf(COMMAND.showErrors, 'j1'))).toEqual({
      ClientRunner: { note: expect.stringContaining('stays at the site') },
    })
    expect(await textOf(COMMAND.configureJobLog, 'j1', 'DEBUG')).toContain('successfully')
    expect(job.words).toEqual(['log debug'])
  })

  it('about privacy scopes are answered with their names', async () => {
    const ask = async () => JSON.parse(await textOf(COMMAND.getScopes)) as unknown
    expect(await ask()).toEqual({ scope_names: [], default_scope: '' })
    await jobs[Symbol.asyncDispose]()
    await openJobs(CAREFUL)
    expect(await ask()).toEqual({ scope_names: ['careful', 'open'], default_scope: 'careful' })
  })

  it('for more than there is are answered with the reason, and recorded', async () => {
    const answer = await tell(COMMAND.checkResource, 'j1', {}, new Map([['num_of_gpus', 1]]))
    const { headers } = (answer.ok ? answer.body : undefined) as Shareable
    expect(headers.get('_is_resource_enough')).toBe(false)
    expect(record.at(-1)?.text).toMatch(/1 GPU/)
  })
})

describe('a site with privacy scopes', () => {
  beforeEach(async () => {
    await jobs[Symbol.asyncDispose]()
    await openJobs(CAREFUL)
  })

  it("hands the filters of a job's scope to its process", async () => {
    await run('j1')
    expect(record[1]).toMatchObject({ act: 'deploy', text: expect.stringContaining("'careful'") })
    const file = await readFile(join(folder, 'runs', 'j1', 'run.json'), 'utf8')
    expect(JSON.parse(file)).toMatchObject({ filters: [FILTER] })
  })

  it('refuses the deployment for any other, with reason and record', async () => {
    expect(await deploy('j1', { scope: 'x' })).toMatchObject({
      ok: false,
      reason: expect.stringContaining("privacy scope 'x' is not allowed"),
    })
    expect(record).toMatchObject([
      { act: 'deploy', outcome: 'refused', code: 'scope-not-allowed', job: 'j1' },
    ])
    expect(await exists('j1')).toBe(false)
  })

  it('starts no job in another scope than it was deployed for', async () => {
    const reservation = await reserve('j1')
    await deploy('j1')
    expect(await start('j1', reservation, { scope: 'open' })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('scope is not what was deployed'),
    })
  })
})

describe('others', () => {
  it('than the server give no commands', async () => {
    await deploy('j1')
    record.length = 0
    const other = await cells.linked('site-2')
    for (const topic of Object.values(COMMAND)) {
      const reply = await other.request(
        'site-1',
        'admin',
        'admin',
        new AdminMessage(topic, '', new Map([['job_id', 'j1']])),
      )
      const answer = reply.body as AdminMessage
      expect(answer.headers.get(COMMAND_HEADER.returnCode), topic).toBe('_error')
    }
    expect(record).toEqual([])
    expect(refusals.length).toBeGreaterThan(8)
    expect(refusals[0]).toMatchObject({ actor: { name: 'site-2' }, code: 'not-the-server' })
    expect(await exists('j1')).toBe(true)
  })

  it('the process of a job tells news of its own job, and commands nothing', async () => {
    const job = await run('j1')
    const [ours, theirs] = duplexPair()
    site.adopt(pipeConnection(ours, { name: 'job', closeTimeoutMs: 20 }), 'passive', {
      expectedName: 'site-1.j1',
    })
    const cell = createCell(
      'site-1.j1',
      { drivers: [], registry: createFobsRegistry(coreCodecs, platformCodecs, adminCodecs) },
      { closeTimeoutMs: 20, stockPeerHoldMs: 0 },
    )
    await cell.adopt(pipeConnection(theirs, { name: 'site', closeTimeoutMs: 20 }), 'active').ready
    const say = async (topic: string, body = '', headers: [string, FobsValue][] = []) => {
      const message = new AdminMessage(topic, body, new Map(headers))
      const reply = await cell.request('site-1', 'admin', topic, message)
      return (reply.body as AdminMessage).headers.get(COMMAND_HEADER.returnCode)
    }
    // No code means ok.
    expect(await say(COMMAND.notifyJobStatus)).toBeUndefined()
    expect(await say(SITE_JOB_TOPIC.ending, 'x'.repeat(2_000))).toBeUndefined()
    expect(job.words).toEqual(['x'.repeat(500)])
    await say(SITE_JOB_TOPIC.work, 'train', [['tasks_done', 'many']])
    expect(job.stats).toEqual({})
    await say(SITE_JOB_TOPIC.work, 'train', [['tasks_done', 2]])
    expect(job.stats).toEqual({ task: 'train', tasksDone: 2 })
    record.length = 0
    const filtered: [string, FobsValue][] = [
      ['task', 'train'],
      ['payload', 'result'],
    ]
    await say(SITE_JOB_TOPIC.filtered, 'A, B', [...filtered, ['refusal', '']])
    expect(record).toMatchObject([
      { act: 'filter', target: 'result of train', job: 'j1', outcome: 'accepted' },
    ])
    expect(record[0]?.text).toContain('A, B')
    await say(SITE_JOB_TOPIC.filtered, 'A', [...filtered, ['refusal', 'too much']])
    expect(refusals).toMatchObject([{ code: 'refused-by-filter', text: 'too much' }])
    refusals.length = 0
    expect(await say(COMMAND.abort)).toBe('_error')
    expect(refusals).toMatchObject([{ job: 'j1', code: 'not-the-server' }])
    await cell[Symbol.asyncDispose]()
  })

  it('the server cannot tell news in the name of a job', async () => {
    const job = await run('j1')
    expect(await tell(SITE_JOB_TOPIC.ending, 'j1', {}, 'words')).toMatchObject({ ok: false })
    expect(await tell(SITE_JOB_TOPIC.work, 'j1', { tasks_done: 1 })).toMatchObject({ ok: false })
    expect(await tell(SITE_JOB_TOPIC.filtered, 'j1', {}, 'A')).toMatchObject({ ok: false })
    expect(job.words).toEqual([])
    expect(job.stats).toEqual({})
  })
})

describe('a submission', () => {
  const PROOF = { league: 'league', server: 'server1', nonce: crypto.randomUUID() }

  beforeEach(async () => {
    const jobFolder = await writeJob(join(folder, 'signed'), { trainer: trainerOf('') })
    const lead = await people.of('lead@example.org')
    archive = await appArchive(jobFolder, lead, { ...PROOF, signedAt: Date.now() })
  })

  async function restart(): Promise<void> {
    await jobs[Symbol.asyncDispose]()
    await submissions[Symbol.asyncDispose]()
    submissions = await SubmissionMemory.open(join(folder, 'submissions.jsonl'), systemClock)
    await openJobs()
  }

  const expectRefused = async (jobId: string, reason: RegExp) => {
    expect(await deploy(jobId)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(reason),
    })
    expect(record.at(-1)).toMatchObject({ act: 'deploy', job: jobId, code: 'submission-used' })
  }

  it('runs once, under whatever name it comes again, also after a restart', async () => {
    const job = await run('j1')
    job.end()
    await expect.poll(() => jobs.owned()).toEqual([])
    await expectRefused('j1', /ran here before/)
    await expectRefused('j2', /for job j1/)
    await restart()
    await expectRefused('j1', /ran here before/)
    await expectRefused('j2', /for job j1/)
    expect([...started.keys()]).toEqual(['j1'])
  })

  it('does not run again though its site was killed while it ran', async () => {
    await run('j1')
    await restart()
    await expectRefused('j1', /ran here before/)
  })

  it('may be deployed again until it has run: after a restart, a start that failed', async () => {
    expect(await deploy('j1')).toMatchObject({ ok: true })
    await restart()
    const reservation = await reserve('j1')
    expect(await deploy('j1')).toMatchObject({ ok: true })
    startFault = new Error('no memory')
    expect(await start('j1', reservation)).toMatchObject({ ok: false })
    startFault = undefined
    await run('j1')
  })
})
