import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditEvent, AuditLog } from '@hanse/audit'
import type { Cell } from '@hanse/cellnet'
import {
  type Clock,
  type JobState,
  type JsonObject,
  type Logger,
  messageOf,
  type StoredJob,
} from '@hanse/contract'
import { abandonActiveJobs, changeJobState, isActive, setJobMeta } from '@hanse/jobs'
import { type ActingPerson, textIn } from '@hanse/session'
import type { SiteAbsence } from '../sites/site-registry.ts'
import { archiveRun } from './archive-run.ts'
import { LOG_FILE } from './job-process-protocol.ts'
import { JobRun, type RunEnding, type SiteAnswer } from './job-run.ts'
import { JobSchedule, type StartOutcome } from './job-schedule.ts'
import { logTail } from './log-tail.ts'
import { prepareRun, type RunComponents, RunRefusal } from './prepare-run.ts'

export interface JobServiceComponents extends RunComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: AuditLog
  /** Where runs have their folders while they last. */
  readonly folder: string
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
  /** Jobs between the schedule's choice and the end of their run. */
  readonly #chosen = new Set<string>()
  /** When a run that held resources of sites last ended; ms since the epoch. */
  #freedAt = 0
  #closed = false

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
      isUnderway: (jobId) => this.#chosen.has(jobId),
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
      await this.#record({
        job: job.id,
        act: 'job.end',
        code: 'job-abandoned',
        text: textIn(job.meta, 'reason'),
      })
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

  /** Names of the sites that take part in a job; none if it does not run now. */
  sitesOf(jobId: string): readonly string[] {
    return this.#runs.get(jobId)?.participants() ?? []
  }

  /** Names of the sites that take or took part in a job. */
  async membersOf(jobId: string): Promise<readonly string[]> {
    const run = this.#runs.get(jobId)
    if (run !== undefined) return run.participants()
    const job = await this.#components.store.get(jobId)
    const clients = job?.meta['job_clients']
    return Array.isArray(clients)
      ? clients.map((client) => textIn(client as JsonObject, 'name'))
      : []
  }

  /** @returns false for a job without a process */
  setLogLevel(jobId: string, level: string): boolean {
    return this.#runs.get(jobId)?.setLogLevel(level) ?? false
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
    if (run !== undefined) return run.abort(by.name) ? 'signalled' : 'already-finished'
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
    this.#closed = true
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
    this.#chosen.add(job.id)
    const run = this.#runToEnd(job, siteNames, started.resolve).finally(() => {
      started.resolve('withdrawn')
      this.#chosen.delete(job.id)
      this.#running.delete(run)
      this.#schedule.wake()
    })
    this.#running.add(run)
    return started.promise
  }

  async #runToEnd(
    job: StoredJob,
    siteNames: readonly string[],
    onOutcome: (outcome: StartOutcome) => void,
  ): Promise<void> {
    const { clock, logger, store, onStatus } = this.#components
    const folder = this.runFolder(job.id)
    try {
      const prepared = await prepareRun(this.#components, job, siteNames, folder)
      if (this.#closed) return
      const run = new JobRun(
        {
          ...this.#components,
          startServerJob: (participants) => prepared.startServerJob(participants),
          onReserved: async () => {
            const { changed } = await changeJobState(store, job.id, 'DISPATCHED', {
              now: clock.now(),
            })
            if (!changed) return false
            onOutcome('started')
            onStatus(job.id, 'DISPATCHED', undefined)
            return true
          },
          onDeployed: async (details) => {
            await setJobMeta(store, job.id, { job_deploy_detail: [...details] })
          },
          onRunning: async (participants) => {
            await changeJobState(store, job.id, 'RUNNING', {
              now: clock.now(),
              set: { job_clients: participants.map((name) => ({ name })) },
            })
            onStatus(job.id, 'RUNNING', undefined)
            const text = `started with ${participants.join(', ')}`
            await this.#record({ job: job.id, act: 'job.start', code: 'allowed', text })
          },
          onAnswer: (answer) => void this.#record(eventOf(job.id, answer)),
        },
        prepared.plan,
      )
      this.#runs.set(job.id, run)
      const ending = await run.run()
      if (ending.outcome === 'no-resource') return onOutcome({ noResource: ending.reason })
      if (ending.outcome === 'withdrawn') return onOutcome('withdrawn')
      await this.#conclude(job.id, folder, ending)
      this.#freedAt = clock.now()
    } catch (error) {
      if (error instanceof RunRefusal)
        await this.#record({
          job: job.id,
          act: 'deploy',
          target: this.#components.kit.name,
          outcome: 'refused',
          code: error.code,
          text: error.message,
        })
      else logger.error('job failed outside of its run', { jobId: job.id, error })
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
    ending: Exclude<RunEnding, { outcome: 'no-resource' | 'withdrawn' }>,
  ): Promise<void> {
    const { store, logger } = this.#components
    try {
      await store.writeBlob(jobId, 'workspace', archiveRun(folder))
      await store.writeBlob(jobId, LOG_FILE, logTail(join(folder, LOG_FILE)))
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
    await this.#record({ job: jobId, act: 'job.end', code, text: reason ?? 'completed' })
    return true
  }

  async #record(event: Omit<AuditEvent, 'actor' | 'outcome'> & Partial<AuditEvent>): Promise<void> {
    const { audit, kit, logger } = this.#components
    const { act, job } = event
    await audit
      .append({ actor: { name: kit.name }, outcome: 'accepted', ...event })
      .catch((error: unknown) => logger.error('not recorded', { act, job, error }))
  }
}

/** One step at one site, for the record. */
function eventOf(job: string, { step, site, refusal }: SiteAnswer) {
  const event = { job, act: step, target: site } as const
  return refusal === ''
    ? ({ ...event, outcome: 'accepted', code: 'allowed', text: 'the site agreed' } as const)
    : ({ ...event, outcome: 'refused', code: 'refused-by-site', text: refusal } as const)
}
