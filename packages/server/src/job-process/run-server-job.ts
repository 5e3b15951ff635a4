import { join } from 'node:path'
import type { Cell } from '@hanse/cellnet'
import { type Clock, type JsonObject, type Logger, messageOf } from '@hanse/contract'
import { readDeployedConfig } from '@hanse/jobs'
import {
  buildPlaceFilters,
  buildServerApp,
  type ContributionStoreComponents,
  createCatalogue,
  createContributionStores,
  EventBus,
  PlaceFilterChain,
  type PlaceFilterReport,
  type RunContext,
  RunState,
  resolveVariables,
  runWorkflows,
  type ServerApp,
  standardComponents,
  TaskBoard,
  type Workflow,
} from '@hanse/learning'
import {
  CHANNEL,
  EXIT_CODE,
  jobCell,
  notifyAux,
  type PublicProperties,
  SERVER_CELL,
  Shareable,
  secureRandom,
  serveTasks,
  TASK_TOPIC,
} from '@hanse/session'
import { PARENT_TOPIC, STOP_TOPIC } from '../jobs/job-process-protocol.ts'
import { fileSpools } from './file-spool.ts'
import { folderRunFiles } from './folder-run-files.ts'
import { MetricJournal } from './metric-journal.ts'
import { ParticipantWatch } from './participant-watch.ts'
import { RoundJournal } from './round-journal.ts'
import type { RunFile } from './run-file.ts'
import { SiteEvents } from './site-events.ts'

export interface ServerJobComponents {
  /** The job's cell, linked to its server. */
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  setLogLevel(level: string): void
  /** Where arrays are that are too long for memory. Default: memory. */
  readonly arrays?: ContributionStoreComponents['arrays']
}

/** Below the folder of the run: not part of its result. */
export const SPOOL_FOLDER = 'spool'
/** Holds a poll shorter than any stock time-out of one. */
const HOLD_MS = 10_000
const STATUS_TIMEOUT_MS = 10_000
const APP = 'app_server'

/**
 * Runs one job at the server: builds its components, serves its sites and runs its workflows one after the other.
 * @returns the exit code of the process; never throws
 */
export async function runServerJob(
  components: ServerJobComponents,
  folder: string,
  run: RunFile,
): Promise<number> {
  const job = new ServerJob(components, folder, run)
  return job.run()
}

/** Why a run must end before its workflows do. */
class RunStopped extends Error {
  readonly byPerson: boolean

  constructor(reason: string, byPerson: boolean) {
    super(reason)
    this.byPerson = byPerson
  }
}

class ServerJob {
  readonly #components: ServerJobComponents
  readonly #folder: string
  readonly #run: RunFile
  readonly #stop = new AbortController()
  readonly #ownProperties: PublicProperties

