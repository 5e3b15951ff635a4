import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeArchive } from '@hanse/archive'
import { readAuditLog } from '@hanse/audit'
import { type JsonObject, systemClock } from '@hanse/contract'
import { type JobFiles, readJobFolder, type SubmissionProof, signJob } from '@hanse/jobs'
import { type Identity, loginSigner } from '@hanse/pki'
import { loadKit } from '@hanse/provision'
import {
  CLONE_COMMAND_KEY,
  COMMAND,
  COMMAND_HEADER,
  fobsOfJson,
  signCommand,
  writeSignedCommand,
} from '@hanse/session'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AttackerServer } from '../support/attacker-server.ts'
import { ATTACK_SCHEME } from '../support/attacker-wire.ts'
import { zipOf } from '../support/attacker-zip.ts'
import { type JobOptions, trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'
const MEMBER = 'member@example.org'
const LEAD_FACTS = { submitter_name: LEAD, submitter_org: 'league', submitter_role: 'lead' }

let league: League
let server: AttackerServer
beforeAll(async () => {
  league = await League.provision({ scheme: ATTACK_SCHEME, sites: ['site-1', 'site-2'] })
  server = await AttackerServer.listen(league.port, await identityOf(SERVER))
  await league.startPlace('site-1')
})
afterAll(async () => {
  // The site first: it says goodbye.
  await league?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})
afterEach(async ({ task }) => {
  task.meta.attack = { recorded: isRecorded, harmless: true }
  expect(server.cell.peers.has('site-1')).toBe(true)
  const { events } = league.place('site-1')
  expect(events.filter(({ event }) => event === 'job-started')).toEqual([])
  expect(await readdir(join(league.kit('site-1'), 'state', 'runs'))).toEqual([])
})

async function identityOf(name: string): Promise<Identity> {
  return (await loadKit(league.kit(name), { now: Date.now() })).identity
}

let jobs = 0
/** Whether the refusal of the attack under way was found in the record. */
let isRecorded = false
beforeEach(() => {
  isRecorded = false
})

interface SignedApp {
  readonly files: JobFiles
  readonly meta: JsonObject
}

/** An app as a server has it after an honest submission. */
async function signedApp(
  signer: string,
  options: Partial<JobOptions> = {},
  submission?: SubmissionProof,
): Promise<SignedApp> {
  jobs += 1
  const name = `job-${jobs}`
  const trainer = trainerOf('await send({ params: {} })')
  const folder = await writeJob(league.folder, { name, trainer, ...options })
  const signed = await signJob(await readJobFolder(folder), await identityOf(signer), submission)
  const meta = JSON.parse(await signed.readText(`${name}/meta.json`, 1e6)) as JsonObject
  return {
    files: signed.below(`${name}/app`),
    meta: { ...meta, job_id: randomUUID(), ...LEAD_FACTS },
  }
}

async function packed(files: JobFiles): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of writeArchive(files.members())) parts.push(part)
  return Buffer.concat(parts)
}

const bytes = (text: string) => new TextEncoder().encode(text)

async function recorded(job: unknown): Promise<{ readonly code: string; readonly text: string }> {
  const file = join(league.kit('site-1'), 'state', 'audit.jsonl')
  for await (const entry of readAuditLog(file, { act: 'deploy', outcome: 'refused' }))
    if (entry.job === job) return entry
  throw new Error(`site-1 has no record of job ${String(job)}`)
}

async function expectRefused(app: SignedApp, code: RegExp, archive?: Uint8Array): Promise<void> {
  const outcome = await server.deploy(archive ?? (await packed(app.files)), app.meta)
  expect(outcome).toMatchObject({ ok: false, reason: expect.stringMatching(/./) })
  expect((await recorded(app.meta['job_id'])).code).toMatch(code)
  isRecorded = true
}

