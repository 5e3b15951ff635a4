import { join } from 'node:path'
import type { Cell, PeerSession } from '@hanse/cellnet'
import type { AbortOptions, Clock, JsonObject, Logger } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { describeExit, type JobProcess, type JobProcesses } from '@hanse/launcher-process'
import {
  abortableDelay,
  CELL_HEADER,
  CHANNEL,
  EXIT_CODE,
  jobCell,
  type PlaceLogLevel,
  SERVER_CELL,
} from '@hanse/session'
import { JOB_COMMAND } from '../job-process/site-job-protocol.ts'

export interface SiteJobComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
}

/** How a job's part at this site ended, for the server's final report. */
export interface SiteJobEnding {
  readonly code: number
  /** In words that may leave the site; empty if all went well. */
  readonly reason: string
}

/** What the process of a job runs. */
export const SITE_JOB_MODULE: string = join(import.meta.dirname, '..', 'job-process', 'main.js')
const STOP_GRACE_MS = 10_000
const REPORT_TIMEOUT_MS = 5_000
const REPORT_RETRY_MS = 2_000
const MAX_REPORT_ATTEMPTS = 30

/** A job's process as its site handles it. */
export type RunningJob = Pick<
  SiteJob,
  | 'jobId'
  | 'cellName'
  | 'ended'
  | 'isStopping'
  | 'explain'
  | 'abort'
  | 'kill'
  | 'works'
  | 'stats'
  | 'setLogLevel'
>

/** One job's process at this site. */
export class SiteJob {
  readonly jobId: string
  readonly cellName: string
  readonly ended: Promise<SiteJobEnding>
  readonly #components: SiteJobComponents
  readonly #process: JobProcess
  readonly #link: PeerSession
  #words = ''
  #work: JsonObject = {}
  /** Its cell is up and can be told something. */
  #isLinked = false
  #abortAsked = false

  private constructor(components: SiteJobComponents, jobId: string, process: JobProcess) {
    const { cell, clock } = components
    this.#components = components
    this.jobId = jobId
    this.cellName = jobCell(cell.fqcn, jobId)
    this.#process = process
    this.#link = cell.adopt(
      pipeConnection(process.pipe, { name: `job ${jobId}`, clock }),
      'passive',
      {
        expectedName: this.cellName,
      },
    )
    this.#link.ready.then(
      () => {
        this.#isLinked = true
      },
      // A process that ends before it greets is seen by its exit.
      () => undefined,
    )
    this.ended = this.#end()
  }

  /** Starts the process on a run folder that holds its run file. */
  static async start(
    components: SiteJobComponents,
    launcher: Pick<JobProcesses, 'start'>,
    jobId: string,
    folder: string,
  ): Promise<SiteJob> {
    const process = await launcher.start(folder, { path: join(folder, 'log.txt') })
    return SiteJob.adopt(components, jobId, process)
  }

  /** Takes over a process that was just started for `jobId`. */
  static adopt(components: SiteJobComponents, jobId: string, process: JobProcess): SiteJob {
    return new SiteJob(components, jobId, process)
  }

  /** True once it was told to stop. */
  get isStopping(): boolean {
    return this.#abortAsked
  }

  /** The job's own account of why it ended. */
  explain(words: string): void {
    this.#words = words
  }

  /** The job's own account of what it does. @param task name of the task under way; empty if there is none */
  works(task: string, tasksDone: number): void {
    this.#work = { current_task_name: task, tasks_done: tasksDone }
  }

  /** What it said last that it does. */
  get stats(): JsonObject {
    return { job_id: this.jobId, status: 'started', ...this.#work }
  }

  setLogLevel(level: PlaceLogLevel): void {
    const { cell, logger } = this.#components
    cell
      .notify(
        this.cellName,
        CHANNEL.clientCommand,
        JOB_COMMAND.logLevel,
        new Map([['level', level]]),
        { optional: true },
      )
      .catch((error: unknown) => logger.debug('job not told', { jobId: this.jobId, error }))
  }

  /** Asks the job to stop; ends it if it is not up yet, or has not within 10 s. Resolves when it is gone. */
  async abort(): Promise<void> {
    this.#abortAsked = true
    if (!this.#isLinked) {
      this.#process.kill()
      await this.#process.exited
      return
    }
    const { cell, clock, logger } = this.#components
    await cell
      .notify(this.cellName, CHANNEL.clientCommand, JOB_COMMAND.abort, new Map(), {
        optional: true,
      })
      .catch((error: unknown) => logger.debug('job not told to stop', { jobId: this.jobId, error }))
    using _timer = clock.setTimer(STOP_GRACE_MS, () => this.#process.kill())
    await this.#process.exited
  }

  /** Ends the process and everything it started, now. */
  kill(): void {
    this.#abortAsked = true
    this.#process.kill()
  }

  async #end(): Promise<SiteJobEnding> {
    const exit = await this.#process.exited
    await this.#link[Symbol.asyncDispose]()
    if (exit.code === EXIT_CODE.ok || this.#abortAsked) return { code: EXIT_CODE.ok, reason: '' }
    // Its error stream is the site's own affair; only how it ended may leave.
    this.#components.logger.warn('job process failed', {
      jobId: this.jobId,
      printed: exit.errorTail,
    })
    const words = this.#words === '' ? '' : `: ${this.#words}`
    const code =
      exit.code === null || exit.code === EXIT_CODE.executionError ? EXIT_CODE.exception : exit.code
    return { code, reason: `the job process ended with ${describeExit(exit)}${words}` }
  }
}

/**
 * Tells the server how a job's part ended here, until it answers (`spec/session.md` §6.15). The job stays on the
 * list of heartbeats until then.
 * @param isWanted false once the server has said that it does not know the job
 * @throws only the signal's reason
 */
export async function reportEnding(
  { cell, clock, logger }: SiteJobComponents,
  jobId: string,
  project: string,
  ending: SiteJobEnding,
  isWanted: () => boolean,
  { signal }: AbortOptions = {},
): Promise<void> {
  const body = new Map<string, string | number | null>([
    ['job_id', jobId],
    ['code', ending.code],
    ['reason', ending.reason === '' ? null : ending.reason],
  ])
  for (let attempt = 0; attempt < MAX_REPORT_ATTEMPTS && isWanted(); attempt++) {
    const reply = await cell.request(SERVER_CELL, CHANNEL.task, 'report_job_failure', body, {
      timeoutMs: REPORT_TIMEOUT_MS,
      headers: { [CELL_HEADER.projectName]: project },
      optional: true,
      signal,
    })
    if (reply.returnCode === 'ok' || reply.returnCode === 'invalid_request') return
    logger.debug('final report not answered', { jobId, reason: reply.error ?? reply.returnCode })
    await abortableDelay(clock, REPORT_RETRY_MS, { signal })
  }
}
