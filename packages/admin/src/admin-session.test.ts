import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memberOf, openArchive, writeArchive } from '@hanse/archive'
import { silentLogger, systemClock } from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import { JobFiles, verifyJob } from '@hanse/jobs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeControl, TestIdentities, TestServer } from '../test/test-league.ts'
import { type AdminSession, type OpenSessionOptions, openSession } from './admin-session.ts'
import type { JobObservation } from './league-types.ts'

const identities = new TestIdentities()
const LEAD = 'lead@example.org'
const components = { drivers: [tcp()], clock: systemClock, logger: silentLogger }

let folder: string
const open: AsyncDisposable[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-admin-test-'))
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function startServer(control = new FakeControl(), port = 0): Promise<TestServer> {
  const server = await TestServer.start(identities, control, {}, port)
  open.push(server)
  return server
}

async function openAs(
  server: TestServer,
  name = LEAD,
  role = 'lead',
  options: Partial<OpenSessionOptions> = {},
): Promise<AdminSession> {
  const kit = server.kitOf(await identities.of(name, role))
  const session = await openSession(kit, components, { software: 'test', ...options })
  open.push(session)
  return session
}

async function writeJob(name = 'my_job'): Promise<string> {
  const job = join(folder, name)
  await mkdir(join(job, 'app', 'config'), { recursive: true })
  await writeFile(
    join(job, 'meta.json'),
    JSON.stringify({ name, deploy_map: { app: ['@ALL'] }, resource_spec: {}, min_clients: 1 }),
  )
  await writeFile(join(job, 'app', 'config', 'config_fed_server.json'), '{"format_version": 2}')
  await writeFile(join(job, 'app', 'config', 'config_fed_client.json'), '{"format_version": 2}')
  return job
}

async function treeOf(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .toSorted()
}

const failsWith = (code: string, message?: RegExp) =>
  expect.objectContaining({
    code,
    hint: expect.stringMatching(/./),
    ...(message !== undefined && { message: expect.stringMatching(message) }),
  })

describe('submitting', () => {
  it('sends a signed copy and leaves the folder as it was', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const job = await writeJob()
    const before = await treeOf(job)
    let archive = new Uint8Array(0)
    const submit = server.control.submitJob.bind(server.control)
    server.control.submitJob = async (submission) => {
      archive = new Uint8Array(await readFile(submission.archiveFile))
      return submit(submission)
    }
    const id = await session.submit(job)
    expect(server.control.jobs.has(id)).toBe(true)
    expect(await treeOf(job)).toEqual(before)

    await using zip = await openArchive(archive)
    expect([...zip.files.keys()]).toEqual(
      expect.arrayContaining(['my_job/meta.json', 'my_job/app/config/.__nvfl_sig.json']),
    )
    const { roots } = await identities.of(LEAD, 'lead')
    const verdict = await verifyJob(new JobFiles(zip.members()).below('my_job'), {
      roots,
      now: Date.now(),
    })
    expect(verdict).toMatchObject({ ok: true, manifest: true })
  })

  it('sends jobs of more than one piece whole', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const job = await writeJob()
    await writeFile(join(job, 'app', 'config', 'big.bin'), new Uint8Array(3_000_001).fill(7))
    const progress: number[] = []
    await session.submit(job, { onProgress: (sent) => progress.push(sent) })
    expect(progress.length).toBeGreaterThanOrEqual(2)
    expect(server.control.submissions[0]?.sha256).toMatch(/^[0-9a-f]{64}$/)
  })

  it('refuses links: what they point to was not meant to leave', async () => {
    const session = await openAs(await startServer())
    const job = await writeJob()
    await symlink('/etc/passwd', join(job, 'app', 'config', 'link'))
    await expect(session.submit(job)).rejects.toEqual(failsWith('ERR_JOB_FOLDER', /symbolic link/))
  })

  it.each(['nothing there', 'empty'])('refuses a folder that is %s', async (what) => {
    const session = await openAs(await startServer())
    const job = join(folder, 'job')
    if (what === 'empty') await mkdir(job)
    await expect(session.submit(job)).rejects.toEqual(failsWith('ERR_JOB_FOLDER'))
  })

  it('tells every reason of the server', async () => {
    const server = await startServer()
    server.control.problems = ['deploy_map names nobody', 'min_clients is 0']
    const session = await openAs(server)
    await expect(session.submit(await writeJob())).rejects.toEqual(
      failsWith('ERR_JOB_INVALID', /deploy_map names nobody; min_clients is 0/),
    )
  })

  it('tells that the policy does not grant it', async () => {
    const session = await openAs(await startServer(), 'member@example.org', 'member')
    await expect(session.submit(await writeJob())).rejects.toEqual(
      failsWith('ERR_NOT_AUTHORIZED', /'member@example.org' is not authorized for 'submit_job'/),
    )
  })
})

