import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cell, CellReply, CellRequest, ReplyMessage } from '@hanse/cellnet'
import { type Clock, type Logger, messageOf, PlatformError } from '@hanse/contract'
import { readDeployedConfig } from '@hanse/jobs'
import type { TrainerLauncher } from '@hanse/launcher-process'
import {
  buildClientApp,
  buildPlaceFilters,
  type ClientApp,
  createCatalogue,
  LearningError,
  PlaceFilterChain,
  type PlaceFilterReport,
  releaseArrays,
  resolveVariables,
  standardComponents,
  TaskRunner,
} from '@hanse/learning'
import {
  AdminMessage,
  abortableDelay,
  CHANNEL,
  COMMAND,
  COMMAND_HEADER,
  EXIT_CODE,
  handleAux,
  jobCell,
  type PublicProperties,
  type ReceivedTask,
  SERVER_CELL,
  secureRandom,
  TASK_TOPIC,
  TaskClient,
} from '@hanse/session'
import { ClientApiExecutor } from '../trainer/client-api-executor.ts'
import type { TrainerComponents } from '../trainer/trainer.ts'
import { MetricReporter } from './metric-reporter.ts'
import type { SiteRunFile } from './run-file.ts'
import { JOB_COMMAND, JOB_STATUS, SITE_JOB_TOPIC } from './site-job-protocol.ts'

export interface SiteJobComponents {
  /** The job's cell, linked to its site. */
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  readonly launcher: TrainerLauncher
  /** Where arrays are that are too long for memory. Default: memory. */
  readonly arrays?: TrainerComponents['arrays']
  setLogLevel(level: string): void
}

const PARENT_TIMEOUT_MS = 5_000
const BEAT_MS = 10_000

/**
 * One job at a site: fetches tasks, has them done, hands in results, until the server says that it is over.
 * @returns the exit code of the process; never throws
 */
export async function runSiteJob(
  components: SiteJobComponents,
  folder: string,
  run: SiteRunFile,
): Promise<number> {
  const job = new SiteJob(components, folder, run)
  return job.run()
}

class SiteJob {
  readonly #components: SiteJobComponents
  readonly #folder: string
  readonly #appFolder: string
  readonly #run: SiteRunFile
  readonly #serverCell: string
  readonly #stop = new AbortController()
  readonly #end = new AbortController()
  readonly #ownProperties: PublicProperties
  #tasksDone = 0

