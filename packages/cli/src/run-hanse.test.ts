import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAuditLog } from '@hanse/audit'
import { systemClock } from '@hanse/contract'
import type { Fault } from '@hanse/doctor'
import type { Kit } from '@hanse/provision'
import type { PlaceEnd } from '@hanse/server'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { FakeControl, TestIdentities, TestServer } from '../../admin/test/test-league.ts'
import { run as runIn } from '../test/test-host.ts'

const identities = new TestIdentities()
let server: TestServer
let kits: Map<string, Kit>
let folder: string

beforeAll(async () => {
  server = await TestServer.start(identities, new FakeControl())
  kits = new Map([
    ['/kits/lead', server.kitOf(await identities.of('lead@example.org', 'lead'))],
    ['/kits/member', server.kitOf(await identities.of('member@example.org', 'member'))],
  ])
})
afterAll(() => server[Symbol.asyncDispose]())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-cli-test-'))
})
afterEach(async () => {
  server.control.jobs.clear()
  await rm(folder, { recursive: true, force: true })
})

const run = (...args: string[]) => runIn(args, kits)
const asLead = (...args: string[]) => run(...args, '--as', '/kits/lead', '--json')
const errorJson = (code: string) => ({
  error: { code, message: expect.stringMatching(/./), hint: expect.any(String) },
})

async function writeJob(): Promise<string> {
  const job = join(folder, 'job')
  await mkdir(join(job, 'app', 'config'), { recursive: true })
  await writeFile(join(job, 'meta.json'), '{"name":"x","deploy_map":{"app":["@ALL"]}}')
  return job
}

describe('wrong usage', () => {
  it.each([
    [['nonsense']],
    [['job', 'nonsense']],
    [['job', 'submit']],
    [['job', 'submit', 'a', 'b']],
    [['job', 'wait', 'x', '--timeout', 'soon']],
    [['job', 'wait', 'x', '--timeout', '0']],
    [['job', 'wait', 'x', '--timeout', '1e9']],
    [['status', '--nonsense']],
    [['provision', 'project.yml']],
    [['audit', 'verify']],
    [['status']],
  ])('%j ends with 2 and says how it is meant', async (args) => {
    const asText = await run(...args)
    expect(asText).toMatchObject({ code: 2, stdout: '' })
    expect(asText.stderr).not.toBe('')
    const asJson = await run(...args, '--json')
    expect(asJson).toMatchObject({ code: 2, stderr: '' })
    expect(asJson.json).toEqual(
      errorJson(args[0] === 'status' && args.length === 1 ? 'ERR_KIT_NEEDED' : 'ERR_USAGE'),
    )
  })
})

it.each([
  [['--help'], 'provision'],
  [['job', '--help'], 'download'],
  [['job', 'wait', '--help'], '--timeout'],
  [['audit', 'verify', '--help'], 'kit'],
  [['start', '--help'], 'Ctrl-C'],
  [['provision', '--help'], '--passphrase-file'],
])('%j explains the command', async (args, word) => {
  const { code, stdout } = await run(...args)
  expect(code).toBe(0)
  expect(stdout).toContain(word)
})

it('says its version', async () => {
  expect((await run('--version')).stdout.trim()).toBe('1.2.3')
})

