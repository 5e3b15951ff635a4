import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ClientApiSettings, FrameLimits, MetaValue, TrainerModel } from '@hanse/client/core'
import {
  type AbortOptions,
  type ByteStore,
  type Clock,
  hasCode,
  type Logger,
  messageOf,
} from '@hanse/contract'
import type {
  ConfinementLevel,
  TrainerLauncher,
  TrainerLimits,
  TrainerRuntime,
} from '@hanse/launcher-process'

import { asDifference } from './parameter-difference.ts'
import { readTrainerCommand, type TrainerLaunch } from './trainer-command.ts'
import { TrainerError } from './trainer-error.ts'
import { type TrainerMetric, TrainerRun } from './trainer-run.ts'

/** How tasks are exchanged; arguments of the job's ClientAPIExecutor (client-api.md §5). */
export interface TaskExchange {
  readonly taskNames: {
    readonly train: string
    readonly evaluate: string
    readonly submitModel: string
  }
  readonly trainWithEvaluation: boolean
  readonly transferType: 'FULL' | 'DIFF'
  readonly clientApi: ClientApiSettings
  /** True: one process for all tasks; false: one for each. */
  readonly launchOnce: boolean
  /** From the start of the process to `init`; `undefined`: no limit. */
  readonly launchTimeoutMs: number | undefined
  /** From the task to its answer; `undefined`: no limit. */
  readonly resultTimeoutMs: number | undefined
  /** What a trainer gets to end by itself before it is killed. */
  readonly stopGraceMs: number
}

/** The arguments' defaults. */
export const DEFAULT_TASK_EXCHANGE: TaskExchange = Object.freeze({
  taskNames: Object.freeze({ train: 'train', evaluate: 'validate', submitModel: 'submit_model' }),
  trainWithEvaluation: false,
  transferType: 'FULL',
  clientApi: Object.freeze({
    exchangeFormat: 'raw',
    serverFormat: 'numpy',
    memoryGcRounds: 0,
    cudaEmptyCache: false,
  }),
  launchOnce: true,
  launchTimeoutMs: 300_000,
  resultTimeoutMs: undefined,
  stopGraceMs: 30_000,
})

export interface TrainerComponents {
  readonly launcher: TrainerLauncher
  readonly clock: Clock
  readonly logger: Logger
  /** Where the arrays of long results go; default: memory. */
  readonly arrays?: ByteStore | undefined
}

export interface TrainerOptions {
  /** As the job wrote it. */
  readonly command: string | readonly string[]
  /**
   * True: a Python script starts in its scratch folder, as one that was written for FLARE's mode `in_process` did
   * not start in the app folder either. Default: the app folder, which nobody can write to.
   */
  readonly inScratch?: boolean | undefined
  /** The site's list, by name. */
  readonly runtimes: ReadonlyMap<string, TrainerRuntime>
  /** The job's app folder, absolute. */
  readonly appDirectory: string
  /** Folders of the granted data sets, absolute, by name. */
  readonly datasets: Readonly<Record<string, string>>
  readonly minimumLevel: ConfinementLevel
  /** Where each launch gets a private folder, removed after it; absolute. */
  readonly scratchDirectory: string
  readonly jobId: string
  readonly siteName: string
  readonly exchange: TaskExchange
  /** File for what the trainer prints; it stays at the site. */
  readonly logPath?: string | undefined
  readonly maxLogBytes?: number | undefined
  readonly limits?: TrainerLimits | undefined
  readonly frameLimits?: Partial<FrameLimits> | undefined
  /**
   * Called for each number that the trainer reports under a plain name (letters, digits, `_./ -`, at most 64),
   * at most 100,000 a process; the rest is dropped.
   */
  readonly onLog?: ((metric: TrainerMetric) => void) | undefined
  /** Called when a process of the trainer failed; its message may leave the site. */
  readonly onFailure?: ((failure: TrainerError) => void) | undefined
}

/** A task for a trainer. */
export interface TrainerTask {
  readonly name: string
  /** Borrowed until the exchange settles. */
  readonly model: TrainerModel<MetaValue>
}

/** A job's own code at a site, confined. */
export interface Trainer extends AsyncDisposable {
  /** E.g. `namespaces (bubblewrap) and node-permission`; `undefined` before the first launch. */
  readonly confinement: string | undefined
  /**
   * Has the trainer do one task, starting it when it does not run yet. One task at a time. A trainer with
   * `launchOnce` that ended is not started again.
   * @throws {TrainerError}
   */
  exchange(task: TrainerTask, options?: AbortOptions): Promise<TrainerModel<MetaValue>>
  /** Resolves once, with the reason if the trainer failed and without one after `close`. Never rejects. */
  readonly exited: Promise<TrainerError | undefined>
  /** Tells the trainer to end, and kills it when it does not. Idempotent. */
  close(): Promise<void>
}

/** Beyond this the trainer is not reporting but flooding. */
const MAX_LOGS = 100_000
const METRIC_NAME = /^[A-Za-z0-9_./ -]{1,64}$/

/** A trainer that starts with its first task. */
export function createTrainer(components: TrainerComponents, options: TrainerOptions): Trainer {
  return new LaunchedTrainer(components, options)
}