describe('asking', () => {
  it('lists, shows, aborts, clones and deletes jobs', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = server.control.add({ name: 'first', status: 'RUNNING' })
    expect(await session.list()).toMatchObject([
      { job: id, name: 'first', status: 'RUNNING', submitter: LEAD },
    ])
    expect(await session.show(id)).toMatchObject({ status: 'RUNNING', meta: { name: 'first' } })
    await expect(session.delete(id)).rejects.toEqual(failsWith('ERR_JOB_RUNNING'))
    expect((await session.abort(id)).message).toContain('Abort signal has been sent')
    const clone = await session.clone(id)
    expect((await session.show(clone)).meta).toMatchObject({ cloned_from: id })
    await session.delete(id)
    await expect(session.show(id)).rejects.toEqual(failsWith('ERR_JOB_UNKNOWN', /no such job/))
  })

  it('never lets an id become another command', async () => {
    const server = await startServer()
    const session = await openAs(server)
    for (const id of ['x', '', 'a b', `${server.control.add()} x`])
      for (const ask of [
        () => session.show(id),
        () => session.abort(id),
        () => session.download(id, folder),
      ])
        await expect(ask()).rejects.toEqual(failsWith('ERR_JOB_UNKNOWN'))
  })

  it('shows logs and who has none', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = server.control.add()
    expect(await session.logs(id)).toEqual({
      logs: { server: 'log of server', 'site-1': 'log of site-1' },
      unavailable: { 'site-2': 'never sent one' },
    })
    expect((await session.logs(id, 'site-1')).logs).toEqual({ 'site-1': 'log of site-1' })
  })

  it('shows the league at a glance', async () => {
    const server = await startServer()
    server.control.add()
    const status = await (await openAs(server)).status()
    expect(status).toMatchObject({
      server: { name: 'server1', project: 'test_league', started: '2023-11-14T22:13:20.000Z' },
      sites: [{ name: 'site-1', connected: true, organization: 'org_b' }],
      jobs: [{ name: 'a job' }],
    })
  })
})

describe('waiting', () => {
  it('tells each step and ends with the job', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = server.control.add({ status: 'RUNNING' })
    const seen: JobObservation[] = []
    const steps: (() => void)[] = [
      () => server.control.progress.set(id, progressOf(1)),
      () => server.control.progress.set(id, progressOf(2)),
      () => server.control.set(id, { status: 'FINISHED:COMPLETED' }),
    ]
    const last = await session.wait(id, {
      pollIntervalMs: 1,
      onProgress(observation) {
        seen.push(observation)
        steps.shift()?.()
      },
    })
    expect(last.status).toBe('FINISHED:COMPLETED')
    expect(seen.map(({ progress }) => progress?.round)).toEqual([undefined, 1, 2, 2])
    expect(seen[1]?.progress?.metrics).toEqual({ accuracy: 0.5 })
  })

  it('outlives a restart of the server', async () => {
    const control = new FakeControl()
    const id = control.add({ status: 'RUNNING' })
    const first = await TestServer.start(identities, control)
    const { port } = first
    const session = await openAs(first)
    const { promise: started, resolve } = Promise.withResolvers<void>()
    const waiting = session.wait(id, { pollIntervalMs: 5, onProgress: () => resolve() })
    await started
    await first[Symbol.asyncDispose]()
    control.set(id, { status: 'FINISHED:COMPLETED' })
    await startServer(control, port)
    expect(await waiting).toMatchObject({ status: 'FINISHED:COMPLETED' })
  }, 15_000)

  it('ends when it is told to', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = server.control.add({ status: 'RUNNING' })
    const stop = new AbortController()
    const waiting = session.wait(id, { signal: stop.signal, onProgress: () => stop.abort() })
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
  })

  const progressOf = (round: number) => ({
    round,
    totalRounds: 2,
    sites: [{ name: 'site-1', state: 'contributed' }],
    metrics: new Map([['accuracy', round / 2]]),
  })
})