describe('the JSON of a command', () => {
  it('status', async () => {
    const id = server.control.add()
    expect(await asLead('status')).toMatchObject({
      code: 0,
      stderr: '',
      json: {
        server: { name: 'server1', project: 'test_league' },
        sites: [{ name: 'site-1', connected: true }],
        jobs: [{ job: id, name: 'a job', status: 'SUBMITTED', submitter: 'lead@example.org' }],
      },
    })
  })

  it('scopes', async () => {
    const answer = '{"scope_names":["a"],"default_scope":"a"}'
    server.control.answers.set('train.get_scopes', answer)
    expect(await asLead('scopes')).toMatchObject({
      code: 0,
      json: {
        scopes: [
          { place: 'server', scopes: ['private', 'public'], default: 'public' },
          { place: 'site-1', scopes: ['a'], default: 'a' },
        ],
      },
    })
    server.control.answers.set('train.get_scopes', '{"scope_names":[],"default_scope":""}')
    expect((await run('scopes', '--as', '/kits/lead')).stdout).toContain(
      'none: nothing is filtered',
    )
    server.control.unwilling.add('site-1')
    expect((await run('scopes', '--as', '/kits/lead')).stdout).toContain('not told: not you')
    server.control.unwilling.clear()
  })

  it('job submit, clone and list', async () => {
    const submitted = await asLead('job', 'submit', await writeJob())
    expect(submitted.json).toEqual({ job: expect.stringMatching(/^[0-9a-f-]{36}$/) })
    const { job } = submitted.json as { job: string }
    const cloned = await asLead('job', 'clone', job)
    expect(cloned.json).toEqual({ job: expect.not.stringContaining(job) })
    const { jobs } = (await asLead('job', 'list')).json as { jobs: { job: string }[] }
    expect(jobs.map((listed) => listed.job).toSorted()).toEqual(
      [job, (cloned.json as { job: string }).job].toSorted(),
    )
  })

  it.each([
    ['FINISHED:COMPLETED', 0],
    ['FINISHED:EXECUTION_EXCEPTION', 1],
    ['FINISHED:ABORTED', 1],
  ])('job wait, when it is %s', async (status, code) => {
    const job = server.control.add({ status })
    expect(await asLead('job', 'wait', job)).toMatchObject({ code, json: { job, status } })
  })

  it('job wait, when the time is over', async () => {
    const job = server.control.add({ status: 'RUNNING' })
    const result = await asLead('job', 'wait', job, '--timeout', '0.05')
    expect(result).toMatchObject({ code: 1, json: errorJson('ERR_TIMEOUT') })
  })

  it('job show, with the reason of a job that did not complete', async () => {
    const good = server.control.add({ status: 'FINISHED:COMPLETED' })
    const bad = server.control.add({
      status: 'FINISHED:EXECUTION_EXCEPTION',
      reason: 'site-1: the trainer ended with code 1: no such column',
    })
    const untold = server.control.add({
      status: 'FINISHED:CAN_NOT_SCHEDULE',
      schedule_history: ['1', 'no sites'],
    })
    expect((await asLead('job', 'show', good)).json).toEqual({
      ...server.control.jobs.get(good)?.meta,
      study: 'default',
    })
    expect((await asLead('job', 'show', bad)).json).toMatchObject({
      job_id: bad,
      reason: 'site-1: the trainer ended with code 1: no such column',
    })
    expect((await asLead('job', 'show', untold)).json).toMatchObject({ reason: 'no sites' })
  })

  it('job logs, abort, delete', async () => {
    const job = server.control.add({ status: 'RUNNING' })
    expect((await asLead('job', 'logs', job, '--place', 'site-1')).json).toEqual({
      job,
      logs: { 'site-1': 'log of site-1' },
      unavailable: { 'site-2': 'never sent one' },
    })
    expect((await asLead('job', 'abort', job)).json).toMatchObject({ job })
    expect((await asLead('job', 'delete', job)).json).toEqual({ job, deleted: true })
    expect(await asLead('job', 'show', job)).toMatchObject({
      code: 1,
      json: errorJson('ERR_JOB_UNKNOWN'),
    })
  })

  it('job download', async () => {
    const job = server.control.add({ status: 'FINISHED:COMPLETED' })
    const bytes = new TextEncoder().encode('{}')
    const source = {
      size: bytes.length,
      read: async (offset: number, length: number) => bytes.slice(offset, offset + length),
    }
    server.control.files.set(job, [{ name: 'meta.json', source }])
    const result = await asLead('job', 'download', job, '--out', folder)
    expect(result.json).toEqual({ job, folder: join(folder, job) })
    expect(await readFile(join(folder, job, 'meta.json'), 'utf8')).toBe('{}')
  })

  it('of what the policy refuses has the reason, and ends with 3', async () => {
    const job = server.control.add()
    const result = await run('job', 'abort', job, '--as', '/kits/member', '--json')
    expect(result).toMatchObject({ code: 3, json: errorJson('ERR_NOT_AUTHORIZED') })
    const asText = await run('job', 'abort', job, '--as', '/kits/member')
    expect(asText).toMatchObject({ code: 3, stdout: '' })
    expect(asText.stderr).toContain("user 'member@example.org' is not authorized for 'abort_job'")
  })

  it('takes the kit from the environment, too', async () => {
    const environment = { HANSE_KIT: '/kits/lead' }
    expect((await runIn(['status', '--json'], kits, { environment })).code).toBe(0)
  })
})

