import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JsonObject, systemClock } from '@hanse/contract'
import { readPolicy } from '@hanse/policy'
import type { PrivacyPolicy, SiteKit } from '@hanse/provision'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type JobOptions, trainerOf, writeJob } from '../../../../test/support/job-folder.ts'
import { appArchive, metaOf, siteKit, TestPeople } from '../../test/site-fixtures.ts'
import { type AppDeploymentComponents, deployApp, describeGrant } from './app-deployment.ts'

const people = new TestPeople()
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-deploy-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

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
}

async function deploy({ job, kit, meta, components, archive, withoutCode, ...given }: Case) {
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
  )
  return deployApp(
    {
      kit: site,
      clock: systemClock,
      policy: readPolicy(site.authorizationPolicy),
      runtimes: RUNTIMES,
      confinement: { level: 'namespaces', shortcomings: [] },
      ...components,
    },
    {
      jobId: 'j1',
      appName: 'app',
      meta: metaOf('j1', meta),
      archive: archive ?? app,
      folder: join(folder, 'run'),
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
