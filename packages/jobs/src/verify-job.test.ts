import { readFile } from 'node:fs/promises'
import { folderMembers, memberOf, openArchive, writeArchive } from '@hanse/archive'
import {
  type Certificate,
  generatePrivateKey,
  issueLeaf,
  issueRoot,
  loadIdentity,
  parseCertificates,
  signText,
} from '@hanse/pki'
import { beforeAll, describe, expect, it } from 'vitest'
import { JobFiles } from './job-files.ts'
import { readJobFolder } from './job-folder.ts'
import { type JobSigner, signJob } from './sign-job.ts'
import { MANIFEST_FILE, SIGNATURE_FILE, SUBMITTER_FILE } from './signature-files.ts'
import { type VerifyJobOptions, verifyJob } from './verify-job.ts'

const vectors = new URL('../../../vectors/', import.meta.url)
const now = Date.UTC(2026, 11, 1)
const submitter = { name: 'lead@example.org', org: 'org_b', role: 'lead' }

async function filesOf(path: string): Promise<JobFiles> {
  const members = []
  for await (const member of folderMembers(new URL(path, vectors).pathname)) members.push(member)
  return new JobFiles(members)
}

async function textAt(path: string): Promise<string> {
  return readFile(new URL(path, vectors), 'utf8')
}

let roots: readonly Certificate[]
let lead: JobSigner
let stockSigned: JobFiles

beforeAll(async () => {
  const kit = 'kits/central/kits/lead@example.org/startup'
  const root = await textAt(`${kit}/rootCA.pem`)
  roots = parseCertificates(root, 'rootCA.pem')
  const key = await textAt('kits/test-keys/TEST-ONLY-central-lead@example.org-client.key')
  const identity = loadIdentity({ root, key, cert: await textAt(`${kit}/client.crt`) }, { now })
  lead = { key: identity.key, chainPem: identity.chainPem }
  stockSigned = await filesOf('kits/signed-folders/by-submitter/')
})

const verify = (files: JobFiles, options: Partial<VerifyJobOptions> = {}) =>
  verifyJob(files, { roots, now, submitter, ...options })

const bytes = (text: string) => new TextEncoder().encode(text)

/** Changes one signature file as somebody without the key can. */
async function withSignatures(
  files: JobFiles,
  folder: string,
  change: (entries: Record<string, string>) => Record<string, string>,
): Promise<JobFiles> {
  const path = folder === '' ? SIGNATURE_FILE : `${folder}/${SIGNATURE_FILE}`
  const entries = change(JSON.parse(await files.readText(path, 1_000_000)))
  return files.with(new Map([[path, bytes(JSON.stringify(entries))]]))
}

const withoutBelow = (files: JobFiles, folder: string) =>
  new JobFiles(
    files.members().filter(({ path }) => path !== folder && !path.startsWith(`${folder}/`)),
  )