class LaunchedTrainer implements Trainer {
  readonly #components: TrainerComponents
  readonly #options: TrainerOptions
  readonly #exited = Promise.withResolvers<TrainerError | undefined>()
  #command: Promise<TrainerLaunch> | undefined
  #run: TrainerRun | undefined
  #failure: TrainerError | undefined
  #confinement: string | undefined
  #busy = false
  #closed = false
  readonly #cleanups = new Set<Promise<void>>()

  constructor(components: TrainerComponents, options: TrainerOptions) {
    this.#components = components
    this.#options = options
  }

  get confinement(): string | undefined {
    return this.#confinement
  }

  get exited(): Promise<TrainerError | undefined> {
    return this.#exited.promise
  }

  async exchange(
    task: TrainerTask,
    { signal }: AbortOptions = {},
  ): Promise<TrainerModel<MetaValue>> {
    signal?.throwIfAborted()
    if (this.#closed) throw new TrainerError('ERR_TRAINER_STATE', 'the trainer was closed')
    if (this.#busy) throw new TrainerError('ERR_TRAINER_STATE', 'the trainer already has a task')
    if (this.#failure !== undefined) throw this.#failure
    this.#busy = true
    const { launchOnce, resultTimeoutMs, stopGraceMs, transferType, taskNames } =
      this.#options.exchange
    try {
      this.#run ??= await this.#launch()
      const run = this.#run
      // Closed while it started: nobody is left to end it.
      if (this.#closed) run.kill()
      const result = await run.exchange(task.name, task.model, {
        timeoutMs: resultTimeoutMs,
        signal,
      })
      if (!launchOnce) {
        this.#run = undefined
        await run.end(stopGraceMs)
      }
      return transferType === 'DIFF' && task.name === taskNames.train
        ? asDifference(result, task.model)
        : result
    } catch (error) {
      if (!launchOnce) {
        this.#run?.kill()
        this.#run = undefined
      } else if (error instanceof TrainerError && error.code !== 'ERR_TRAINER_RESULT')
        this.#fail(error)
      throw error
    } finally {
      this.#busy = false
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#run?.end(this.#options.exchange.stopGraceMs)
    await Promise.all(this.#cleanups)
    this.#exited.resolve(this.#failure)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #launch(): Promise<TrainerRun> {
    const { launcher, clock, logger, arrays } = this.#components
    const options = this.#options
    this.#command ??= readTrainerCommand(options.command, options.runtimes, options.appDirectory)
    const launch = await this.#command
    const command =
      options.inScratch === true && launch.runtime.kind === 'python'
        ? { ...launch, arguments: ['--in-scratch', ...launch.arguments] }
        : launch
    const scratchDirectory = await mkdtemp(join(options.scratchDirectory, 'trainer-'))
    const cleanUp = () => rm(scratchDirectory, { recursive: true, force: true })
    try {
      const process = await launcher.launch(
        {
          ...command,
          appDirectory: options.appDirectory,
          datasets: options.datasets,
          scratchDirectory,
          limits: options.limits,
          output: { path: options.logPath, maxBytes: options.maxLogBytes },
        },
        options.minimumLevel,
      )
      this.#confinement = process.confinement
      const { taskNames, trainWithEvaluation, transferType, clientApi } = options.exchange
      const { launchOnce, launchTimeoutMs } = options.exchange
      const run = new TrainerRun(
        { process, clock, arrays, onLog: this.#logGate() },
        {
          welcome: {
            jobId: options.jobId,
            siteName: options.siteName,
            taskNames,
            trainWithEvaluation,
            transferType,
            clientApi,
          },
          launchTimeoutMs,
          frameLimits: options.frameLimits,
        },
      )
      const over = run.ended.then(async (failure) => {
        await cleanUp()
        if (failure !== undefined) {
          const { code, message, errorTail } = failure
          logger.warn('trainer failed', { code, reason: message, printed: errorTail })
          options.onFailure?.(failure)
          if (launchOnce) this.#fail(failure)
        }
        this.#cleanups.delete(over)
      })
      this.#cleanups.add(over)
      return run
    } catch (error) {
      await cleanUp()
      if (hasCode(error, 'ERR_CONFINEMENT_LEVEL'))
        throw new TrainerError('ERR_TRAINER_CONFINEMENT', error.message, {}, { cause: error })
      throw new TrainerError(
        'ERR_TRAINER_EXITED',
        'the trainer could not be started',
        {},
        { cause: error, errorTail: [messageOf(error)] },
      )
    }
  }

  #logGate(): (metric: TrainerMetric) => void {
    let count = 0
    return (metric) => {
      // Names go out with the numbers, and must not become a way to send text.
      if (!METRIC_NAME.test(metric.key)) return
      count++
      if (count <= MAX_LOGS) this.#options.onLog?.(metric)
      else if (count === MAX_LOGS + 1)
        this.#components.logger.warn('trainer reports too many numbers; dropping the rest', {
          limit: MAX_LOGS,
        })
    }
  }

  #fail(error: TrainerError): void {
    this.#failure ??= error
    this.#exited.resolve(this.#failure)
  }
}
