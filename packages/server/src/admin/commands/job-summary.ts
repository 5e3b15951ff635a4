import type { JsonObject, JsonValue, StoredJob } from '@hanse/contract'

/** The study of a job; one without counts as `default` (`spec/admin.md` §12). */
export function studyOf(job: StoredJob): string {
  const { study } = job.meta as { readonly study?: JsonValue }
  return typeof study === 'string' && study !== '' ? study : 'default'
}

/** A member of a job's meta as text; absent and other types give `fallback`. */
export function textOf(meta: JsonObject, key: string, fallback = ''): string {
  const value = Object.hasOwn(meta, key) ? meta[key] : undefined
  return typeof value === 'string' ? value : fallback
}

/** Milliseconds since the epoch, 0 if the meta does not say. */
export function submitTimeOf(meta: JsonObject): number {
  const { submit_time } = meta as { readonly submit_time?: JsonValue }
  return typeof submit_time === 'number' ? submit_time * 1000 : 0
}

/** What a list says of one job; `submitter` is ours, tools pass over it. */
export function summaryOf(job: StoredJob): { readonly [key: string]: string } {
  const { meta } = job
  return {
    job_id: job.id,
    job_name: textOf(meta, 'name', textOf(meta, 'job_folder_name')),
    status: job.state,
    submit_time: textOf(meta, 'submit_time_iso'),
    duration: textOf(meta, 'duration', 'N/A'),
    study: studyOf(job),
    submitter: textOf(meta, 'submitter_name'),
  }
}