describe('a server that was taken over cannot make a site run', () => {
  it('what nobody signed', async () => {
    const { files, meta } = await signedApp(LEAD)
    const unsigned = files.without((path) => /\.__(nvfl|hanse)_/.test(path))
    await expectRefused({ files: unsigned, meta }, /signature-unsigned/)
  })

  it('what it signed itself', async () => {
    const { files, meta } = await signedApp(SERVER)
    const itself = { submitter_name: 'server1', submitter_org: 'league', submitter_role: 'lead' }
    await expectRefused({ files, meta: { ...meta, ...itself } }, /signature-signer-not-a-person/)
  })

  it('what a site signed', async () => {
    const { files, meta } = await signedApp('site-2')
    const site = { submitter_name: 'site-2', submitter_org: 'site_2', submitter_role: 'lead' }
    await expectRefused({ files, meta: { ...meta, ...site } }, /signature-signer-not-a-person/)
  })

  it('what another person signed than it says', async () =>
    expectRefused(await signedApp(BOSS), /signature-signer-not-submitter/))

  it('what somebody signed who may not submit, by making that person a lead', async () => {
    const { files, meta } = await signedApp(MEMBER)
    const raised = { ...meta, submitter_name: MEMBER }
    await expectRefused({ files, meta: raised }, /signature-signer-not-submitter/)
    const honest = { ...raised, job_id: randomUUID(), submitter_role: 'member' }
    await expectRefused({ files, meta: honest }, /right-not-granted|no-condition/)
  })

  it.each<[string, (files: JobFiles) => JobFiles]>([
    ['changed code', (files) => files.with(new Map([['custom/train.ts', bytes('// evil')]]))],
    ['added code', (files) => files.with(new Map([['custom/evil.ts', bytes('// evil')]]))],
    ['taken-away files', (files) => files.without((path) => path === 'custom/train.ts')],
  ])('what a person signed, with %s', async (_what, change) => {
    const { files, meta } = await signedApp(LEAD)
    await expectRefused({ files: change(files), meta }, /signature-file-(changed|added|removed)/)
  })

  it('what a person signed for other conditions', async () => {
    const { files, meta } = await signedApp(LEAD)
    const changed = { ...meta, resource_spec: { 'site-1': { num_of_gpus: 8 } } }
    await expectRefused({ files, meta: changed }, /signature-meta-changed/)
  })

  it.each([
    ['a shell', ['bash', '-c', 'id']],
    ['an option for the runtime', ['node', '--import=data:text/javascript,0', 'custom/train.ts']],
    ['a script that is not of the app', ['node', '/etc/passwd']],
  ])('%s, though the lead has signed it', async (_what, command) => {
    await expectRefused(await signedApp(LEAD, { command }), /app-invalid/)
  })

  it('components that the site does not know, though the lead has signed them', async () => {
    const executor = { path: 'os.system', args: { command: 'id' } }
    const client = { executors: [{ tasks: ['*'], executor }] }
    await expectRefused(await signedApp(LEAD, { client }), /app-invalid/)
  })

  it.each<[string, Parameters<typeof zipOf>[0]]>([
    ['leaves its folder', [{ name: '../../../evil', content: bytes('x') }]],
    ['has an absolute name', [{ name: '/tmp/evil', content: bytes('x') }]],
    ['holds a link', [{ name: 'custom/l', content: bytes('/etc/passwd'), mode: 0o120777 }]],
    [
      'unpacks without end',
      [{ name: 'custom/z', content: new Uint8Array(64 * 1024 * 1024), deflate: true }],
    ],
  ])('an archive that %s', async (_what, entries) => {
    await expectRefused(await signedApp(LEAD), /ERR_ARCHIVE/, zipOf(entries))
  })

  it('bytes that are no archive', async () =>
    expectRefused(await signedApp(LEAD), /ERR_ARCHIVE/, bytes('no archive')))
})

describe('a server that was taken over cannot use a submission a second time', () => {
  const submitted = (more: Partial<SubmissionProof> = {}) =>
    signedApp(
      LEAD,
      {},
      {
        league: 'test_league',
        server: SERVER,
        nonce: randomUUID(),
        signedAt: Date.now(),
        ...more,
      },
    )
  const again = ({ files, meta }: SignedApp, more: JsonObject = {}): SignedApp => ({
    files,
    meta: { ...meta, ...more, job_id: randomUUID() },
  })

  /** As the server does it for an honest submission; nothing runs. */
  async function deployed(app: SignedApp): Promise<void> {
    const outcome = await server.deploy(await packed(app.files), app.meta)
    expect(outcome).toMatchObject({ ok: true })
    const job = { [COMMAND_HEADER.jobId]: app.meta['job_id'] }
    expect(await server.order(COMMAND.deleteRun, job)).toMatchObject({ ok: true })
  }

  async function cloneOrder(command: string, by = LEAD): Promise<JsonObject> {
    const signed = await signCommand(
      { league: 'test_league', server: SERVER, command, meta: {} },
      loginSigner(await identityOf(by)),
      systemClock,
    )
    return { [CLONE_COMMAND_KEY]: writeSignedCommand(signed) }
  }

  it('under another job id', async () => {
    const app = await submitted()
    await deployed(app)
    await expectRefused(again(app), /submission-used/)
    // The same job may come again, as after a deployment that failed elsewhere.
    await deployed(app)
  })

  it('after the site was restarted', async () => {
    const app = await submitted()
    await deployed(app)
    await league.place('site-1').stop()
    await league.startPlace('site-1')
    await expect.poll(() => server.cell.peers.has('site-1')).toBe(true)
    await expectRefused(again(app), /submission-used/)
  })

  it('by taking its proof away', async () => {
    const app = await submitted()
    await deployed(app)
    const place = '.__nvfl_sig.json'
    const signatures = JSON.parse(await app.files.readText(place, 1e6)) as JsonObject
    const stripped = app.files
      .without((path) => path === '.__hanse_manifest.json')
      .with(
        new Map([
          [place, bytes(JSON.stringify({ ...signatures, '.__hanse_manifest.json': undefined }))],
        ]),
      )
    await expectRefused(again({ ...app, files: stripped }), /submission-unproven/)
  })

  it('by calling it a clone', async () => {
    const app = await submitted()
    await deployed(app)
    const source = String(app.meta['job_id'])
    await expectRefused(again(app, { cloned_from: source }), /submission-used/)
    for (const order of [
      await cloneOrder(`clone_job ${source}`, BOSS),
      await cloneOrder(`download_job ${source}`),
    ])
      await expectRefused(again(app, order), /clone-not-ordered/)
    // One order, one clone.
    const order = await cloneOrder(`clone_job ${source}`)
    await deployed(again(app, order))
    await expectRefused(again(app, order), /submission-used/)
  })

  it('that is too old, or was made to another server', async () => {
    const old = Date.now() - 31 * 86_400_000
    await expectRefused(await submitted({ signedAt: old }), /submission-expired/)
    await expectRefused(await submitted({ server: 'server2' }), /submission-elsewhere/)
  })
})

