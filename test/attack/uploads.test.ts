import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeArchive } from '@hanse/archive'
import { type JobFiles, type JobSigner, readJobFolder, signJob } from '@hanse/jobs'
import { loadKit } from '@hanse/provision'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AttackerPerson } from '../support/attacker-person.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { type ZipEntry, zipOf } from '../support/attacker-zip.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'
const MEMBER = 'member@example.org'
const SIGNATURES = '.__nvfl_sig.json'
const TRAINER = 'honest/app/custom/train.ts'

let scene: AttackScene
let foreign: League
let lead: AttackerPerson
/** An honest job of the lead, not signed. */
let honest: JobFiles
beforeAll(async () => {
  ;[scene, foreign] = await Promise.all([
    AttackScene.start(),
    League.provision({ name: 'other_league', sites: ['site-1'] }),
  ])
  lead = await AttackerPerson.open(scene.league.port, await scene.identityOf(LEAD))
  const send =
    "await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } } })"
  const folder = await writeJob(scene.league.folder, {
    name: 'honest',
    rounds: 1,
    trainer: trainerOf(send),
  })
  honest = await readJobFolder(folder)
})
afterAll(async () => {
  await lead?.[Symbol.asyncDispose]()
  await Promise.all([scene?.[Symbol.asyncDispose](), foreign?.[Symbol.asyncDispose]()])
})
beforeEach(() => scene.begin())
afterEach(async ({ task }) => {
  await scene.end(task)
  // Nothing is left of an upload, inside of its folder or out of it.
  const state = join(scene.league.kit(SERVER), 'state')
  expect(await readdir(join(state, 'uploads'))).toEqual([])
  for (let folder = state; folder !== dirname(scene.league.folder); folder = dirname(folder))
    expect((await readdir(folder)).filter((name) => name.includes('evil'))).toEqual([])
})

const bytes = (text: string) => new TextEncoder().encode(text)
const signedBy = async (name: string): Promise<JobSigner> => scene.identityOf(name)

async function packed(files: JobFiles): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of writeArchive(files.members())) parts.push(part)
  return Buffer.concat(parts)
}

async function entriesOf(files: JobFiles): Promise<ZipEntry[]> {
  const entries: ZipEntry[] = []
  for (const member of files.members())
    entries.push(
      member.kind === 'folder'
        ? { name: `${member.path}/`, content: new Uint8Array(0), mode: 0o040755 }
        : { name: member.path, content: await files.read(member.path, 1e9) },
    )
  return entries
}

describe('an archive, signed by the lead but for what was added,', () => {
  const zeros = new Uint8Array(200 * 1024 * 1024)
  const attacks: [string, ZipEntry[], RegExp][] = [
    ['with a way out', [{ name: 'honest/../../evil', content: bytes('x') }], /has a part/],
    ['with a way out by backslashes', [{ name: 'honest\\..\\evil', content: bytes('x') }], /./],
    ['with an absolute name', [{ name: '/tmp/evil', content: bytes('x') }], /absolute/],
    ['with a drive', [{ name: 'C:/evil', content: bytes('x') }], /drive/],
    ['with a name with a NUL', [{ name: 'honest/evil\0.txt', content: bytes('x') }], /control/],
    [
      'with a symbolic link',
      [{ name: 'honest/app/evil', content: bytes('/etc/passwd'), mode: 0o120777 }],
      /link/,
    ],
    ['with a device', [{ name: 'honest/app/evil', content: bytes(''), mode: 0o020666 }], /device/],
    ['with a name twice', [{ name: TRAINER, content: bytes('evil') }], /two entries|twice/],
    [
      'with names that differ in case only',
      [{ name: TRAINER.toUpperCase(), content: bytes('evil') }],
      /case/,
    ],
    [
      'that has a file where it has a folder',
      [{ name: 'honest/app/custom', content: bytes('evil') }],
      /./,
    ],
    [
      'that unpacks to a thousand times its length',
      [{ name: 'honest/app/custom/zeros', content: zeros, deflate: true }],
      /unpack|ratio|at most/,
    ],
    [
      'that lies about how much it unpacks to',
      [{ name: 'honest/app/custom/zeros', content: zeros, deflate: true, declaredSize: 10 }],
      /damaged/,
    ],
    [
      'whose entries share their bytes, so that little unpacks to much',
      Array.from({ length: 150 }, (_, i) => ({
        name: `honest/app/custom/${i}`,
        content: zeros.subarray(0, 2 * 1024 * 1024),
        deflate: true,
        overlaps: i > 0,
      })),
      /unpack|ratio|at most/,
    ],
    [
      'with an encrypted entry',
      [{ name: 'honest/evil', content: bytes('x'), flags: 1 }],
      /cannot be read|encrypt/,
    ],
    [
      'with more entries than a job has',
      Array.from({ length: 10_001 }, (_, i) => ({ name: `honest/${i}`, content: bytes('') })),
      /entries/,
    ],
    [
      'with folders in folders without end',
      [{ name: `honest/${'d/'.repeat(40)}evil`, content: bytes('x') }],
      /folders/,
    ],
  ]
  it.each(attacks)('%s is refused', async (_what, extra, reason) => {
    const entries = await entriesOf(await signJob(honest, await signedBy(LEAD)))
    const reply = await lead.upload(zipOf([...entries, ...extra]))
    expect(reply).toMatch(/invalid_job_def/)
    expect(reply).toMatch(reason)
    await scene.recorded(SERVER, { actor: LEAD, act: 'submit_job', text: reason })
  })

  it('that cannot be read is refused', async () => {
    const half = zipOf([{ name: 'honest/meta.json', content: zeros.subarray(0, 4096) }])
    for (const archive of [
      bytes('no archive at all, whatever its name says'),
      Uint8Array.of(0x50),
      half.subarray(0, 2000),
      zipOf([]),
    ])
      expect(await lead.upload(archive)).toMatch(/invalid_job_def/)
    await scene.recorded(SERVER, { actor: LEAD, act: 'submit_job', text: /read as zip/ })
  })

  it.each([
    ['longer', 1],
    ['shorter', -1],
  ])('that is %s than was announced is refused', async (_what, by) => {
    const archive = await packed(await signJob(honest, await signedBy(LEAD)))
    expect(await lead.upload(archive, { fileSize: archive.length + by })).not.toMatch(/job_id/)
    await scene.recorded(SERVER, { actor: LEAD, act: 'submit_job' })
  })

  it('larger than the server takes is refused before it comes', async () => {
    const archive = await packed(await signJob(honest, await signedBy(LEAD)))
    expect(await lead.upload(archive, { fileSize: 2 ** 40 })).toMatch(/at most|too large|limit/)
    await scene.recorded(SERVER, { actor: LEAD })
  })
})