describe('downloading', () => {
  async function finishedJob(server: TestServer, names: readonly string[]): Promise<string> {
    const id = server.control.add({ status: 'FINISHED:COMPLETED' })
    const zip = await zipOf({ 'inner/a.txt': 'hello' })
    server.control.files.set(
      id,
      names.map((name) => {
        const bytes = name.endsWith('.zip') ? zip : new TextEncoder().encode('{"x":1}')
        return {
          name,
          source: {
            size: bytes.length,
            read: async (offset, length) => bytes.slice(offset, offset + length),
          },
        }
      }),
    )
    return id
  }

  async function zipOf(files: Record<string, string>): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    const members = Object.entries(files).map(([path, text]) =>
      memberOf(path, new TextEncoder().encode(text)),
    )
    for await (const chunk of writeArchive(members)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  it('lays the result out as stock does, and never over another', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = await finishedJob(server, ['job.zip', 'meta.json', 'workspace.zip'])
    const out = join(folder, 'results')
    expect(await session.download(id, out)).toBe(join(out, id))
    expect(await treeOf(join(out, id))).toEqual([
      'job/inner/a.txt',
      'meta.json',
      'workspace/inner/a.txt',
    ])
    expect(await session.download(id, out)).toBe(join(out, `${id}__1`))
    expect((await readdir(out)).toSorted()).toEqual([id, `${id}__1`])
  })

  it.each(['../evil', '/etc/evil', '.hidden', 'a/b'])(
    'refuses a file that is called %s, and keeps nothing',
    async (name) => {
      const server = await startServer()
      const session = await openAs(server)
      const id = await finishedJob(server, [name])
      const out = join(folder, 'results')
      await expect(session.download(id, out)).rejects.toEqual(failsWith('ERR_REPLY'))
      expect(await readdir(folder)).toEqual([])
    },
  )

  it('keeps nothing of a result that is broken', async () => {
    const server = await startServer()
    const session = await openAs(server)
    const id = await finishedJob(server, ['meta.json'])
    const source = { size: 50, read: async (_: number, length: number) => new Uint8Array(length) }
    server.control.files.set(id, [{ name: 'job.zip', source }])
    const out = join(folder, 'results')
    await expect(session.download(id, out)).rejects.toEqual(failsWith('ERR_DOWNLOAD'))
    expect(await readdir(out)).toEqual([])
  })

  it('is refused while the job runs', async () => {
    const server = await startServer()
    const id = server.control.add({ status: 'RUNNING' })
    const session = await openAs(server)
    await expect(session.download(id, folder)).rejects.toEqual(failsWith('ERR_JOB_RUNNING'))
  })
})

describe('connecting', () => {
  it('says that nobody is there', async () => {
    const server = await startServer()
    const kit = server.kitOf(await identities.of(LEAD, 'lead'))
    const { port } = server
    await open.pop()?.[Symbol.asyncDispose]()
    const away = { ...kit, server: { ...kit.server, port } }
    await expect(openSession(away, components, { software: 'test' })).rejects.toEqual(
      failsWith('ERR_SERVER_UNREACHABLE', /no server answers at 127\.0\.0\.1/),
    )
  })

  it('does not log in at a server of another league', async () => {
    const server = await startServer()
    const stranger = await new TestIdentities().of(LEAD, 'lead')
    const attempt = openSession(server.kitOf(stranger), components, { software: 'test' })
    await expect(attempt).rejects.toEqual(failsWith('ERR_SERVER_IDENTITY'))
  })

  it('does not log in with a kit that is not a person’s', async () => {
    const server = await startServer()
    const site = await identities.of('site-1')
    const attempt = openSession(server.kitOf(site), components, { software: 'test' })
    await expect(attempt).rejects.toEqual(failsWith('ERR_LOGIN_REFUSED', /not a person/))
  })

  it('does not take a server under another name', async () => {
    const server = await startServer()
    const kit = server.kitOf(await identities.of(LEAD, 'lead'))
    const wrong = { ...kit, server: { ...kit.server, identity: 'server2' } }
    const attempt = openSession(wrong, components, { software: 'test' })
    await expect(attempt).rejects.toEqual(failsWith('ERR_SERVER_IDENTITY'))
  })

  it('ends the session when it is closed', async () => {
    const server = await startServer()
    const session = await openAs(server)
    await session.list()
    await open.pop()?.[Symbol.asyncDispose]()
    expect(server.record.some(({ act }) => act === '_logout')).toBe(true)
  })
})
