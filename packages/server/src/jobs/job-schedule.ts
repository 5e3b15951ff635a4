import type { Clock, JobStore, Logger, StoredJob } from '@hanse/contract'
import { failedTry, planSchedule, setJobMeta } from '@hanse/jobs'

/** What came of trying to start a job. */
export type StartOutcome =
  | 'started'
  /** Aborted or deleted meanwhile. */
  | 'withdrawn'
  | { readonly noResource: string }

export interface JobScheduleComponents {
  readonly store: JobStore
  readonly clock: Clock
  readonly logger: Logger
  /** Jobs that may run at once. */
  readonly maxJobs: number
  /** Sites that can take part now, and since when (ms since the epoch). */
  online(): ReadonlyMap<string, { readonly since: number }>
  /** When resources last became free anywhere, ms since the epoch. */
  freedAt(): number
  /** True for a job from the schedule's choice to the end of its run. */
  isUnderway(jobId: string): boolean
  /** Resolves as soon as it is known whether the sites have resources. */
  start(job: StoredJob, sites: readonly string[]): Promise<StartOutcome>
  giveUp(job: StoredJob, reason: string): Promise<void>
}

/** Looks again after this long even if nothing has happened. */
const IDLE_MS = 30_000

/** Starts jobs when they can run: looks whenever something changes, and when a job's pause is over. */
export class JobSchedule implements Disposable {
  readonly #components: JobScheduleComponents
  #timer: Disposable | undefined
  #looking = false
  #lookAgain = false
  #closed = false

  constructor(components: JobScheduleComponents) {
    this.#components = components
  }

  /** Something changed: looks now, or once more after the look under way. */
  wake(): void {
    if (this.#closed) return
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    this.#looking = true
    this.#look()
      .catch((error: unknown) => this.#components.logger.error('schedule failed', { error }))
      .finally(() => {
        this.#looking = false
        const again = this.#lookAgain
        this.#lookAgain = false
        if (again) this.wake()
      })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
  }

  async #look(): Promise<void> {
    const { store, clock, maxJobs, online, freedAt, isUnderway, giveUp, logger } = this.#components
    this.#timer?.[Symbol.dispose]()
    // A job that just went back to wait is not tried again before its run has been put away.
    const jobs = (await store.list()).filter(
      ({ id, state }) => state !== 'SUBMITTED' || !isUnderway(id),
    )
    if (this.#closed) return
    const plan = planSchedule(
      { now: clock.now(), jobs, sites: online(), freedAt: freedAt() },
      { maxJobs },
    )
    for (const { job, explanation } of plan.hopeless) await giveUp(job, explanation)
    for (const { job, explanation } of plan.waiting)
      logger.debug('job waits', { jobId: job.id, reason: explanation })
    await Promise.all(
      plan.candidates.slice(0, plan.free).map(({ job, sites }) => this.#try(job, sites)),
    )
    const now = clock.now()
    const next = plan.waiting.reduce(
      (earliest, { until = Infinity }) => Math.min(earliest, until),
      now + IDLE_MS,
    )
    if (!this.#closed) this.#timer = clock.setTimer(Math.max(next - now, 100), () => this.wake())
  }

  async #try(job: StoredJob, sites: readonly string[]): Promise<void> {
    const { store, clock, logger, start } = this.#components
    const outcome = await start(job, sites)
    if (typeof outcome === 'string') {
      logger.info('job tried', { jobId: job.id, outcome, sites: sites.join(' ') })
      return
    }
    logger.info('job tried', { jobId: job.id, outcome: outcome.noResource })
    // When the job is due again is known only after this try has been stored.
    this.#lookAgain = true
    await setJobMeta(store, job.id, (stored) =>
      stored.state === 'SUBMITTED' ? failedTry(stored, clock.now(), outcome.noResource) : undefined,
    )
  }
}
