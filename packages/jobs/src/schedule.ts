import { type JsonObject, messageOf, type StoredJob } from '@hanse/contract'
import { type DeployMap, namedClients, readDeployMap, resolveDeployMap } from './deploy-map.ts'
import { mandatoryClientsOf, minClientsOf } from './job-meta.ts'
import { isActive } from './job-state.ts'
import { SERVER_SITE } from './names.ts'

export interface ScheduleOptions {
  /** Jobs that may be DISPATCHED or RUNNING at once; default 4. */
  readonly maxJobs?: number | undefined
  /** Tries to get resources before a job is given up; default 10. */
  readonly maxTries?: number | undefined
  /** First pause between tries; doubles each time; default 10 000. */
  readonly minPauseMs?: number | undefined
  /** Longest pause; default 600 000. */
  readonly maxPauseMs?: number | undefined
}

/** What the schedule knows of the world. */
export interface ScheduleFacts {
  /** Ms since the epoch. */
  readonly now: number
  /** All jobs, oldest submission first. */
  readonly jobs: readonly StoredJob[]
  /** Clients that are connected and enabled, and since when (ms since the epoch). */
  readonly sites: ReadonlyMap<string, { readonly since: number }>
  /** When resources last became free anywhere, ms since the epoch: jobs that wait for some try again at once. */
  readonly freedAt?: number | undefined
  /** Sites enrolled in a study; `undefined`: the study takes all. */
  readonly studySites?: ((study: string) => ReadonlySet<string> | undefined) | undefined
}

/** A job whose sites can be asked for resources now. */
export interface Candidate {
  readonly job: StoredJob
  /** App by place, the server included. */
  readonly deployments: ReadonlyMap<string, string>
  /** Clients to ask. */
  readonly sites: readonly string[]
  readonly minClients: number
  readonly mandatoryClients: readonly string[]
}

/** Why a job is not a candidate now. Codes are stable. */
export type WaitCode = 'max-jobs' | 'no-sites' | 'sites-missing' | 'backing-off'

export interface WaitingJob {
  readonly job: StoredJob
  readonly code: WaitCode
  /** For people: what it waits for. */
  readonly explanation: string
  /** Ms since the epoch when it is looked at again without an event. */
  readonly until?: number | undefined
}

/** A job that will never run: it becomes CAN_NOT_SCHEDULE. */
export interface HopelessJob {
  readonly job: StoredJob
  readonly explanation: string
}

export interface SchedulePlan {
  /** In the order to try; at most {@link SchedulePlan.free} of them can start. */
  readonly candidates: readonly Candidate[]
  readonly waiting: readonly WaitingJob[]
  readonly hopeless: readonly HopelessJob[]
  /** Jobs that may be started now. */
  readonly free: number
}

/**
 * What to do with every SUBMITTED job, and why. Pure. The rules are stock's (`spec/jobs.md` §4.1) but for two:
 * waiting for sites that are not connected costs no try, and a job that backs off is tried at once when a site of
 * its own connects or resources become free.
 */
export function planSchedule(facts: ScheduleFacts, options: ScheduleOptions = {}): SchedulePlan {
  const { maxJobs = 4 } = options
  const active = facts.jobs.filter(({ state }) => isActive(state)).length
  const free = Math.max(0, maxJobs - active)
  const candidates: Candidate[] = []
  const waiting: WaitingJob[] = []
  const hopeless: HopelessJob[] = []
  for (const job of facts.jobs) {
    if (job.state !== 'SUBMITTED') continue
    const verdict = judge(job, facts, options)
    if (verdict.kind === 'waiting') waiting.push({ job, ...verdict.why })
    else if (verdict.kind === 'hopeless') hopeless.push({ job, explanation: verdict.explanation })
    else if (free > 0) candidates.push(verdict.candidate)
    else
      waiting.push({
        job,
        code: 'max-jobs',
        explanation: `${active} jobs are running; this server runs at most ${maxJobs} at once`,
      })
  }
  return { candidates, waiting, hopeless, free }
}

type Verdict =
  | { readonly kind: 'candidate'; readonly candidate: Candidate }
  | { readonly kind: 'waiting'; readonly why: Omit<WaitingJob, 'job'> }
  | { readonly kind: 'hopeless'; readonly explanation: string }

