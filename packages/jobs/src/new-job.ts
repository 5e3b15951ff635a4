import type { JsonObject, StoredJob } from '@hanse/contract'
import type { Person } from '@hanse/policy'
import type { ValidJob } from './validate-job.ts'

/** Who submits, as the session proved it. */
export type Submitter = Person

export interface NewJobFacts {
  /** A new UUID. */
  readonly id: string
  readonly submitter: Submitter
  readonly study: string
  /** Ms since the epoch. */
  readonly now: number
}

/** The metadata of a job that was just submitted, with stock's keys; what `JobStore.create` takes. */
export function newJobMeta(job: ValidJob, facts: NewJobFacts): JsonObject {
  return {
    ...job.meta,
    name: job.name,
    job_folder_name: job.folder,
    ...(job.byoc && { byoc: true }),
    content_hash: job.contentHash,
    ...firstState(facts),
  }
}

/** What a clone takes over; more than stock, whose clones lose launcher, scope and properties. */
const CLONED_KEYS = [
  'name',
  'job_folder_name',
  'deploy_map',
  'resource_spec',
  'launcher_spec',
  'scope',
  'custom_props',
  'edge_method',
  'stats_pool_config',
  'min_clients',
  'mandatory_clients',
  'byoc',
  'content_hash',
] as const

/** The metadata of a clone of `source`; its `data` is copied as it is, with the first author's signature. */
export function cloneJobMeta(
  source: StoredJob,
  facts: NewJobFacts,
  /** Members that the order to clone adds. */
  more: JsonObject = {},
): JsonObject {
  const kept = CLONED_KEYS.flatMap((key) => {
    const value = source.meta[key]
    return value === undefined ? [] : [[key, value] as const]
  })
  return { ...Object.fromEntries(kept), cloned_from: source.id, ...more, ...firstState(facts) }
}

function firstState({ id, submitter, study, now }: NewJobFacts): JsonObject {
  return {
    job_id: id,
    submitter_name: submitter.name,
    submitter_org: submitter.org,
    submitter_role: submitter.role,
    study,
    status: 'SUBMITTED',
    data_storage_format: 2,
    submit_time: now / 1000,
    submit_time_iso: new Date(now).toISOString(),
    start_time: '',
    duration: 'N/A',
    job_deploy_detail: [],
    schedule_count: 0,
    last_schedule_time: 0,
    schedule_history: [],
  }
}