  constructor(components: SiteJobComponents, folder: string, run: SiteRunFile) {
    this.#components = components
    this.#folder = folder
    this.#appFolder = join(folder, `app_${run.site}`)
    this.#run = run
    this.#serverCell = jobCell(SERVER_CELL, run.jobId)
    this.#ownProperties = new Map<string, string | boolean>([
      ['__run_num__', run.jobId],
      ['__identity_name__', run.site],
      ['__fqsn__', run.site],
      ['__is_leaf__', true],
      ['__client_name__', run.site],
      ['__current_job_id__', run.jobId],
    ])
  }

  async run(): Promise<number> {
    const { cell, logger, setLogLevel } = this.#components
    const fromSite = (command: string, act: (request: CellRequest) => CellReply) =>
      cell.handle(CHANNEL.clientCommand, command, (request) =>
        request.origin === this.#run.siteCell
          ? act(request)
          : { returnCode: 'unauthenticated', error: 'only the site may say that' },
      )
    fromSite(JOB_COMMAND.abort, () => {
      this.#stop.abort(new Error('the job was aborted'))
      return {}
    })
    fromSite(JOB_COMMAND.logLevel, ({ body }) => {
      setLogLevel(body instanceof Map ? String(body.get('level')) : '')
      return {}
    })
    handleAux(cell, TASK_TOPIC.endRun, this.#ownProperties, ({ origin }) => {
      if (origin === this.#serverCell) this.#end.abort()
      return undefined
    })
    try {
      await this.#tellStatus(JOB_STATUS.started)
      await this.#work()
      return EXIT_CODE.ok
    } catch (error) {
      if (this.#stop.signal.aborted) return EXIT_CODE.aborted
      logger.error('the job ended early', { error })
      await this.#tellEnding(publicReason(error))
      return EXIT_CODE.exception
    } finally {
      await this.#tellStatus(JOB_STATUS.stopped)
    }
  }

  async #work(): Promise<void> {
    const { cell, clock, logger } = this.#components
    const { signal } = this.#stop
    const metrics = new MetricReporter(
      { cell, clock, logger },
      {
        serverCell: this.#serverCell,
        site: this.#run.site,
        ownProperties: this.#ownProperties,
      },
    )
    const app = await this.#buildApp(metrics)
    await using _executors = disposing(app.all)
    const runner = new TaskRunner(
      { executors: app.executors, filters: app.filters, log: logger, random: secureRandom },
      { siteName: this.#run.site, jobId: this.#run.jobId },
    )
    const tasks = new TaskClient(
      { cell, clock, logger },
      {
        serverCell: this.#serverCell,
        project: this.#run.project,
        ownProperties: this.#ownProperties,
      },
    )
    await tasks.sync({ signal })
    const beats = this.#beat(tasks)
    while (await this.#oneTask(tasks, runner, metrics));
    this.#end.abort()
    await beats
  }

  /**
   * Fetches a task, has it done, hands in its result. A function of its own, since a variable of a loop lives
   * on while the loop waits: nothing may hold a model that is done with.
   * @returns false once the run is over
   */
  async #oneTask(tasks: TaskClient, runner: TaskRunner, metrics: MetricReporter): Promise<boolean> {
    const { logger } = this.#components
    const { signal } = this.#stop
    const task = await this.#nextTask(tasks)
    if (task === undefined) return false
    logger.info('task received', { task: task.name, id: task.id })
    this.#tellWork(task.name)
    metrics.beginTask(task.name)
    const result = await runner.run(task, { signal })
    signal.throwIfAborted()
    await metrics.drained()
    const outcome = await tasks.submit(task, result, { signal })
    // The server has pulled what it wanted; nothing keeps a model beyond its task.
    releaseArrays(task.data)
    releaseArrays(result)
    this.#tasksDone += 1
    this.#tellWork('')
    logger.info('result handed in', { task: task.name, id: task.id, outcome })
    return true
  }

  /** The next task; `undefined` once the run is over, whether the answer or the announcement says so first. */
  async #nextTask(tasks: TaskClient): Promise<ReceivedTask | undefined> {
    const waiting = new AbortController()
    const onAbort = () => waiting.abort(this.#stop.signal.reason)
    const signals = [this.#stop.signal, this.#end.signal]
    for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
    if (signals.some(({ aborted }) => aborted)) onAbort()
    try {
      return await tasks.nextTask({ signal: waiting.signal })
    } catch (error) {
      if (this.#end.signal.aborted && !this.#stop.signal.aborted) return undefined
      throw error
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', onAbort)
    }
  }

  async #buildApp(metrics: MetricReporter): Promise<ClientApp> {
    const { clock, logger, launcher, arrays } = this.#components
    const { site, jobId } = this.#run
    const { content } = await readDeployedConfig(this.#appFolder, 'client')
    const resolved = resolveVariables(content, {
      system: new Map<string, string | boolean>([
        ['JOB_ID', jobId],
        ['SITE_NAME', site],
        ['WORKSPACE', this.#folder],
        ['SECURE_MODE', true],
        ['JOB_CUSTOM_DIR', join(this.#appFolder, 'custom')],
        ['JOB_CONFIG_DIR', join(this.#appFolder, 'config')],
      ]),
    })
    const scratchDirectory = join(this.#folder, 'scratch')
    await mkdir(scratchDirectory, { recursive: true, mode: 0o700 })
    const catalogue = createCatalogue(
      standardComponents({
        createClientApiExecutor: (args) =>
          new ClientApiExecutor(
            { ...args, datasets: Object.keys(this.#run.datasets) },
            { launcher, clock, logger, arrays },
            {
              runtimes: new Map(Object.entries(this.#run.runtimes)),
              appDirectory: this.#appFolder,
              datasets: new Map(Object.entries(this.#run.datasets)),
              minimumLevel: this.#run.minimumConfinement,
              scratchDirectory,
              jobId,
              siteName: site,
              logPath: join(this.#folder, 'trainer.log'),
              onLog: (metric) => metrics.report(metric),
            },
          ),
      }),
    )
    const siteContext = { siteName: site, jobId, log: logger }
    const app = buildClientApp(resolved, { catalogue, site: siteContext })
    this.#addSiteFilters(app, metrics, {
      catalogue,
      context: { side: 'client', site: siteContext, log: logger },
    })
    return app
  }

  /** Puts the filters of the site's privacy scope before those of the job, and before the numbers that trainers log. */
  #addSiteFilters(
    app: ClientApp,
    metrics: MetricReporter,
    how: Parameters<typeof buildPlaceFilters>[1],
  ): void {
    const { data, result } = buildPlaceFilters(this.#run.filters, how)
    const onReport = (report: PlaceFilterReport) => this.#tellFiltered(report)
    if (data.length > 0)
      app.filters.addAlways('data', 'in', [new PlaceFilterChain(data, { onReport })])
    if (result.length === 0) return
    const chain = new PlaceFilterChain(result, { onReport, distrusts: true })
    app.filters.addAlways('result', 'out', [chain])
    metrics.obey(new PlaceFilterChain(result))
  }

  /** Says now and then that this job lives. */
  async #beat(tasks: TaskClient): Promise<void> {
    const { clock, logger } = this.#components
    const { signal } = this.#end
    while (!signal.aborted && !this.#stop.signal.aborted) {
      await tasks.beat().catch((error: unknown) => logger.debug('no heartbeat sent', { error }))
      await abortableDelay(clock, BEAT_MS, { signal }).catch(() => undefined)
    }
  }

  async #tellStatus(status: number): Promise<void> {
    await this.#tellSite(COMMAND.notifyJobStatus, '', [['job_status', status]])
  }

  async #tellEnding(reason: string): Promise<void> {
    await this.#tellSite(SITE_JOB_TOPIC.ending, reason, [])
  }

  /** For whoever asks the site; the work does not wait for it. */
  #tellWork(task: string): void {
    void this.#tellSite(SITE_JOB_TOPIC.work, task, [['tasks_done', this.#tasksDone]]).catch(
      (error: unknown) => this.#components.logger.debug('work not told', { error }),
    )
  }

  /**
   * Puts into the site's record what its filters did, before what they let pass goes on.
   * @throws {LearningError} `ERR_FILTER` when it is not recorded: then nothing goes on
   */
  async #tellFiltered({ taskName, payload, filters, refusal }: PlaceFilterReport): Promise<void> {
    const { logger } = this.#components
    const names = filters.join(', ')
    logger.info('filters of the site', { task: taskName, payload, applied: names, refusal })
    const { returnCode, body } = await this.#tellSite(SITE_JOB_TOPIC.filtered, names, [
      ['task', taskName],
      ['payload', payload],
      ['refusal', refusal.slice(0, MAX_REASON_CHARS)],
    ])
    // An answer without a code of its own means that it was done.
    if (returnCode === 'ok' && body instanceof AdminMessage)
      if (!body.headers.has(COMMAND_HEADER.returnCode)) return
    throw new LearningError('ERR_FILTER', 'what the filters of the site did could not be recorded')
  }

  async #tellSite(
    topic: string,
    body: string,
    headers: [string, number | string][],
  ): Promise<ReplyMessage> {
    const message = new AdminMessage(
      topic,
      body,
      new Map<string, string | number>([[COMMAND_HEADER.jobId, this.#run.jobId], ...headers]),
    )
    return this.#components.cell.request(this.#run.siteCell, CHANNEL.admin, topic, message, {
      timeoutMs: PARENT_TIMEOUT_MS,
      optional: true,
    })
  }
}

const MAX_REASON_CHARS = 500

/** Words about a failure that may leave the site: those of our own errors; of others only that there was one. */
function publicReason(error: unknown): string {
  return error instanceof PlatformError
    ? messageOf(error).slice(0, MAX_REASON_CHARS)
    : "the site's job process failed; its log at the site says why"
}

/** Disposes what of `components` can be, last made first. */
function disposing(components: readonly unknown[]): AsyncDisposable {
  const stack = new AsyncDisposableStack()
  for (const component of components)
    if (typeof component === 'object' && component !== null && Symbol.asyncDispose in component)
      stack.use(component as AsyncDisposable) // has the method
  return stack
}
