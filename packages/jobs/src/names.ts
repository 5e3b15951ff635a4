/** Names of jobs and apps, ids of jobs (`spec/jobs.md` §6). */
export const JOB_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** Sites, clients, relays. */
export const SITE_NAME = /^[A-Za-z0-9_-]+$/

/** Data sets that a site maps to paths of its own. */
export const DATASET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** The site name that stands for the server in a deploy map. */
export const SERVER_SITE = 'server'

/** The site name that stands for the server and every client. */
export const ALL_SITES = '@ALL'

/** A value in a message: as JSON, bounded. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 200 ? `${text.slice(0, 199)}…` : text
}