describe("stock's signed folders", () => {
  it('verify, and name their signer', async () => {
    expect(await verify(stockSigned)).toMatchObject({
      ok: true,
      signer: submitter,
      manifest: false,
    })
  })

  it('are refused when a site signed them, though stock accepts that', async () => {
    const files = await filesOf('kits/signed-folders/by-site-cert/')
    expect(await verify(files, { submitter: undefined })).toMatchObject({
      ok: false,
      code: 'signer-not-a-person',
    })
  })

  it('are refused where a manifest is required', async () => {
    expect(await verify(stockSigned, { requireManifest: true })).toMatchObject({
      code: 'manifest-missing',
    })
  })

  const mutations: [string, string, (files: JobFiles) => JobFiles | Promise<JobFiles>][] = [
    ['content changed', 'file-changed', (f) => f.with(new Map([['meta.txt', bytes('x')]]))],
    [
      'a deep file changed',
      'file-changed',
      (f) => f.with(new Map([['config/sub/bytes.bin', bytes('x')]])),
    ],
    ['a file added', 'file-added', (f) => f.with(new Map([['new.txt', bytes('')]]))],
    ['a hidden file added', 'file-added', (f) => f.with(new Map([['config/sub/.x', bytes('')]]))],
    ['a manifest added', 'file-added', (f) => f.with(new Map([[MANIFEST_FILE, bytes('{}')]]))],
    ['a file removed', 'file-removed', (f) => f.without((path) => path === 'meta.txt')],
    ['a folder removed', 'folder-removed', (f) => withoutBelow(f, 'config')],
    ['a sub-folder removed', 'folder-removed', (f) => withoutBelow(f, 'config/sub')],
    [
      'an empty folder added',
      'folder-added',
      (f) => new JobFiles([...f.members(), { kind: 'folder', path: 'empty' }]),
    ],
    ['the top signature removed', 'unsigned', (f) => f.without((path) => path === SIGNATURE_FILE)],
    [
      'a signature file missing',
      'signature-missing',
      (f) => f.without((path) => path === `config/sub/${SIGNATURE_FILE}`),
    ],
    [
      'the certificate missing',
      'certificate-missing',
      (f) => f.without((path) => path === SUBMITTER_FILE),
    ],
    [
      'a certificate missing',
      'certificate-missing',
      (f) => f.without((path) => path === `config/${SUBMITTER_FILE}`),
    ],
    [
      'another certificate',
      'certificate-differs',
      (f) => f.with(new Map([[`config/${SUBMITTER_FILE}`, bytes('x')]])),
    ],
    [
      'no certificate',
      'certificate-invalid',
      (f) => f.with(new Map([[SUBMITTER_FILE, bytes('x')]])),
    ],
    ['no JSON', 'signature-format', (f) => f.with(new Map([[SIGNATURE_FILE, bytes('{')]]))],
    ['a list', 'signature-format', (f) => f.with(new Map([[SIGNATURE_FILE, bytes('[]')]]))],
    [
      'no octets',
      'signature-format',
      (f) => f.with(new Map([[SIGNATURE_FILE, Uint8Array.of(255)]])),
    ],
    [
      'an entry removed with its file kept',
      'file-added',
      (f) => withSignatures(f, '', ({ config }) => ({ config: config ?? '' })),
    ],
    [
      'a signature of the wrong form',
      'file-changed',
      (f) => withSignatures(f, '', (e) => ({ ...e, 'meta.txt': '!' })),
    ],
    [
      'two files exchanged',
      'file-changed',
      async (f) =>
        f.with(
          new Map([
            ['config/sub/bytes.bin', await f.read('config/sub/empty.bin', 9999)],
            ['config/sub/empty.bin', await f.read('config/sub/bytes.bin', 9999)],
          ]),
        ),
    ],
    [
      'a file renamed',
      'file-removed',
      async (f) =>
        f
          .without((path) => path === 'meta.txt')
          .with(new Map([['x.txt', await f.read('meta.txt', 9999)]])),
    ],
    [
      'a folder renamed with its entry',
      'folder-changed',
      async (f) => {
        const renamed = new JobFiles(
          f.members().map((m) => ({ ...m, path: m.path.replace(/^config/, 'other') })),
        )
        return withSignatures(renamed, '', ({ config = '', ...rest }) => ({
          ...rest,
          other: config,
        }))
      },
    ],
  ]
  it.each(mutations)('are refused with %s (%s)', async (_, code, mutate) => {
    expect(await verify(await mutate(stockSigned))).toMatchObject({ ok: false, code })
  })

  it('are refused after the certificate ran out, and from another project', async () => {
    const late = await verify(stockSigned, { now: Date.UTC(2040, 0, 1) })
    expect(late).toMatchObject({ code: 'certificate-invalid', reason: /expired/ })
    const key = await generatePrivateKey()
    const other = issueRoot(key, { commonName: 'other', notBefore: 0, notAfter: now * 2 })
    expect(await verify(stockSigned, { roots: [other] })).toMatchObject({
      code: 'certificate-invalid',
    })
  })

  it.each([
    [{ name: 'admin@example.com', org: 'org_b', role: 'lead' }],
    [{ ...submitter, org: 'org_a' }],
    [{ ...submitter, role: 'project_admin' }],
  ])('are refused when %j submitted them', async (person) => {
    expect(await verify(stockSigned, { submitter: person })).toMatchObject({
      code: 'signer-not-submitter',
    })
  })
})