describe('text for people', () => {
  it('is a table, and cannot be used to play tricks with the terminal', async () => {
    server.control.add({ name: 'evil\u001b[2J\u001b]0;x\u0007\u202etxt' })
    const { stdout } = await run('job', 'list', '--as', '/kits/lead')
    expect(stdout).toContain('evil\\x1b[2J\\x1b]0;x\\x07\\u202etxt')
    expect(stdout.split('\n')[0]).toMatch(/^job +name +status +submitter/)
  })

  it('shows one line a round while it waits', async () => {
    const job = server.control.add({ status: 'RUNNING' })
    server.control.progress.set(job, {
      round: 2,
      totalRounds: 5,
      sites: [],
      metrics: new Map([['accuracy', 0.912345]]),
    })
    const { stderr } = await run('job', 'wait', job, '--timeout', '0.05', '--as', '/kits/lead')
    server.control.progress.delete(job)
    expect(stderr.split('\n')[0]).toBe('round 2 of 5 · accuracy 0.9123')
  })
})

describe('the record of a place', () => {
  async function writeRecord(): Promise<string> {
    await mkdir(join(folder, 'state'))
    const file = join(folder, 'state', 'audit.jsonl')
    await using log = await openAuditLog(file, { clock: systemClock })
    for (const outcome of ['accepted', 'refused', 'accepted'] as const)
      await log.append({ actor: { name: 'lead' }, act: 'submit_job', outcome, code: 'x', job: 'j' })
    return file
  }

  it('is shown, whole or in part', async () => {
    await writeRecord()
    const all = (await run('audit', 'show', folder, '--json')).json as { entries: object[] }
    expect(all.entries).toHaveLength(3)
    expect(all.entries[0]).toMatchObject({ seq: 1, act: 'submit_job', actor: { name: 'lead' } })
    const refused = await run('audit', 'show', folder, '--refused', '--json')
    expect(refused.json).toMatchObject({ entries: [{ seq: 2, outcome: 'refused' }] })
    expect((await run('audit', 'show', folder, '--job', 'other')).stdout).toBe('no entries\n')
  })

  it('is verified', async () => {
    await writeRecord()
    expect(await run('audit', 'verify', folder, '--json')).toMatchObject({
      code: 0,
      json: {
        ok: true,
        entries: 3,
        head: { seq: 3, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    })
  })

  it('tells where it was changed, and ends with 1', async () => {
    const file = await writeRecord()
    const lines = (await readFile(file, 'utf8')).split('\n')
    lines[1] = lines[1]!.replace('refused', 'accepted')
    await writeFile(file, lines.join('\n'))
    expect(await run('audit', 'verify', folder, '--json')).toMatchObject({
      code: 1,
      json: { ok: false, line: 2, seq: 2, offset: lines[0]!.length + 1 },
    })
    expect((await run('audit', 'verify', folder)).stdout).toContain('entry 2')
  })

  it('that is not there is an error', async () => {
    expect(await run('audit', 'verify', folder, '--json')).toMatchObject({
      code: 1,
      json: errorJson('ERR_AUDIT_READ'),
    })
  })
})

describe('provisioning', () => {
  const PROJECT = `api_version: 3
name: small
participants:
  - { name: server1, type: server, org: league, fed_learn_port: 8002 }
  - { name: site-1, type: client, org: org_b }
  - { name: lead@example.org, type: admin, org: league, role: lead }
builders:
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { scheme: tcp }
`

  it('makes a kit for everybody, and tells where they are', async () => {
    const file = join(folder, 'project.yml')
    await writeFile(file, PROJECT)
    const overrides = { configDirectory: join(folder, 'config') }
    const args = ['provision', file, '--out', join(folder, 'kits'), '--json']
    const { code, json } = await runIn(args, kits, overrides)
    const prod = join(folder, 'kits', 'small', 'prod_00')
    expect(code).toBe(0)
    expect(json).toEqual({
      project: 'small',
      folder: prod,
      participants: [
        { name: 'server1', type: 'server', kit: join(prod, 'server1') },
        { name: 'site-1', type: 'site', kit: join(prod, 'site-1') },
        { name: 'lead@example.org', type: 'admin', kit: join(prod, 'lead@example.org') },
      ],
    })
  })

  it('takes the passphrase from a file, and refuses another one', async () => {
    const file = join(folder, 'project.yml')
    await writeFile(file, PROJECT)
    const secret = join(folder, 'secret')
    const provision = async (passphrase: string) => {
      await writeFile(secret, `${passphrase}\nsecond line\n`)
      const args = ['provision', file, '--out', folder, '--passphrase-file', secret, '--json']
      return runIn([...args, '--reissue', 'site-1'], kits, {
        configDirectory: join(folder, 'config'),
      })
    }
    expect((await provision('a good passphrase')).code).toBe(0)
    expect(await provision('another passphrase')).toMatchObject({
      code: 3,
      json: errorJson('ERR_PASSPHRASE_WRONG'),
    })
    expect((await provision('a good passphrase')).code).toBe(0)
  })

  it('asks a person, and does not take two different answers', async () => {
    const file = join(folder, 'project.yml')
    await writeFile(file, PROJECT)
    const answers = ['one passphrase', 'another passphrase']
    const result = await runIn(['provision', file, '--out', folder, '--json'], kits, {
      configDirectory: join(folder, 'config'),
      askSecret: async () => answers.shift(),
    })
    expect(result).toMatchObject({ code: 2, json: errorJson('ERR_USAGE') })
  })

  it('says what is wrong with a project file', async () => {
    const file = join(folder, 'project.yml')
    await writeFile(file, 'name: x')
    expect(await run('provision', file, '--out', folder, '--json')).toMatchObject({
      code: 1,
      json: errorJson('ERR_PROJECT_FILE'),
    })
    expect(await run('provision', join(folder, 'none'), '--out', folder, '--json')).toMatchObject({
      code: 1,
      json: errorJson('ERR_FILE'),
    })
  })
})

describe('starting', () => {
  it('is for servers and sites', async () => {
    expect(await run('start', '/kits/lead', '--json')).toMatchObject({
      code: 2,
      json: errorJson('ERR_USAGE'),
    })
  })

  it('reads the kit anew and starts again when a person asked for a restart, and ends with a stop', async () => {
    const read: string[] = []
    const ends: PlaceEnd[] = ['restart', 'restart', 'stop']
    const { code } = await runIn(['start', '/kits/server1', '--json'], kits, {
      async loadKit(path) {
        read.push(path)
        return { type: 'server', directory: folder, warnings: [] } as unknown as Kit // what is looked at
      },
      runServer: async () => ends.shift()!,
    })
    expect(code).toBe(0)
    expect(read).toHaveLength(3)
    expect(ends).toEqual([])
  })
})

describe('a site', () => {
  it('is kept out and let in again by whom the policy lets', async () => {
    kits.set('/kits/boss', server.kitOf(await identities.of('boss@example.org', 'project_admin')))
    const asBoss = (...args: string[]) => run(...args, '--as', '/kits/boss', '--json')
    expect(await asBoss('disable', 'site-1')).toMatchObject({
      code: 0,
      json: { site: 'site-1', disabled: true, already: false },
    })
    expect((await run('disable', 'site-1', '--as', '/kits/boss')).stdout).toContain('before')
    expect((await asBoss('enable', 'site-1')).json).toMatchObject({
      disabled: false,
      already: false,
    })
    expect((await asBoss('enable', 'site-1')).json).toMatchObject({ already: true })
    expect(await asLead('disable', 'site-1')).toMatchObject({
      code: 3,
      json: errorJson('ERR_NOT_AUTHORIZED'),
    })
  })
})

describe('doctor', () => {
  it('holds a connection as long as it was told, and says so', async () => {
    const asked: unknown[] = []
    const run = (...args: string[]) =>
      runIn(['doctor', '/kits/lead', ...args], kits, {
        diagnose: async (_directory, options) => {
          asked.push(options?.idleMs)
          return { ok: true, faults: [], passed: ['kit'], warnings: [] }
        },
      })
    expect((await run('--idle', '90')).stderr).toContain('for 90 s')
    expect((await run()).stderr).toBe('')
    expect((await run('--idle', 'long')).code).toBe(2)
    expect(asked).toEqual([90_000, undefined])
  })

  const fault = { code: 'nothing-listens', what: 'W', seen: 'S', expected: 'E', fix: 'F' } as const
  const looking = (args: string[], faults: readonly Fault[]) =>
    runIn(args, kits, {
      diagnose: async () => ({ ok: faults.length === 0, faults, passed: ['kit'], warnings: ['N'] }),
    })

  it('ends with 0 where nothing is wrong', async () => {
    const { code, stdout } = await looking(['doctor', '/kits/lead'], [])
    expect(code).toBe(0)
    expect(stdout).toContain('ok ')
  })

  it('ends with 1 and says what is wrong and what to do', async () => {
    const asText = await looking(['doctor', '/kits/lead'], [fault])
    expect(asText.code).toBe(1)
    for (const part of ['W', 'S', 'E', 'F', 'N', 'nothing-listens'])
      expect(asText.stdout).toContain(part)
    const asJson = await looking(['doctor', '/kits/lead', '--json'], [fault])
    expect(asJson).toMatchObject({
      code: 1,
      json: { ok: false, faults: [fault], passed: ['kit'], warnings: ['N'] },
    })
  })
})
