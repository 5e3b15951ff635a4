import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openArchive, writeArchive } from '@hanse/archive'
import { type JsonObject, systemClock } from '@hanse/contract'
import { JobFiles, type SubmissionProof } from '@hanse/jobs'
import { loginSigner, loginVerifier } from '@hanse/pki'
import { readPolicy } from '@hanse/policy'
import { DEFAULT_HANSE_SETTINGS, type PrivacyPolicy, type SiteKit } from '@hanse/provision'
import { CLONE_COMMAND_KEY, signCommand, writeSignedCommand } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type JobOptions, trainerOf, writeJob } from '../../../../test/support/job-folder.ts'
import { appArchive, metaOf, siteKit, TestPeople } from '../../test/site-fixtures.ts'
import { type AppDeploymentComponents, deployApp, describeGrant } from './app-deployment.ts'
import { SubmissionMemory } from './submission-memory.ts'

const people = new TestPeople()
let folder: string
let memory: SubmissionMemory
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-deploy-'))
  memory = await SubmissionMemory.open(join(folder, 'submissions.jsonl'), systemClock)
})
afterEach(async () => {
  await memory[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const RUNTIMES = new Map([
  ['node', { program: '/bin/node', kind: 'node' as const, options: [], environment: {}, read: [] }],
])

interface Case {
  readonly job?: Partial<JobOptions>
  readonly kit?: Partial<SiteKit>
  readonly meta?: JsonObject
  readonly signer?: string | undefined
  readonly components?: Partial<AppDeploymentComponents>
  readonly archive?: Uint8Array
  readonly withoutCode?: boolean
  readonly submission?: SubmissionProof
  readonly jobId?: string
}

async function deploy({
  job,
  kit,
  meta,
  components,
  archive,
  withoutCode,
  submission,
  jobId = 'j1',
  ...given
}: Case) {
  const jobFolder = await writeJob(join(folder, 'upload'), { trainer: trainerOf(''), ...job })
  if (withoutCode === true) {
    await rm(join(jobFolder, 'app', 'custom'), { recursive: true })
    await writeFile(
      join(jobFolder, 'app', 'config', 'config_fed_client.json'),
      JSON.stringify({
        format_version: 2,
        executors: [
          { tasks: ['train'], executor: { path: 'nvflare.app_common.np.np_trainer.NPTrainer' } },
        ],
      }),
    )
  }
  const signer = 'signer' in given ? given.signer : 'lead@example.org'
  const site = siteKit(await people.of('site-1', ''), kit)
  const app = await appArchive(
    jobFolder,
    signer === undefined ? undefined : await people.of(signer),
    submission,
  )
  return deployApp(
    {
      kit: site,
      clock: systemClock,
      policy: readPolicy(site.authorizationPolicy),
      runtimes: RUNTIMES,
      confinement: { level: 'namespaces', shortcomings: [] },
      submissions: memory,
      verifier: loginVerifier(site.identity, systemClock),
      ...components,
    },
    {
      jobId,
      appName: 'app',
      meta: metaOf(jobId, meta),
      archive: archive ?? app,
      folder: join(folder, jobId === 'j1' ? 'run' : `run of ${jobId}`),
    },
  )
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

const filter = { where: 'scopes[0]', payload: 'result' as const, component: { name: 'X' } }
const scopes = (defaultScope: string | undefined): PrivacyPolicy => ({
  scopes: new Map([
    ['careful', { name: 'careful', filters: [filter] }],
    ['open', { name: 'open', filters: [] }],
  ]),
  defaultScope,
})
const forScope = (scope: string) => new Map([['scans', { path: '/data', scopes: [scope] }]])

describe('the privacy scope of an app', () => {
  it('is the one that it names, and opens its data sets', async () => {
    const app = await deploy({
      job: { datasets: ['scans'], meta: { scope: 'open' } },
      meta: { scope: 'open' },
      kit: { privacyPolicy: scopes('careful'), datasets: forScope('open') },
    })
    expect(app).toMatchObject({ scope: { name: 'open' }, datasets: { scans: '/data' } })
    expect(describeGrant(app)).toContain("privacy scope 'open'")
  })

  it('is the default of the site when it names none', async () => {
    const app = await deploy({
      job: { datasets: ['scans'] },
      kit: { privacyPolicy: scopes('careful'), datasets: forScope('careful') },
    })
    expect(app).toMatchObject({
      scope: { name: 'careful', filters: [filter] },
      datasets: { scans: '/data' },
    })
  })

  it('is none at a site without such rules, whatever the job calls it', async () => {
    const app = await deploy({ job: { meta: { scope: 'x' } }, meta: { scope: 'x' } })
    expect(app.scope).toBeUndefined()
    expect(describeGrant(app)).not.toContain('privacy')
  })
})

describe('an app', () => {
  it('that its submitter signed is laid out as stock does', async () => {
    const app = await deploy({})
    expect(app).toMatchObject({ name: 'app', datasets: {}, meta: { job_id: 'j1', byoc: true } })
    expect(describeGrant(app)).toBe('code of its own, no data set')
    expect(await readFile(join(folder, 'run', 'fl_app.txt'), 'utf8')).toBe('app')
    expect(JSON.parse(await readFile(join(folder, 'run', 'meta.json'), 'utf8'))).toEqual(app.meta)
    await readFile(join(folder, 'run', 'app_site-1', 'config', 'config_fed_client.json'))
    await readFile(join(folder, 'run', 'app_site-1', 'custom', 'train.ts'))
  })

  it('gets the data sets that it asks for, by name', async () => {
    const datasets = new Map([
      ['scans', { path: '/data/scans', scopes: undefined }],
      ['other', { path: '/data/other', scopes: undefined }],
    ])
    const app = await deploy({ job: { datasets: ['scans'] }, kit: { datasets } })
    expect(app.datasets).toEqual({ scans: '/data/scans' })
    expect(describeGrant(app)).toContain('data sets scans')
  })

  it('without a signature is taken where the site does not ask for one', async () => {
    const { settings } = siteKit(await people.of('site-1', ''))
    const kit = { settings: { ...settings, requireSignedJobs: false } }
    expect(await deploy({ signer: undefined, kit })).toMatchObject({ name: 'app' })
  })
})

describe('an app is refused', () => {
  const kitOf = async (more: Partial<SiteKit['settings']>): Promise<Partial<SiteKit>> => {
    const { settings } = siteKit(await people.of('site-1', ''))
    return { settings: { ...settings, ...more } }
  }
  const listing = (...allowed: string[]) =>
    kitOf({ componentPolicy: { mode: 'enforce', allowed }, requireSignedJobs: false })

  const cases: [string, string | RegExp, () => Case | Promise<Case>][] = [
    ['without meta of its own', 'meta-missing', () => ({ meta: { job_id: 'j2' } })],
    ['that is no archive', /^ERR_ARCHIVE/, () => ({ archive: Uint8Array.of(1, 2, 3) })],
    ['without a signature', 'signature-unsigned', () => ({ signer: undefined })],
    [
      'signed by another than its submitter',
      'signature-signer-not-submitter',
      () => ({ signer: 'mallory@example.org' }),
    ],
    [
      'whose submitter has a role that may not',
      'right-not-granted',
      async () => ({
        signer: undefined,
        kit: await kitOf({ requireSignedJobs: false }),
        meta: { submitter_role: 'member' },
      }),
    ],
    [
      'whose submitter has no role here',
      'role-unknown',
      async () => ({
        signer: undefined,
        kit: await kitOf({ requireSignedJobs: false }),
        meta: { submitter_role: 'king' },
      }),
    ],
    ['when there is no policy', /./, () => ({ kit: { authorizationPolicy: undefined } })],
    [
      'with a scope that the site does not know',
      'scope-not-allowed',
      () => ({
        job: { meta: { scope: 'x' } },
        meta: { scope: 'x' },
        kit: { privacyPolicy: scopes('careful') },
      }),
    ],
    [
      'without a scope where there is no default',
      'scope-not-allowed',
      () => ({ kit: { privacyPolicy: scopes(undefined) } }),
    ],
    [
      'with a data set for jobs of another scope, by the default',
      'dataset-scope',
      () => ({
        job: { datasets: ['scans'] },
        kit: { privacyPolicy: scopes('careful'), datasets: forScope('open') },
      }),
    ],
    [
      'with a data set for jobs of a scope that it only claims, where there are none',
      'dataset-scope',
      () => ({
        job: { datasets: ['scans'], meta: { scope: 'open' } },
        meta: { scope: 'open' },
        kit: { datasets: forScope('open') },
      }),
    ],
    [
      'with code that cannot be confined here',
      'confinement-too-weak',
      () => ({
        components: {
          confinement: { level: 'node-permission', shortcomings: ['bwrap is not installed'] },
        },
      }),
    ],
    [
      'with a component that does not exist',
      'app-invalid',
      () => ({
        job: {
          client: { components: [{ id: 'x', path: 'evil.Component' }] },
        },
      }),
    ],
    [
      'with a runtime that the site does not offer',
      'app-invalid',
      () => ({ job: { command: ['bash', 'custom/train.ts'] } }),
    ],
    [
      'with a component that is not on the list of the site',
      'component-not-listed',
      async () => ({ withoutCode: true, signer: undefined, kit: await listing('some.other') }),
    ],
    [
      'with a data set that is not there',
      'dataset-unknown',
      () => ({ job: { datasets: ['scans'] } }),
    ],
    [
      'with a data set for jobs of a scope',
      'dataset-scope',
      () => ({
        job: { datasets: ['scans'] },
        kit: { datasets: new Map([['scans', { path: '/data', scopes: ['research'] }]]) },
      }),
    ],
  ]
  it.each(cases)('%s', async (_why, code, make) => {
    const failed = await deploy(await make()).catch((error: unknown) => error)
    expect(failed).toMatchObject({
      code: typeof code === 'string' ? code : expect.stringMatching(code),
    })
    // Words that may leave the site: none of them is a path of it.
    expect(String(failed)).not.toContain(folder)
    expect(await exists(join(folder, 'run'))).toBe(false)
  })

  it('and what was there in its place goes', async () => {
    await mkdir(join(folder, 'run'))
    await expect(deploy({ signer: undefined })).rejects.toThrow()
    expect(await exists(join(folder, 'run'))).toBe(false)
  })

  it('not for a component off the list where the list only warns', async () => {
    const kit = await kitOf({
      componentPolicy: { mode: 'warn', allowed: [] },
      requireSignedJobs: false,
    })
    const failed = await deploy({ withoutCode: true, signer: undefined, kit }).catch(
      (error: unknown) => error,
    )
    expect(failed).not.toMatchObject({ code: 'component-not-listed' })
  })
})

describe('a submission', () => {
  const LEAD = 'lead@example.org'
  const SCOPE = { league: 'league', server: 'server1' }
  const STRICT = {
    hanse: {
      ...DEFAULT_HANSE_SETTINGS,
      require: { ...DEFAULT_HANSE_SETTINGS.require, signedCommands: true },
    },
  }

  const proof = (more: Partial<SubmissionProof> = {}): SubmissionProof => ({
    ...SCOPE,
    nonce: crypto.randomUUID(),
    signedAt: Date.now(),
    ...more,
  })

  /** The lead's order to clone a job, as the metadata of the clone has it. */
  async function order(
    source: string,
    given: { command?: string; by?: string; ageMs?: number } = {},
  ) {
    const { command = `clone_job ${source}`, by = LEAD, ageMs = 0 } = given
    const clock = { ...systemClock, now: () => Date.now() - ageMs }
    const signer = loginSigner(await people.of(by))
    const signed = await signCommand({ ...SCOPE, command, meta: {} }, signer, clock)
    return { [CLONE_COMMAND_KEY]: writeSignedCommand(signed) }
  }

  it('is good for one job; deploying that again goes on to work', async () => {
    const submission = proof()
    await deploy({ submission })
    await rm(join(folder, 'run'), { recursive: true })
    await deploy({ submission })
    await expect(deploy({ submission, jobId: 'j2' })).rejects.toMatchObject({
      code: 'submission-used',
      message: expect.stringContaining('for job j1'),
    })
    expect(await exists(join(folder, 'run of j2'))).toBe(false)
    await deploy({ submission: proof(), jobId: 'j3' })
  })

  it('is not used up by a deployment that was refused for another reason', async () => {
    const submission = proof()
    const weak = { confinement: { level: 'node-permission', shortcomings: [] } } as const
    await expect(deploy({ submission, jobId: 'j0', components: weak })).rejects.toMatchObject({
      code: 'confinement-too-weak',
    })
    await deploy({ submission })
  })

  it.each([
    ['to another league', { league: 'others' }, 'submission-elsewhere'],
    ['to another server', { server: 'server2' }, 'submission-elsewhere'],
    ['31 days ago', { signedAt: Date.now() - 31 * 86_400_000 }, 'submission-expired'],
    ['an hour from now', { signedAt: Date.now() + 3_600_000 }, 'submission-expired'],
  ])('that was made %s is refused', async (_how, more, code) => {
    await expect(deploy({ submission: proof(more) })).rejects.toMatchObject({ code })
  })

  it('is taken for as long as the site says', async () => {
    const hanse = { ...DEFAULT_HANSE_SETTINGS, submissionMaxAgeDays: 40 }
    await deploy({ submission: proof({ signedAt: Date.now() - 31 * 86_400_000 }), kit: { hanse } })
  })

  it('without a proof is taken, unless the site wants what people do signed', async () => {
    await deploy({})
    await deploy({ jobId: 'j2' })
    const loose = { ...siteKit(await people.of('site-1', '')).settings, requireSignedJobs: false }
    for (const signer of [LEAD, undefined])
      await expect(
        deploy({ jobId: 'j3', signer, kit: { ...STRICT, settings: loose } }),
      ).rejects.toMatchObject({
        code: expect.stringMatching(/submission-unproven|signature-unsigned/),
      })
    await deploy({ jobId: 'j4', submission: proof(), kit: STRICT })
  })

  it('whose proof was taken away is known by its signatures', async () => {
    const jobFolder = await writeJob(join(folder, 'stolen'), { trainer: trainerOf('') })
    const app = await appArchive(jobFolder, await people.of(LEAD), proof())
    await deploy({ archive: app })
    await using opened = await openArchive(app)
    const files = new JobFiles(opened.members())
    const place = '.__nvfl_sig.json'
    const { '.__hanse_manifest.json': _taken, ...signatures } = JSON.parse(
      await files.readText(place, 1e6),
    )
    const stripped = files
      .without((path) => path === '.__hanse_manifest.json')
      .with(new Map([[place, new TextEncoder().encode(JSON.stringify(signatures))]]))
    const parts: Uint8Array[] = []
    for await (const part of writeArchive(stripped.members())) parts.push(part)
    await expect(deploy({ jobId: 'j2', archive: Buffer.concat(parts) })).rejects.toMatchObject({
      code: 'submission-unproven',
      message: expect.stringContaining('job j1 came with the same signatures'),
    })
  })

  describe('that is cloned', () => {
    it('runs once more for each order of its person', async () => {
      const submission = proof({ signedAt: Date.now() - 60 * 86_400_000 })
      const meta = await order('j1')
      await deploy({ submission, jobId: 'j2', meta })
      await expect(deploy({ submission, jobId: 'j3', meta })).rejects.toMatchObject({
        code: 'submission-used',
      })
      await deploy({ submission, jobId: 'j3', meta: await order('j2') })
    })

    it.each<[string, () => Promise<JsonObject>, string]>([
      [
        'an order that cannot be read',
        async () => ({ [CLONE_COMMAND_KEY]: '{}' }),
        'clone-not-ordered',
      ],
      [
        'the order of another person',
        () => order('j1', { by: 'other@example.org' }),
        'clone-not-ordered',
      ],
      ['another command', () => order('j1', { command: 'abort_job j1' }), 'clone-not-ordered'],
      ['an order of long ago', () => order('j1', { ageMs: 31 * 86_400_000 }), 'submission-expired'],
      [
        'an order that was changed',
        async () => {
          const { [CLONE_COMMAND_KEY]: text } = await order('j0')
          return { [CLONE_COMMAND_KEY]: String(text).replace('j0', 'j1') }
        },
        'clone-not-ordered',
      ],
    ])('is refused with %s', async (_what, meta, code) => {
      const submission = proof()
      await deploy({ submission })
      await expect(deploy({ submission, jobId: 'j2', meta: await meta() })).rejects.toMatchObject({
        code,
      })
    })

    it('is not what another job holds', async () => {
      await deploy({ submission: proof() })
      await expect(
        deploy({ submission: proof(), jobId: 'j2', meta: await order('j1') }),
      ).rejects.toMatchObject({ code: 'clone-not-ordered' })
    })
  })
})