  constructor(components: ServerJobComponents, folder: string, run: RunFile) {
    this.#components = components
    this.#folder = folder
    this.#run = run
    this.#ownProperties = new Map([
      ['__run_num__', run.jobId],
      // Stock's job processes at the server call themselves by the project's name.
      ['__identity_name__', run.project],
    ])
  }

  async run(): Promise<number> {
    const { logger } = this.#components
    try {
      await this.#runWorkflows()
      await this.#reportEnd(false, '')
      return EXIT_CODE.ok
    } catch (error) {
      const stopped = this.#stop.signal.reason as unknown
      const cause = stopped instanceof RunStopped ? stopped : error
      const byPerson = cause instanceof RunStopped && cause.byPerson
      logger.error('the run ended early', { error: cause })
      await this.#reportEnd(!byPerson, messageOf(cause))
      return byPerson ? EXIT_CODE.aborted : EXIT_CODE.executionError
    }
  }

  async #runWorkflows(): Promise<void> {
    const { cell, clock, logger } = this.#components
    const config = await this.#readConfig()
    const settings = settingsOf(config, this.#run)
    const events = new EventBus(logger)
    const live = new Set(this.#run.participants.map(({ name }) => name))
    await using files = folderRunFiles({ folder: this.#folder, custom: join(APP, 'custom') })
    const { app, context } = this.#build(config, events, files, () => [...live])

    const board: TaskBoard = new TaskBoard(
      {
        clock,
        log: logger,
        newId: () => crypto.randomUUID(),
        filterData: (site, taskName, data) =>
          app.filters.run(data, this.#filterContext(site, taskName, 'out', 'data')),
        filterResult: (site, taskName, data) =>
          app.filters.run(data, this.#filterContext(site, taskName, 'in', 'result')),
        onPanic: (reason) => this.#panic(reason),
        onUnknownResult: (site, taskName, result) => {
          Promise.resolve(current?.onLateResult?.(site, taskName, result)).catch((error: unknown) =>
            logger.warn('late result not used', { site, task: taskName, error }),
          )
        },
      },
      { deadCheckLeadMs: settings.deadCheckLeadMs },
    )
    let current: Workflow | undefined

    using watch = new ParticipantWatch(clock, settings.graceMs, {
      onDisconnected: (site, reason) => {
        logger.warn('site counts as gone', { site, reason })
        live.delete(site)
        board.siteDisconnected(site)
        this.#checkStrength(watch.disconnected)
      },
      onReconnected: (site) => {
        live.add(site)
        board.siteReconnected(site)
      },
    })
    this.#serve(board, watch, settings.waitSeconds)
    const siteEvents = new SiteEvents(
      { cell, logger, fire: (event) => events.fire(event), onSign: (site) => watch.alive(site) },
      {
        jobId: this.#run.jobId,
        participants: this.#participantCells(),
        ownProperties: this.#ownProperties,
      },
    )

    for (const handler of app.handlers) events.add(handler)
    events.add(new MetricJournal({ files: context.files, clock, logger }))
    events.add(new RoundJournal(context.files, (progress) => this.#tellProgress(progress)))
    await cell.request(SERVER_CELL, CHANNEL.serverParent, PARENT_TOPIC.ready, null, {
      timeoutMs: STATUS_TIMEOUT_MS,
    })
    const { signal } = this.#stop
    await untilAborted(
      runWorkflows(
        app,
        {
          context,
          board,
          onWorkflow: (workflow) => {
            current = workflow?.workflow
          },
        },
        { signal },
      ),
      signal,
    )
    await siteEvents.settled()
    board.end()
    await this.#tellEndOfRun()
  }

  async #readConfig(): Promise<JsonObject> {
    const { content } = await readDeployedConfig(join(this.#folder, APP), 'server')
    return resolveVariables(content, {
      system: new Map<string, string | boolean>([
        ['JOB_ID', this.#run.jobId],
        ['SITE_NAME', SERVER_CELL],
        ['WORKSPACE', this.#folder],
        ['SECURE_MODE', true],
        ['JOB_CUSTOM_DIR', join(this.#folder, APP, 'custom')],
      ]),
    })
  }

  #participantCells(): ReadonlyMap<string, string> {
    return new Map(this.#run.participants.map(({ name, cell }) => [name, cell]))
  }

  #build(
    config: JsonObject,
    events: EventBus,
    files: RunContext['files'],
    sites: () => readonly string[],
  ): { app: ServerApp; context: RunContext } {
    const { clock, logger } = this.#components
    let components: ReadonlyMap<string, unknown> = new Map()
    const context: RunContext = {
      jobId: this.#run.jobId,
      jobName: this.#run.jobName,
      sites,
      component: (id) => components.get(id),
      state: new RunState(),
      events,
      files,
      contributions: createContributionStores({
        log: logger,
        spools: fileSpools(join(this.#folder, SPOOL_FOLDER)),
        ...(this.#components.arrays && { arrays: this.#components.arrays }),
      }),
      log: logger,
      clock,
      random: Math.random,
    }
    const catalogue = createCatalogue(standardComponents())
    const app = buildServerApp(config, { catalogue, createContext: () => context })
    components = app.components
    const { data, result } = buildPlaceFilters(this.#run.filters, {
      catalogue,
      context: { side: 'server', log: logger },
    })
    const onReport = ({ taskName, payload, filters, refusal }: PlaceFilterReport) =>
      logger.info('filters of the server', {
        task: taskName,
        payload,
        applied: filters.join(', '),
        refusal,
      })
    if (data.length > 0)
      app.filters.addAlways('data', 'out', [new PlaceFilterChain(data, { onReport })])
    if (result.length > 0)
      app.filters.addAlways('result', 'in', [new PlaceFilterChain(result, { onReport })])
    return { app, context }
  }

  #serve(board: TaskBoard, watch: ParticipantWatch, waitSeconds: number): void {
    const { cell } = this.#components
    serveTasks(
      cell,
      {
        next: (site, options) => board.next(site, options),
        isStanding: (taskId) => board.isStanding(taskId),
        submit: (site, taskId, taskName, result) => board.submit(site, taskId, taskName, result),
        onSign: (site) => watch.alive(site),
      },
      {
        jobId: this.#run.jobId,
        participants: this.#participantCells(),
        ownProperties: this.#ownProperties,
        waitSeconds,
        holdMs: HOLD_MS,
      },
    )
    const fromServer = (topic: string, act: (headers: Shareable['headers']) => void) =>
      cell.handle(CHANNEL.serverCommand, topic, ({ origin, body }) => {
        if (origin !== SERVER_CELL)
          return { returnCode: 'unauthenticated', error: 'only the server may say that' }
        act(body instanceof Shareable ? body.headers : new Map())
        return {}
      })
    fromServer(STOP_TOPIC.abort, () =>
      this.#stop.abort(new RunStopped('the run was aborted', true)),
    )
    fromServer(STOP_TOPIC.deadSite, (headers) => {
      const site = String(headers.get('fl_client'))
      const reason = String(headers.get('reason'))
      if (headers.get('certain') === true) watch.gone(site, reason)
      else watch.doubt(site, reason)
    })
    fromServer(STOP_TOPIC.logLevel, (headers) =>
      this.#components.setLogLevel(String(headers.get('level'))),
    )
    fromServer(STOP_TOPIC.siteBack, (headers) => watch.alive(String(headers.get('fl_client'))))
  }

  /** The job's own conditions for going on; `spec/session.md` §7.6. */
  #checkStrength(disconnected: ReadonlyMap<string, string>): void {
    const { participants, minSites, mandatorySites } = this.#run
    const left = participants.length - disconnected.size
    const reasons = [...disconnected.values()].join('; ')
    const mandatory = mandatorySites.find((site) => disconnected.has(site))
    if (mandatory !== undefined) this.#panic(`mandatory site '${mandatory}' is gone: ${reasons}`)
    else if (left < minSites || left === 0)
      this.#panic(`${left} of at least ${minSites} sites are left: ${reasons}`)
  }

  #panic(reason: string): void {
    this.#stop.abort(new RunStopped(reason, false))
  }

  #filterContext(
    site: string,
    taskName: string,
    direction: 'in' | 'out',
    payload: 'data' | 'result',
  ) {
    const { logger } = this.#components
    return { site, taskName, direction, payload, log: logger, random: secureRandom }
  }

  #tellProgress(progress: unknown): void {
    const { cell, logger } = this.#components
    const body = new Map([['progress', JSON.stringify(progress)]])
    cell
      .notify(SERVER_CELL, CHANNEL.serverParent, PARENT_TOPIC.progress, body, { optional: true })
      .catch((error: unknown) => logger.debug('progress not told', { error }))
  }

  async #tellEndOfRun(): Promise<void> {
    const { cell, logger } = this.#components
    await Promise.allSettled(
      this.#run.participants.map(async ({ name, cell: parent }) => {
        const target = jobCell(parent, this.#run.jobId)
        await notifyAux(cell, target, TASK_TOPIC.endRun, new Shareable(), this.#ownProperties, {
          optional: true,
        })
        logger.debug('end of run told', { site: name })
      }),
    )
  }

  async #reportEnd(failed: boolean, reason: string): Promise<void> {
    const body = new Map<string, boolean | string>([
      ['execution_error', failed],
      ['reason', reason],
    ])
    await this.#components.cell.request(
      SERVER_CELL,
      CHANNEL.serverParent,
      PARENT_TOPIC.status,
      body,
      { timeoutMs: STATUS_TIMEOUT_MS },
    )
  }
}

interface RunSettings {
  readonly graceMs: number
  readonly deadCheckLeadMs: number
  readonly waitSeconds: number
}

/** Stock keys of the app's config that steer a run; `spec/jobs.md` §3.7. */
function settingsOf(config: JsonObject, run: RunFile): RunSettings {
  const seconds = (value: unknown, otherwise: number) =>
    typeof value === 'number' && value >= 0 && value <= 86_400 ? value : otherwise
  const server = config['server']
  const wait =
    typeof server === 'object' && server !== null && !Array.isArray(server)
      ? (server as JsonObject)['task_request_interval'] // neither null nor a list: an object
      : undefined
  return {
    graceMs: seconds(config['dead_client_grace_period'], run.graceSeconds) * 1000,
    // Stock waits 30 s before it believes that a site is gone; here the server says so with certainty.
    deadCheckLeadMs: seconds(config['dead_client_check_lead_time'], 0) * 1000,
    waitSeconds: seconds(wait, 2),
  }
}

/** The promise's outcome, or the abort's reason, whichever is first: a workflow may be slow to notice. */
async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
    promise.catch(() => undefined)
  }
}
