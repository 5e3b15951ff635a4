import { join } from 'node:path'
import type { Cell, CellRequest, PeerLink } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import type { JobProcess, JobProcesses } from '@hanse/launcher-process'
import { CHANNEL, SERVER_CELL, Shareable } from '@hanse/session'
import { LOG_FILE, PARENT_TOPIC, STOP_TOPIC, serverJobCell } from './job-process-protocol.ts'

/** How the process of a job ended. */
export interface JobExit {
  readonly code: number | null
  readonly signal: string | null
  /** End of what it wrote to its error stream, for this place only. */
  readonly lastWords: string
}

/** What the server's job itself said of its end. */
export interface JobOutcome {
  readonly failed: boolean
  readonly reason: string
}

/** The server's side of one of its own job processes. */
export interface ServerJobProcess extends AsyncDisposable {
  /** Resolves when the job's cell answers requests. */
  readonly ready: Promise<void>
  /** Never rejects. */
  readonly exited: Promise<JobExit>
  /** What it said so far. */
  outcome(): JobOutcome | undefined
  /**
   * @param certain the site's part is over; without it the job grants the site its grace
   */
  reportDead(site: string, reason: string, certain: boolean): void
  reportAlive(site: string): void
  setLogLevel(level: string): void
  /** Asks it to stop; ends it if it has not within the time. */
  stop(withinMs: number): Promise<void>
}

export interface ServerJobProcessesComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  readonly launcher: Pick<JobProcesses, 'start'>
  /** News of a running job, for whoever shows it. */
  onProgress(jobId: string, progress: string): void
  /** Somebody else speaks as one of the jobs; it was refused. */
  onImpostor(request: CellRequest): void
}

/** Starts the processes of jobs. */
export interface ServerJobStarter {
  /**
   * @param folder of the run, with its run file
   * @throws {LaunchError} `ERR_LAUNCH`
   */
  start(jobId: string, folder: string): Promise<ServerJobProcess>
}

interface Underway {
  readonly process: JobProcess
  readonly ready: PromiseWithResolvers<void>
  outcome: JobOutcome | undefined
}

/** What the process of a job runs. */
export const SERVER_JOB_MODULE: string = join(import.meta.dirname, '..', 'job-process', 'main.js')
/** Enough for some thousand sites. */
const MAX_PROGRESS_CHARS = 262_144
const MAX_REASON_CHARS = 2_000

/** The private links between the server and the processes of its jobs. */
export class ServerJobProcesses implements ServerJobStarter {
  readonly #components: ServerJobProcessesComponents
  readonly #underway = new Map<string, Underway>()

  constructor(components: ServerJobProcessesComponents) {
    this.#components = components
    const { cell } = components
    cell.handle(CHANNEL.serverParent, PARENT_TOPIC.ready, (request) =>
      this.#fromJob(request, ({ ready }) => ready.resolve()),
    )
    cell.handle(CHANNEL.serverParent, PARENT_TOPIC.status, (request) =>
      this.#fromJob(request, (underway) => {
        const failed = fieldOf(request, 'execution_error') === true
        const reason = fieldOf(request, 'reason')
        // Said once: what comes after it changes nothing.
        underway.outcome ??= {
          failed,
          reason: typeof reason === 'string' ? reason.slice(0, MAX_REASON_CHARS) : '',
        }
      }),
    )
    cell.handle(CHANNEL.serverParent, PARENT_TOPIC.progress, (request) =>
      this.#fromJob(request, (_underway, jobId) => {
        const progress = fieldOf(request, 'progress')
        if (typeof progress === 'string' && progress.length <= MAX_PROGRESS_CHARS)
          components.onProgress(jobId, progress)
      }),
    )
  }

  /** True for the pipe to one of our own jobs; what comes over it needs no token. */
  owns(link: PeerLink): boolean {
    return link.connection.info.driver === 'pipe' && this.#underway.has(jobOf(link))
  }

  async start(jobId: string, folder: string): Promise<ServerJobProcess> {
    const { launcher } = this.#components
    const process = await launcher.start(folder, { path: join(folder, LOG_FILE) })
    return this.adopt(jobId, process)
  }

  /** Takes over a process that was just started for `jobId`. */
  adopt(jobId: string, process: JobProcess): ServerJobProcess {
    const { cell, clock, logger } = this.#components
    const underway: Underway = { process, ready: Promise.withResolvers(), outcome: undefined }
    this.#underway.set(jobId, underway)
    const target = serverJobCell(jobId)
    const session = cell.adopt(
      pipeConnection(process.pipe, { name: `job ${jobId}`, clock }),
      'passive',
      { expectedName: target },
    )
    // A process that ends before it greets is seen by its exit.
    session.ready.catch(() => undefined)
    const exited = process.exited.then(({ code, signal, errorTail }) => ({
      code,
      signal,
      lastWords: errorTail.slice(-3).join(' | '),
    }))

    const tell = (topic: string, headers: Record<string, string | boolean>) => {
      const body = new Shareable()
      for (const [key, value] of Object.entries(headers)) body.headers.set(key, value)
      // A job that has just ended cannot be told; its end is seen elsewhere.
      void cell
        .notify(target, CHANNEL.serverCommand, topic, body, { optional: true })
        .catch((error: unknown) => logger.debug('job not told', { jobId, topic, error }))
    }

    return {
      ready: underway.ready.promise,
      exited,
      outcome: () => underway.outcome,
      reportDead: (site, reason, certain) =>
        tell(STOP_TOPIC.deadSite, { fl_client: site, reason, certain }),
      reportAlive: (site) => tell(STOP_TOPIC.siteBack, { fl_client: site }),
      setLogLevel: (level) => tell(STOP_TOPIC.logLevel, { level }),
      async stop(withinMs) {
        tell(STOP_TOPIC.abort, {})
        using _timer = clock.setTimer(withinMs, () => process.kill())
        await exited
      },
      [Symbol.asyncDispose]: async () => {
        process.kill()
        await exited
        // Not before: what it sent last may still be on its way through the pipe.
        await session[Symbol.asyncDispose]()
        if (this.#underway.get(jobId) === underway) this.#underway.delete(jobId)
      },
    }
  }

  #fromJob(request: CellRequest, act: (underway: Underway, jobId: string) => void) {
    const { link } = request
    const jobId = link === undefined || !this.owns(link) ? '' : jobOf(link)
    const underway = this.#underway.get(jobId)
    if (underway === undefined) {
      this.#components.onImpostor(request)
      return { returnCode: 'unauthenticated', error: 'only the jobs of this server may say that' }
    }
    act(underway, jobId)
    return {}
  }
}

/** The job whose cell is at the other end of a link; empty if it is the cell of none. */
function jobOf({ fqcn }: PeerLink): string {
  const [place, job, ...below] = fqcn.split('.')
  return place === SERVER_CELL && below.length === 0 ? (job ?? '') : ''
}

function fieldOf({ body }: CellRequest, key: string): unknown {
  return body instanceof Map ? body.get(key) : undefined
}