describe('a job', () => {
  const refused = async (files: JobFiles, reason: RegExp, actor = lead) => {
    const reply = await actor.upload(await packed(files))
    expect(reply).toMatch(/invalid_job_def/)
    expect(reply).toMatch(/signature/)
    expect(reply).toMatch(reason)
    await scene.recorded(SERVER, { actor: LEAD, act: 'submit_job', text: reason })
  }

  it('that nobody signed is refused', () => refused(honest, /not signed|unsigned/))

  it('that another person signed is refused', async () =>
    refused(await signJob(honest, await signedBy(BOSS)), /boss@example.org/))

  it('that a site signed is refused', async () =>
    refused(await signJob(honest, await signedBy('site-3')), /person/))

  it('that the server signed is refused', async () =>
    refused(await signJob(honest, await signedBy(SERVER)), /person|server1/))

  it('that the lead of another league signed is refused, though the name is the same', async () => {
    const { identity } = await loadKit(foreign.kit(LEAD), { now: Date.now() })
    await refused(await signJob(honest, identity), /certificate/)
  })

  const changes: [string, (files: JobFiles) => Promise<JobFiles> | JobFiles, RegExp][] = [
    [
      'whose code was changed',
      (files) => files.with(new Map([[TRAINER, bytes('// evil')]])),
      /train\.ts/,
    ],
    [
      'to which code was added',
      (files) => files.with(new Map([['honest/app/custom/evil.ts', bytes('// evil')]])),
      /evil\.ts/,
    ],
    [
      'from which a file was taken',
      (files) => files.without((path) => path === TRAINER),
      /train\.ts/,
    ],
    [
      'whose meta was changed',
      async (files) => {
        const meta = await files.readText('honest/meta.json', 1e6)
        const more = meta.replace('"min_clients": 2', '"min_clients": 1')
        expect(more).not.toBe(meta)
        return files.with(new Map([['honest/meta.json', bytes(more)]]))
      },
      /meta\.json/,
    ],
    [
      'of which two files changed places',
      async (files) => {
        const [server, client] = ['server', 'client'].map(
          (side) => `honest/app/config/config_fed_${side}.json`,
        ) as [string, string]
        return files.with(
          new Map([
            [server, await files.read(client, 1e6)],
            [client, await files.read(server, 1e6)],
          ]),
        )
      },
      /config_fed/,
    ],
    [
      'whose signatures were taken away in one folder',
      (files) => files.without((path) => path === `honest/app/custom/${SIGNATURES}`),
      /custom/,
    ],
  ]
  it.each(changes)('%s after signing is refused', async (_what, change, reason) => {
    const files = await change(await signJob(honest, await signedBy(LEAD)))
    const reply = await lead.upload(await packed(files))
    expect(reply).toMatch(/invalid_job_def/)
    expect(reply).toMatch(reason)
    await scene.recorded(SERVER, { actor: LEAD, act: 'submit_job', text: reason })
  })

  it('of somebody who may not submit is refused before it comes, though it is signed', async () => {
    const member = await AttackerPerson.open(scene.league.port, await scene.identityOf(MEMBER))
    scene.owns(member)
    const archive = await packed(await signJob(honest, await signedBy(MEMBER)))
    expect(await member.upload(archive)).toMatch(/not_authorized/)
    await scene.recorded(SERVER, { actor: MEMBER, act: 'submit_job', code: 'right-not-granted' })
  })

  it("in somebody else's session is refused", async () => {
    const member = await AttackerPerson.open(scene.league.port, await scene.identityOf(MEMBER))
    scene.owns(member)
    const archive = await packed(await signJob(honest, await signedBy(LEAD)))
    expect(await member.upload(archive, { token: lead.token })).toMatch(/not_authenticated/)
    await scene.recorded(SERVER, { actor: MEMBER, code: 'session-foreign' })
  })

  it('uploaded for a command that takes none is refused', async () => {
    const archive = await packed(await signJob(honest, await signedBy(LEAD)))
    expect(await lead.upload(archive, { command: 'sys_info server' })).toMatch(/takes no upload/)
    await scene.recorded(SERVER, { actor: LEAD })
  })

  it('that is as it was signed is taken, over the same way', async () => {
    scene.noAttack()
    const reply = await lead.upload(await packed(await signJob(honest, await signedBy(LEAD))))
    const job = /"job_id":"([^"]+)"/.exec(reply)?.[1] ?? ''
    await scene.session.wait(job, { signal: AbortSignal.timeout(60_000) })
    expect((await scene.session.show(job)).status).toBe('FINISHED:COMPLETED')
    await scene.expectRecordsHold()
  })
})