function judge(job: StoredJob, facts: ScheduleFacts, options: ScheduleOptions): Verdict {
  const tries = triesOf(job)
  const { maxTries = 10 } = options
  if (tries >= maxTries)
    return {
      kind: 'hopeless',
      explanation: `${tries} tries to get resources failed; the last: ${lastHistory(job)}`,
    }
  let map: DeployMap
  try {
    map = readDeployMap(job.meta)
  } catch (error) {
    return { kind: 'hopeless', explanation: messageOf(error) }
  }
  const study = String(job.meta['study'] ?? 'default')
  const enrolled = facts.studySites?.(study)
  const foreign = namedClients(map)?.find((site) => enrolled?.has(site) === false)
  if (foreign !== undefined)
    return {
      kind: 'hopeless',
      explanation: `the site ${foreign} is not enrolled in the study ${study}`,
    }
  const online = [...facts.sites.keys()].filter((site) => enrolled?.has(site) !== false)
  const deployments = resolveDeployMap(map, online)
  const sites = [...deployments.keys()].filter((site) => site !== SERVER_SITE)
  const minClients = minClientsOf(job.meta)
  const mandatoryClients = mandatoryClientsOf(job.meta)
  const missing = missingSites(map, sites, minClients, mandatoryClients)
  if (missing !== undefined) return { kind: 'waiting', why: missing }
  const until = dueTime(job, sites, facts, options)
  if (until > facts.now)
    return {
      kind: 'waiting',
      why: {
        code: 'backing-off',
        explanation: `try ${tries} of ${maxTries} failed: ${lastHistory(job)}; the next is in ${Math.ceil((until - facts.now) / 1000)} s, or when a site connects or becomes free`,
        until,
      },
    }
  return {
    kind: 'candidate',
    candidate: { job, deployments, sites, minClients, mandatoryClients },
  }
}

function missingSites(
  map: DeployMap,
  sites: readonly string[],
  minClients: number,
  mandatoryClients: readonly string[],
): Omit<WaitingJob, 'job'> | undefined {
  const absent = mandatoryClients.filter((site) => !sites.includes(site))
  if (absent.length > 0)
    return {
      code: 'sites-missing',
      explanation: `the mandatory sites ${absent.join(', ')} are not connected`,
    }
  if (sites.length === 0 && minClients > 0)
    return { code: 'no-sites', explanation: 'none of its sites is connected' }
  if (sites.length >= minClients) return undefined
  const others = namedClients(map)?.filter((site) => !sites.includes(site))
  const whom = others === undefined ? '' : `; not connected: ${others.join(', ')}`
  return {
    code: 'sites-missing',
    explanation: `${minClients} sites are needed, ${sites.length} connected (${sites.join(', ')})${whom}`,
  }
}

/** When the job may be tried again, ms since the epoch. */
function dueTime(
  job: StoredJob,
  sites: readonly string[],
  { sites: online, freedAt = 0 }: ScheduleFacts,
  { minPauseMs = 10_000, maxPauseMs = 600_000 }: ScheduleOptions,
): number {
  const tries = triesOf(job)
  if (tries === 0) return 0
  const last = Number(job.meta['last_schedule_time'] ?? 0) * 1000
  const woken = freedAt > last || sites.some((site) => (online.get(site)?.since ?? 0) > last)
  return woken ? 0 : last + Math.min(maxPauseMs, minPauseMs * 2 ** (tries - 1))
}

/**
 * What a failed try to get resources leaves in the metadata; hand it to `setJobMeta`.
 * @param now ms since the epoch
 */
export function failedTry(job: StoredJob, now: number, text: string): JsonObject {
  const history = job.meta['schedule_history']
  const stamp = new Date(now).toISOString().slice(0, 19).replace('T', ' ')
  return {
    schedule_count: triesOf(job) + 1,
    last_schedule_time: now / 1000,
    schedule_history: [...(Array.isArray(history) ? history : []), `${stamp}: ${text}`],
  }
}

function triesOf(job: StoredJob): number {
  const count = Number(job.meta['schedule_count'] ?? 0)
  return Number.isSafeInteger(count) && count > 0 ? count : 0
}

function lastHistory(job: StoredJob): string {
  const history = job.meta['schedule_history']
  return Array.isArray(history) ? String(history.at(-1) ?? 'unknown') : 'unknown'
}
