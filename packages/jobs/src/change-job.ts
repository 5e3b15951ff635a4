import type { JobState, JobStore, JsonObject, StoredJob } from '@hanse/contract'
import { canFollow, isTerminal } from './job-state.ts'
import { JobsError } from './jobs-error.ts'

export interface ChangeJobOptions {
  /** Ms since the epoch. */
  readonly now: number
  /** The job must be in one of these; default: any that `to` may follow. */
  readonly from?: readonly JobState[] | undefined
  /** Further keys of the metadata to set. */
  readonly set?: JsonObject | undefined
  /** Why, for people; kept as `reason`. */
  readonly reason?: string | undefined
}

export type JobChange =
  | { readonly changed: true; readonly job: StoredJob }
  /** `job` is what is there instead; `undefined`: no such job. */
  | { readonly changed: false; readonly job: StoredJob | undefined }

/** Tries before giving up; each one lost means that somebody else has changed the job in between. */
const MAX_TRIES = 20

/**
 * Brings a job into another state, by compare-and-set: of several that try, one wins, and a state that `to` must
 * not follow is left alone. Keeps stock's times: `start_time`, `duration`.
 * @throws {JobsError} `ERR_JOB_CONTENDED`
 */
export async function changeJobState(
  store: JobStore,
  id: string,
  to: JobState,
  { now, from, set = {}, reason }: ChangeJobOptions,
): Promise<JobChange> {
  return compareAndRetry(store, id, (job) => {
    if (!canFollow(job.state, to) || from?.includes(job.state) === false) return undefined
    return {
      ...job.meta,
      ...set,
      ...timesOf(job, to, now),
      ...(reason !== undefined && { reason: reason }),
      status: to,
    }
  })
}

/**
 * Sets keys of a job's metadata without changing its state.
 * @throws {JobsError} `ERR_JOB_CONTENDED`
 */
export async function setJobMeta(
  store: JobStore,
  id: string,
  set: JsonObject | ((job: StoredJob) => JsonObject | undefined),
): Promise<JobChange> {
  return compareAndRetry(store, id, (job) => {
    const change = typeof set === 'function' ? set(job) : set
    return change === undefined ? undefined : { ...job.meta, ...change, status: job.state }
  })
}

/** @param next the new metadata, or `undefined` to leave the job as it is */
async function compareAndRetry(
  store: JobStore,
  id: string,
  next: (job: StoredJob) => JsonObject | undefined,
): Promise<JobChange> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const job = await store.get(id)
    const meta = job === undefined ? undefined : next(job)
    if (job === undefined || meta === undefined) return { changed: false, job }
    const changed = await store.compareAndSet(id, job.revision, meta)
    if (changed !== undefined) return { changed: true, job: changed }
  }
  throw new JobsError(
    'ERR_JOB_CONTENDED',
    `job ${id} was changed by others ${MAX_TRIES} times in a row; try again`,
  )
}

function timesOf(job: StoredJob, to: JobState, now: number): JsonObject {
  if (to === 'RUNNING') return { start_time: new Date(now).toISOString() }
  const keepsDuration = to === 'FINISHED:FAILED_TO_RUN' || to === 'FINISHED:ABANDONED'
  const started = Date.parse(String(job.meta['start_time'] ?? ''))
  if (!isTerminal(to) || keepsDuration || Number.isNaN(started)) return {}
  return { duration: formatDuration(now - started) }
}

/** Milliseconds as stock prints them: `0:00:41.123000`, `1 day, 0:00:00`. */
export function formatDuration(durationMs: number): string {
  const total = Math.max(0, Math.round(durationMs))
  const days = Math.floor(total / 86_400_000)
  const seconds = Math.floor(total / 1000) % 86_400
  const two = (value: number) => String(value).padStart(2, '0')
  const clock = `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  const fraction = total % 1000 === 0 ? '' : `.${String(total % 1000).padStart(3, '0')}000`
  const dayText = days === 0 ? '' : `${days} day${days === 1 ? '' : 's'}, `
  return `${dayText}${clock}${fraction}`
}

/**
 * Gives up the jobs that a server finds running when it starts: their processes died with the one before.
 * @returns the jobs that are now ABANDONED
 */
export async function abandonActiveJobs(
  store: JobStore,
  { now }: { readonly now: number },
): Promise<readonly StoredJob[]> {
  const abandoned: StoredJob[] = []
  for (const { id, state } of await store.list()) {
    if (state !== 'DISPATCHED' && state !== 'RUNNING') continue
    const change = await changeJobState(store, id, 'FINISHED:ABANDONED', {
      now,
      reason: `the server stopped while the job was ${state}; submit or clone it to run it again`,
    })
    if (change.changed) abandoned.push(change.job)
  }
  return abandoned
}

export type DeleteResult =
  | { readonly deleted: true }
  | { readonly deleted: false; readonly code: 'job-unknown' | 'job-running'; readonly text: string }

/** Deletes a job unless it is DISPATCHED or RUNNING, also if it gets there meanwhile. */
export async function deleteJob(store: JobStore, id: string): Promise<DeleteResult> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const job = await store.get(id)
    if (job === undefined)
      return { deleted: false, code: 'job-unknown', text: `there is no job ${id}` }
    if (job.state === 'DISPATCHED' || job.state === 'RUNNING')
      return {
        deleted: false,
        code: 'job-running',
        text: `job ${id} is ${job.state}; abort it first`,
      }
    if (await store.delete(id, job.revision)) return { deleted: true }
  }
  throw new JobsError('ERR_JOB_CONTENDED', `job ${id} changes too often to be deleted; try again`)
}