describe('a server that was taken over', () => {
  it.each(['../../evil', '/tmp/evil', '', '.', 'a/b', 'x'.repeat(200)])(
    'cannot name a folder of the site by the job id %j',
    async (jobId) => {
      const headers = { [COMMAND_HEADER.jobId]: jobId, [COMMAND_HEADER.jobMeta]: fobsOfJson({}) }
      for (const topic of [COMMAND.deploy, COMMAND.startJob, COMMAND.deleteRun, COMMAND.abort])
        expect(await server.order(topic, headers, bytes('x')), topic).toMatchObject({
          ok: false,
          reason: expect.stringMatching(/job_id/),
        })
    },
  )

  it('cannot start what was not deployed', async () => {
    const headers = {
      [COMMAND_HEADER.jobId]: randomUUID(),
      [COMMAND_HEADER.jobMeta]: fobsOfJson({}),
    }
    expect(await server.order(COMMAND.startJob, headers)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/not deployed/),
    })
  })

  it('cannot start something else than it deployed, nor without a reservation', async () => {
    const { files, meta } = await signedApp(LEAD)
    expect(await server.deploy(await packed(files), meta)).toMatchObject({ ok: true })
    const job = { [COMMAND_HEADER.jobId]: meta['job_id'] }
    const other = { ...meta, scope: 'public' }
    expect(
      await server.order(COMMAND.startJob, { ...job, [COMMAND_HEADER.jobMeta]: fobsOfJson(other) }),
    ).toMatchObject({ ok: false, reason: expect.stringMatching(/scope/) })
    expect(
      await server.order(COMMAND.startJob, {
        ...job,
        [COMMAND_HEADER.jobMeta]: fobsOfJson({ ...meta, byoc: true }),
        [COMMAND_HEADER.reservation]: randomUUID(),
      }),
    ).toMatchObject({ ok: false, reason: expect.stringMatching(/reservation/) })
    expect(await server.order(COMMAND.deleteRun, job)).toMatchObject({ ok: true })
  })

  it('gets no shell and no other command than those that a site has', async () => {
    for (const topic of [
      'shutdown',
      'restart',
      'sys.shell',
      'ls',
      'cat',
      '__proto__',
      'constructor',
    ])
      expect(await server.order(topic, { body: 'cat /etc/passwd' }), topic).toMatchObject({
        ok: false,
        reason: expect.stringMatching(/unknown command/),
      })
  })
})

describe('a site does not believe that somebody is its server', () => {
  it.each([
    ['another site', 'site-1'],
    ['a person', BOSS],
  ])('who has the certificate of %s', async (_who, holder) => {
    const other = await League.provision({ scheme: ATTACK_SCHEME, sites: ['site-1', 'site-2'] })
    try {
      const { identity } = await loadKit(other.kit(holder), { now: Date.now() })
      await using impostor = await AttackerServer.listen(other.port, identity)
      const site = other.launch('site-2')
      const event = await site.event(({ event }) => event !== 'connected')
      expect(event.event).not.toBe('ready')
      expect(JSON.stringify(event)).toMatch(/certificate|name/)
      expect([...impostor.cell.peers.keys()]).toEqual([])
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })

  it('who has a certificate for a server of another league', async () => {
    const [mine, foreign] = await Promise.all([
      League.provision({ scheme: ATTACK_SCHEME, sites: ['site-1'] }),
      League.provision({ scheme: ATTACK_SCHEME, sites: ['site-1'] }),
    ])
    try {
      const { identity } = await loadKit(foreign.kit(SERVER), { now: Date.now() })
      await using impostor = await AttackerServer.listen(mine.port, identity)
      const site = mine.launch('site-1')
      const event = await site.event(({ event }) => event !== 'connected')
      expect(event.event).not.toBe('ready')
      expect([...impostor.cell.peers.keys()]).toEqual([])
    } finally {
      await Promise.all([mine[Symbol.asyncDispose](), foreign[Symbol.asyncDispose]()])
    }
  })
})