describe('signJob', () => {
  const jobFolder = () => readJobFolder(new URL('jobs/numpy-per-site', vectors).pathname)

  it('signs a job, which verifies whole and app by app, through an archive', async () => {
    const signed = await signJob(await jobFolder(), lead)
    const zip: Uint8Array[] = []
    for await (const chunk of writeArchive(signed.members())) zip.push(chunk)
    await using archive = await openArchive(Buffer.concat(zip))
    const job = new JobFiles(archive.members('numpy-per-site'))
    const meta = JSON.parse(await job.readText('meta.json', 9999))
    expect(await verify(job, { meta, requireManifest: true })).toMatchObject({
      ok: true,
      manifest: true,
    })
    for (const app of ['app_server', 'app_site-1', 'app_site-2'])
      expect(await verify(job.below(app), { meta, requireManifest: true })).toMatchObject({
        ok: true,
        signer: submitter,
      })
  })

  it('says in every manifest what it is signed for, and new signatures seal it', async () => {
    const submission = { league: 'l', server: 's', nonce: crypto.randomUUID(), signedAt: 1 }
    const seals = new Set<string>()
    for (const place of ['app_site-1', 'app_site-1', '']) {
      const signed = (await signJob(await jobFolder(), lead, submission)).below('numpy-per-site')
      const verdict = await verify(place === '' ? signed : signed.below(place))
      expect(verdict).toMatchObject({ ok: true, submission })
      if (verdict.ok) for (const seal of verdict.seals) seals.add(seal)
    }
    expect(seals.size).toBe(2)
  })

  it('has no signature for what the signer did not say of its submission', async () => {
    const submission = { league: 'l', server: 's', nonce: crypto.randomUUID(), signedAt: 1 }
    const app = (await signJob(await jobFolder(), lead, submission)).below(
      'numpy-per-site/app_site-1',
    )
    const text = await app.readText('.__hanse_manifest.json', 1e6)
    const later = new TextEncoder().encode(text.replace('"signedAt":1', '"signedAt":2'))
    const verdict = await verify(app.with(new Map([['.__hanse_manifest.json', later]])))
    expect(verdict).toMatchObject({ ok: false, code: 'file-changed' })
  })

  it('signs again what was signed, with the same result for the content', async () => {
    const once = await signJob(await jobFolder(), lead)
    const twice = await signJob(once, lead)
    expect([...twice.files.keys()].toSorted()).toEqual([...once.files.keys()].toSorted())
    expect(await verify(twice.below('numpy-per-site'))).toMatchObject({ ok: true })
  })

  const mutations: [string, string, (app: JobFiles) => Promise<JobFiles>][] = [
    [
      'a file renamed with its entry',
      'file-moved',
      async (app) => {
        const name = 'custom/train_linear.py'
        const renamed = app
          .without((path) => path === name)
          .with(new Map([['custom/other.py', await app.read(name, 9999)]]))
        return withSignatures(renamed, 'custom', (e) => ({
          'other.py': e['train_linear.py'] ?? '',
        }))
      },
    ],
    [
      'a file removed with its entry',
      'file-removed',
      async (app) =>
        withSignatures(
          app.without((path) => path === 'custom/train_linear.py'),
          'custom',
          () => ({}),
        ),
    ],
    [
      'the manifest changed',
      'file-changed',
      async (app) => app.with(new Map([[MANIFEST_FILE, bytes('{}')]])),
    ],
    [
      'an empty folder of the same signer put in',
      'folder-added',
      async (app) => {
        const other = new JobFiles([
          memberOf('extra/x/keep', bytes('')),
          { kind: 'folder', path: 'extra/x' },
        ])
        const extra = (await signJob(other, lead)).below('extra')
        const members = extra
          .members()
          .filter(({ path }) => path.startsWith('x'))
          .map((m) => ({ ...m, path: m.path }))
        const merged = new JobFiles([...app.members(), ...members])
        const entry = JSON.parse(await extra.readText(SIGNATURE_FILE, 9999)) as { x: string }
        const emptied = merged.without((path) => path === 'x/keep')
        return withSignatures(await withSignatures(emptied, 'x', () => ({})), '', (e) => ({
          ...e,
          x: entry.x,
        }))
      },
    ],
  ]
  it.each(mutations)('is not deceived by %s, which stock accepts', async (_, code, mutate) => {
    const signed = await signJob(await jobFolder(), lead)
    const app = signed.below('numpy-per-site/app_site-1')
    expect(await verify(await mutate(app))).toMatchObject({ ok: false, code })
  })

  it('is not deceived by two files that changed places with their signatures', async () => {
    const job = (await jobFolder()).with(
      new Map([['numpy-per-site/app_site-1/custom/second.py', bytes('print(2)')]]),
    )
    const app = (await signJob(job, lead)).below('numpy-per-site/app_site-1')
    const [first, second] = ['custom/train_linear.py', 'custom/second.py'] as const
    const swapped = app.with(
      new Map([
        [first, await app.read(second, 9999)],
        [second, await app.read(first, 9999)],
      ]),
    )
    const deceiving = await withSignatures(swapped, 'custom', (e) => ({
      'train_linear.py': e['second.py'] ?? '',
      'second.py': e['train_linear.py'] ?? '',
    }))
    expect(await verify(deceiving)).toMatchObject({ code: 'file-moved' })
  })

  it('is not deceived by the config of another app of the same signer', async () => {
    const job = (await signJob(await jobFolder(), lead)).below('numpy-per-site')
    const mixed = new JobFiles([
      ...withoutBelow(job.below('app_site-1'), 'config').members(),
      ...job
        .below('app_site-2')
        .members()
        .filter(({ path }) => path === 'config' || path.startsWith('config/')),
    ])
    expect(await verify(mixed)).toMatchObject({ ok: false, code: 'file-moved' })
  })

  it('binds where and how the job runs', async () => {
    const job = (await signJob(await jobFolder(), lead)).below('numpy-per-site')
    const meta = JSON.parse(await job.readText('meta.json', 9999))
    const app = job.below('app_site-1')
    expect(await verify(app, { meta: { ...meta, study: 's', job_id: 'x' } })).toMatchObject({
      ok: true,
    })
    expect(await verify(app, { meta: { ...meta, scope: 'private' } })).toMatchObject({
      code: 'meta-changed',
      place: 'meta.json#/scope',
    })
    const { launcher_spec: _, ...rest } = meta
    expect(await verify(app, { meta: rest })).toMatchObject({ code: 'meta-changed' })
  })

  it('is not accepted from a site with a Hanse certificate', async () => {
    const rootKey = await generatePrivateKey()
    const validity = { notBefore: now - 1000, notAfter: now + 1000 }
    const root = issueRoot(rootKey, { commonName: 'p', ...validity })
    const key = await generatePrivateKey()
    const leaf = issueLeaf(root, rootKey, {
      commonName: 'site-1',
      organization: 'org_b',
      role: 'lead',
      publicKey: key.publicKey,
      hosts: [],
      ...validity,
      profile: {
        keyUsage: ['digitalSignature'],
        extendedKeyUsage: ['clientAuth'],
        kitMark: { version: 1, type: 'site' },
      },
    })
    const files = new JobFiles([
      memberOf('a', bytes('x')),
      memberOf(SIGNATURE_FILE, bytes(JSON.stringify({ a: signText(key, bytes('x')) }))),
      memberOf(SUBMITTER_FILE, bytes(leaf.pem)),
    ])
    expect(await verify(files, { roots: [root], submitter: undefined })).toMatchObject({
      code: 'signer-not-a-person',
    })
  })
})
