import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditEvent, AuditLog } from '@hanse/audit'
import type { Cell } from '@hanse/cellnet'
import {
  type Clock,
  type JobState,
  type JobStore,
  type JsonObject,
  type Logger,
  messageOf,
  type StoredJob,
} from '@hanse/contract'
import { abandonActiveJobs, changeJobState, isActive, setJobMeta } from '@hanse/jobs'
import type { Policy } from '@hanse/policy'
import type { ServerKit } from '@hanse/provision'
import type { ActingPerson } from '@hanse/session'
import type { SiteAbsence, SiteRegistry } from '../sites/site-registry.ts'
import { archiveRun } from './archive-run.ts'
import { DEFAULT_RUN_TIMES, JobRun, type RunEnding } from './job-run.ts'
import { JobSchedule, type StartOutcome } from './job-schedule.ts'
import { prepareRun } from './prepare-run.ts'
import type { ServerJobProcesses } from './server-job-process.ts'

export interface JobServiceComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: AuditLog
  readonly kit: ServerKit
  readonly store: JobStore
  readonly sites: SiteRegistry
  readonly processes: ServerJobProcesses
  readonly policy: Policy
  /** Where runs have their folders while they last. */
  readonly folder: string
  readonly logLevel: string
  onStatus(jobId: string, status: JobState, reason: string | undefined): void
}

const STATE_OF_ENDING = {
  completed: 'FINISHED:COMPLETED',
  aborted: 'FINISHED:ABORTED',
  'failed-to-run': 'FINISHED:FAILED_TO_RUN',
  'execution-exception': 'FINISHED:EXECUTION_EXCEPTION',
  abnormal: 'FINISHED:ABNORMAL',
} as const satisfies Record<string, JobState>

/** The jobs of a server from their submission to their end: schedules them, runs them, keeps their results. */
export class JobService implements AsyncDisposable {
  readonly #components: JobServiceComponents
  readonly #schedule: JobSchedule
  readonly #runs = new Map<string, JobRun>()
  readonly #running = new Set<Promise<void>>()
  readonly #progress = new Map<string, string>()
  /** Jobs between the schedule's choice and their end. */
  readonly #starting = new Set<string>()
  #freedAt = 0

