import { createReadStream } from 'node:fs'
import { type Archive, openArchive } from '@hanse/archive'
import { type JobStore, type JsonObject, messageOf, PlatformError } from '@hanse/contract'
import {
  formatProblems,
  JobFiles,
  newJobMeta,
  submissionObjection,
  type ValidJob,
  validateJob,
  verifyJob,
} from '@hanse/jobs'
import { type Catalogue, createCatalogue, standardComponents } from '@hanse/learning'
import { isListedComponent } from '@hanse/policy'
import type { ServerKit } from '@hanse/provision'
import type { JobSubmission, SubmissionOutcome } from '../admin/server-control.ts'
import { type Submissions, submissionKey, submissionMeta } from './submissions.ts'

export interface AcceptJobComponents {
  readonly kit: ServerKit
  readonly store: JobStore
  readonly submissions: Submissions
  /** Ms since the epoch. */
  readonly now: () => number
  /** Whether a site may run on the stock package, and so have components that we do not have. */
  readonly mayHaveStockSites: () => boolean
}

/**
 * Takes a submitted job into the store, or says everything that is wrong with it: the archive, what it describes,
 * components that we do not have, and the signature, which must be the submitter's.
 */
export async function acceptJob(
  components: AcceptJobComponents,
  submission: JobSubmission,
): Promise<SubmissionOutcome> {
  try {
    await using archive = await openArchive(submission.archiveFile)
    const job = await checkJob(components, submission, archive)
    if (Array.isArray(job)) return { ok: false, problems: job }
    return submission.submitToken === undefined
      ? await keepJob(components, submission, job)
      : await keepOnce(components, submission, job, submission.submitToken)
  } catch (error) {
    // What the archive itself breaks; faults of ours have other codes.
    if (error instanceof PlatformError && error.code.startsWith('ERR_ARCHIVE'))
      return { ok: false, problems: [`the archive is refused: ${messageOf(error)}`] }
    throw error
  }
}

/** @returns the job, or its problems */
async function checkJob(
  { kit, now, mayHaveStockSites }: AcceptJobComponents,
  { submitter }: JobSubmission,
  archive: Archive,
): Promise<ValidJob | string[]> {
  const files = new JobFiles(archive.members())
  const catalogue = createCatalogue(standardComponents())
  const unlisted = new Set<string>()
  const validation = await validateJob(files, {
    catalogue: {
      has(path, side, isOwnCode) {
        const { componentPolicy } = kit.settings
        const names = namesOf(catalogue, path)
        if (side === 'server' && !names.some((name) => isListedComponent(componentPolicy, name)))
          unlisted.add(path)
        // A site decides for itself: a Hanse site refuses what it does not have when the app comes.
        return (
          catalogue.offers(path, side) ||
          (side === 'client' && (isOwnCode || isStockClass(path)) && mayHaveStockSites())
        )
      },
    },
  })
  if (!validation.ok) return formatProblems(validation.problems).split('\n')
  const { job } = validation
  // As at sites and in stock: who brings code may also use every component that there is.
  if (unlisted.size > 0 && !job.byoc)
    return [
      `the list of components of this server (class_allow_list) does not have ${[...unlisted].join(', ')}`,
    ]
  const verdict = await verifyJob(files.below(job.folder), {
    roots: kit.identity.roots,
    now: now(),
    submitter: submitterIdentity(submitter),
    meta: job.meta,
  })
  if (verdict.ok) {
    const objection =
      verdict.submission &&
      submissionObjection(verdict.submission, {
        league: kit.project,
        server: kit.identity.name,
        now: now(),
        maxAgeDays: kit.hanse.submissionMaxAgeDays,
      })
    return objection === undefined ? job : [`the job's submission is refused: ${objection.reason}`]
  }
  if (verdict.code === 'unsigned' && kit.settings.requireSignedJobs === false) return job
  return [`the job's signature is refused: ${verdict.place}: ${verdict.reason}`]
}

/** Keeps a job if its token was never used; for the same content the job of then is the answer. */
function keepOnce(
  components: AcceptJobComponents,
  submission: JobSubmission,
  job: ValidJob,
  token: string,
): Promise<SubmissionOutcome> {
  const { submissions } = components
  const key = submissionKey(submission.study, submission.submitter, token)
  return submissions.inTurn(key, async () => {
    const earlier = await submissions.find(key)
    if (earlier === undefined) return keepJob(components, submission, job, submissionMeta(key))
    const { jobId } = earlier
    if (earlier.state === 'deleted')
      return { ok: false, usedFor: { jobId, deletedAt: earlier.deletedAt } }
    return earlier.contentHash === job.contentHash
      ? { ok: true, jobId }
      : { ok: false, usedFor: { jobId } }
  })
}

/** Every name of the component that a job names: a list may have it by any of them. */
function namesOf(catalogue: Catalogue, pathOrName: string): readonly string[] {
  const entry = catalogue.find(pathOrName) ?? catalogue.findByName(pathOrName)
  return typeof entry === 'object' ? [pathOrName, entry.path, ...entry.aliases] : [pathOrName]
}

async function keepJob(
  { store, now }: AcceptJobComponents,
  { archiveFile, submitter, study, customProperties }: JobSubmission,
  job: ValidJob,
  more: JsonObject = {},
): Promise<SubmissionOutcome> {
  const meta = newJobMeta(job, {
    id: crypto.randomUUID(),
    submitter: submitterIdentity(submitter),
    study,
    now: now(),
  })
  const properties =
    Object.keys(customProperties).length === 0 ? {} : { custom_props: customProperties }
  const stored = await store.create(
    { ...meta, ...properties, ...more },
    createReadStream(archiveFile),
  )
  return { ok: true, jobId: stored.id }
}

function isStockClass(path: string): boolean {
  return path.startsWith('nvflare.')
}

function submitterIdentity({ name, organization, role }: JobSubmission['submitter']) {
  return { name, org: organization, role }
}
