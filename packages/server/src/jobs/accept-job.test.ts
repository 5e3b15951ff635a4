import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { folderMembers, writeArchive } from '@hanse/archive'
import type { JobStore } from '@hanse/contract'
import {
  createMemoryJobStore,
  deleteJob,
  readJobFolder,
  type SubmissionProof,
  signJob,
} from '@hanse/jobs'
import { DEFAULT_HANSE_SETTINGS, type ServerKit } from '@hanse/provision'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { trainerOf, writeJob } from '../../../../test/support/job-folder.ts'
import { TestPeople } from '../../../site/test/site-fixtures.ts'
import type { JobSubmission } from '../admin/server-control.ts'
import { acceptJob } from './accept-job.ts'
import { Submissions } from './submissions.ts'

let folder: string
let archiveFile: string
let store: JobStore
let submissions: Submissions
const signer = {
  sign: (text: string) => text,
  verify: (text: string, code: string) => text === code,
}
const openSubmissions = () => Submissions.open(join(folder, 'submissions.json'), store, signer)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-accept-'))
  store = createMemoryJobStore()
  submissions = await openSubmissions()
  archiveFile = await packJob('job')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function packJob(name: string, hasCode = true): Promise<string> {
  const file = join(folder, `${name}.zip`)
  const parts: Uint8Array[] = []
  const executor = { path: 'nvflare.app_common.np.np_trainer.NPTrainer' }
  const client = hasCode ? {} : { executors: [{ tasks: ['*'], executor }] }
  const job = await writeJob(folder, { name, trainer: trainerOf(''), client })
  if (!hasCode) await rm(join(job, 'app', 'custom'), { recursive: true })
  const members = []
  for await (const member of folderMembers(job))
    members.push({ ...member, path: `${name}/${member.path}` })
  for await (const part of writeArchive(members)) parts.push(part)
  await writeFile(file, Buffer.concat(parts))
  return file
}

function accept(
  componentPolicy: ServerKit['settings']['componentPolicy'],
  more: Partial<JobSubmission> = {},
) {
  const settings = { requireSignedJobs: false, componentPolicy }
  const kit = { identity: { roots: [] }, settings } as unknown as ServerKit // what is looked at
  return acceptJob(
    { kit, store, submissions, now: () => 0, mayHaveStockSites: () => true },
    {
      archiveFile,
      folderName: 'job',
      submitter: { name: 'lead@example.org', organization: 'league', role: 'lead' },
      study: 'default',
      customProperties: {},
      ...more,
    },
  )
}

const FEDAVG = 'nvflare.app_common.workflows.fedavg.FedAvg'

describe("a server's own list of components", () => {
  const withoutCode = async (componentPolicy: ServerKit['settings']['componentPolicy']) =>
    accept(componentPolicy, { archiveFile: await packJob('plain', false) })

  it('says which of them jobs may use on it, by any of their names', async () => {
    expect(await withoutCode({ mode: 'enforce', allowed: ['other.Thing'] })).toEqual({
      ok: false,
      problems: [expect.stringMatching(new RegExp(`class_allow_list.* ${FEDAVG}$`))],
    })
    for (const name of [FEDAVG, 'hanse.FedAvg'])
      expect(await withoutCode({ mode: 'enforce', allowed: [name] })).toMatchObject({ ok: true })
  })

  it('has no say about jobs with code of their own, where there is none, or where it only warns', async () => {
    expect(await accept({ mode: 'enforce', allowed: [] })).toMatchObject({ ok: true })
    expect(await withoutCode({ mode: 'enforce', allowed: undefined })).toMatchObject({ ok: true })
    expect(await withoutCode({ mode: 'warn', allowed: [] })).toMatchObject({ ok: true })
  })
})

describe('a submission with a token', () => {
  const submit = (more: Partial<JobSubmission> = {}) =>
    accept({ mode: 'enforce', allowed: undefined }, { submitToken: 't1', ...more })

  it('makes one job, however often and however fast it is repeated', async () => {
    const outcomes = await Promise.all([submit(), submit(), submit()])
    expect(new Set(outcomes.map((outcome) => outcome.ok && outcome.jobId)).size).toBe(1)
    expect(await store.list()).toHaveLength(1)
    expect(JSON.stringify(await store.list())).not.toContain('"t1"')
  })

  it('is of one person and one study', async () => {
    await submit()
    const other = { name: 'other@example.org', organization: 'league', role: 'lead' }
    await submit({ submitter: other })
    await submit({ study: 'heart' })
    expect(await store.list()).toHaveLength(3)
  })

  it('is refused for other content', async () => {
    const first = await submit()
    const jobId = first.ok ? first.jobId : ''
    const other = await packJob('other')
    expect(await submit({ archiveFile: other })).toEqual({ ok: false, usedFor: { jobId } })
  })

  it('is refused once its job was deleted, over restarts too', async () => {
    const first = await submit()
    const jobId = first.ok ? first.jobId : ''
    const { meta } = (await store.get(jobId))!
    await deleteJob(store, jobId)
    await submissions.deleted(jobId, meta, 5)
    submissions = await openSubmissions()
    expect(await submit()).toEqual({ ok: false, usedFor: { jobId, deletedAt: 5 } })
  })

  it('can be used again for what was refused', async () => {
    const archiveFile = await packJob('plain', false)
    const refused = { submitToken: 't1', archiveFile }
    expect(await accept({ mode: 'enforce', allowed: [] }, refused)).toMatchObject({ ok: false })
    expect(await submit()).toMatchObject({ ok: true })
  })
})

describe('a submission that says what it was signed for', () => {
  const people = new TestPeople()
  const DAY_MS = 86_400_000

  async function submit(more: Partial<SubmissionProof>) {
    const job = await writeJob(join(folder, 'signed'), { name: 'job', trainer: trainerOf('') })
    const lead = await people.of('lead@example.org')
    const proof = {
      league: 'league',
      server: 'server1',
      nonce: crypto.randomUUID(),
      signedAt: Date.now(),
      ...more,
    }
    const parts: Uint8Array[] = []
    const signed = await signJob(await readJobFolder(job), lead, proof)
    for await (const part of writeArchive(signed.members())) parts.push(part)
    const file = join(folder, 'signed.zip')
    await writeFile(file, Buffer.concat(parts))
    const kit = {
      project: 'league',
      identity: { name: 'server1', roots: lead.roots },
      settings: { componentPolicy: { mode: 'enforce', allowed: undefined } },
      hanse: DEFAULT_HANSE_SETTINGS,
    } as unknown as ServerKit // what is looked at
    return acceptJob(
      { kit, store, submissions, now: Date.now, mayHaveStockSites: () => true },
      {
        archiveFile: file,
        folderName: 'job',
        submitter: { name: lead.name, organization: 'org_a', role: 'lead' },
        study: 'default',
        customProperties: {},
      },
    )
  }

  it('is taken where and when it was meant', async () => {
    expect(await submit({})).toMatchObject({ ok: true })
  })

  it.each([
    [{ league: 'others' }, /submitted to 'server1' of 'others'/],
    [{ server: 'server2' }, /submitted to 'server2'/],
    [{ signedAt: Date.now() - 31 * DAY_MS }, /31 days ago.*submit it again/],
    [{ signedAt: Date.now() + DAY_MS }, /compare the clocks/],
  ])('is refused otherwise: %j', async (more, reason) => {
    expect(await submit(more)).toEqual({
      ok: false,
      problems: [expect.stringMatching(reason)],
    })
    expect(await store.list()).toEqual([])
  })
})