  constructor(components: JobServiceComponents) {
    this.#components = components
    const { store, sites, clock, logger, kit } = components
    this.#schedule = new JobSchedule({
      store,
      clock,
      logger,
      maxJobs: kit.settings.maxJobs,
      online: () =>
        new Map(sites.online().map(({ name, registeredAt }) => [name, { since: registeredAt }])),
      freedAt: () => this.#freedAt,
      isStarting: (jobId) => this.#starting.has(jobId),
      start: (job, siteNames) => this.#start(job, siteNames),
      giveUp: async (job, reason) => {
        await this.#finish(job.id, 'FINISHED:CAN_NOT_SCHEDULE', reason)
      },
    })
  }

  /** Says what became of jobs that an earlier server ran, and begins to schedule. */
  async start(): Promise<void> {
    const { store, clock, folder } = this.#components
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    for (const job of await abandonActiveJobs(store, { now: clock.now() }))
      await this.#record(job.id, 'job.end', 'job-abandoned', String(job.meta['reason'] ?? ''))
    this.#schedule.wake()
  }

  /** Something changed that may let a job run. */
  wake(): void {
    this.#schedule.wake()
  }

  /** Latest news of a running job, as its process put it; JSON text. */
  progress(jobId: string): string | undefined {
    return this.#progress.get(jobId)
  }

  onProgress(jobId: string, progress: string): void {
    if (this.#runs.has(jobId)) this.#progress.set(jobId, progress)
  }

  /** Jobs that run now. */
  underway(): readonly string[] {
    return [...this.#runs.keys()]
  }

  /** Jobs that run now with the site. */
  jobsOf(site: string): readonly string[] {
    return [...this.#runs.values()]
      .filter((run) => run.participants().includes(site))
      .map(({ jobId }) => jobId)
  }

  /** Cells of the sites that take part in a job; `undefined` if it does not run now. */
  participantsOf(jobId: string): readonly string[] | undefined {
    return this.#runs.get(jobId)?.participantCells()
  }

  /** Folder of a run, while it lasts. */
  runFolder(jobId: string): string {
    return join(this.#components.folder, jobId)
  }

  async abort(
    jobId: string,
    by: ActingPerson,
  ): Promise<'not-started' | 'already-finished' | 'signalled' | 'unknown'> {
    const run = this.#runs.get(jobId)
    if (run !== undefined) {
      run.abort(by.name)
      return 'signalled'
    }
    const { store } = this.#components
    const job = await store.get(jobId)
    if (job === undefined) return 'unknown'
    if (job.state !== 'SUBMITTED') return 'already-finished'
    return (await this.#finish(jobId, 'FINISHED:ABORTED', `aborted by ${by.name} before it ran`))
      ? 'not-started'
      : this.abort(jobId, by)
  }

  siteAbsent(site: string, why: SiteAbsence): void {
    for (const run of this.#runs.values()) run.siteAbsent(site, why)
  }

  siteBack(site: string): void {
    for (const run of this.#runs.values()) run.siteBack(site)
    this.#schedule.wake()
  }

  finalReport(site: string, jobId: string, code: number, reason: string): void {
    this.#runs.get(jobId)?.finalReport(site, code, reason)
  }

  /**
   * Compares what a site says it runs with what runs here.
   * @returns jobs that the site should end
   */
  reported(site: string, jobs: readonly string[]): readonly string[] {
    for (const run of this.#runs.values()) run.siteReports(site, jobs.includes(run.jobId))
    return jobs.filter((jobId) => !this.#runs.has(jobId))
  }

  /** Ends what runs; results so far are kept. */
  async stop(): Promise<void> {
    this.#schedule[Symbol.dispose]()
    for (const run of this.#runs.values()) run.abort('the server, which was stopped')
    await Promise.allSettled(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Starts a run that lives on its own. */
  #start(job: StoredJob, siteNames: readonly string[]): Promise<StartOutcome> {
    const started = Promise.withResolvers<StartOutcome>()
    this.#starting.add(job.id)
    const run = this.#runToEnd(job, siteNames, started.resolve).finally(() => {
      started.resolve('started')
      this.#starting.delete(job.id)
      this.#running.delete(run)
      this.#freedAt = this.#components.clock.now()
      this.#schedule.wake()
    })
    this.#running.add(run)
    return started.promise
  }

  async #runToEnd(
    job: StoredJob,
    siteNames: readonly string[],
    onReserved: (outcome: StartOutcome) => void,
  ): Promise<void> {
    const { clock, logger } = this.#components
    const folder = this.runFolder(job.id)
    try {
      const prepared = await prepareRun(this.#components, job, siteNames, folder)
      const run = new JobRun(
        {
          ...this.#components,
          startServerJob: (participants) => prepared.startServerJob(participants),
          onReserved: async () => {
            await changeJobState(this.#components.store, job.id, 'DISPATCHED', { now: clock.now() })
            onReserved('started')
            this.#components.onStatus(job.id, 'DISPATCHED', undefined)
          },
          onDeployed: async (details) => {
            await setJobMeta(this.#components.store, job.id, { job_deploy_detail: [...details] })
          },
          onRunning: async (participants) => {
            await changeJobState(this.#components.store, job.id, 'RUNNING', {
              now: clock.now(),
              set: { job_clients: participants.map((name) => ({ name })) },
            })
            this.#components.onStatus(job.id, 'RUNNING', undefined)
            await this.#record(
              job.id,
              'job.start',
              'allowed',
              `started with ${participants.join(', ')}`,
            )
          },
        },
        prepared.plan,
        {
          ...DEFAULT_RUN_TIMES,
          absenceMs: this.#components.kit.settings.deadClientGraceSeconds * 1000,
        },
      )
      this.#runs.set(job.id, run)
      const ending = await run.run()
      if (ending.outcome === 'no-resource') onReserved({ noResource: ending.reason })
      else await this.#conclude(job.id, folder, ending)
    } catch (error) {
      logger.error('job failed outside of its run', { jobId: job.id, error })
      await this.#finish(job.id, 'FINISHED:FAILED_TO_RUN', messageOf(error))
    } finally {
      this.#runs.delete(job.id)
      this.#progress.delete(job.id)
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Keeps the results, then says how it ended: who sees the status can download. */
  async #conclude(
    jobId: string,
    folder: string,
    ending: Exclude<RunEnding, { outcome: 'no-resource' }>,
  ): Promise<void> {
    const { store, logger } = this.#components
    try {
      await store.writeBlob(jobId, 'workspace', archiveRun(folder))
    } catch (error) {
      logger.error('results not kept', { jobId, error })
    }
    const reason = ending.outcome === 'completed' ? undefined : ending.reason
    await this.#finish(jobId, STATE_OF_ENDING[ending.outcome], reason)
  }

  async #finish(jobId: string, state: JobState, reason: string | undefined): Promise<boolean> {
    const { store, clock, logger, onStatus } = this.#components
    const set: JsonObject = reason === undefined ? {} : { reason }
    let change = await changeJobState(store, jobId, state, { now: clock.now(), set })
    if (!change.changed && change.job !== undefined && isActive(change.job.state)) {
      // A run can end before it got as far as its end would have it, e.g. by a fault while deploying.
      const reached =
        change.job.state === 'DISPATCHED' ? 'FINISHED:FAILED_TO_RUN' : 'FINISHED:ABNORMAL'
      change = await changeJobState(store, jobId, reached, { now: clock.now(), set })
    }
    if (!change.changed) {
      logger.warn('status not changed', { jobId, state, is: change.job?.state ?? 'gone' })
      return false
    }
    onStatus(jobId, change.job.state, reason)
    const code = change.job.state.replace('FINISHED:', '').toLowerCase().replaceAll('_', '-')
    await this.#record(jobId, 'job.end', code, reason ?? 'completed')
    return true
  }

  async #record(job: string, act: string, code: string, text: string): Promise<void> {
    const { audit, kit, logger } = this.#components
    const event: AuditEvent = {
      actor: { name: kit.name },
      act,
      job,
      outcome: 'accepted',
      code,
      text,
    }
    await audit
      .append(event)
      .catch((error: unknown) => logger.error('not recorded', { act, job, error }))
  }
}
