import type { Clock, Logger } from '@hanse/contract'
import type { GroupProcess } from './group-process.ts'
import { type JobProcess, startJobProcess } from './job-process.ts'
import type { OutputLogOptions } from './output-log.ts'

export interface JobProcessesComponents {
  readonly clock: Clock
  readonly logger: Logger
}

export interface JobProcessesOptions {
  /** Absolute path of the module to run; it learns its folder from its pipe, `ParentPipe.assignment`. */
  readonly module: string
  /** Options for the runtime, before the module. */
  readonly runtimeOptions?: readonly string[] | undefined
  /** Where processes start: the folder of all runs, which must exist. */
  readonly directory: string
  /** Processes that wait for a job; 0 for none. */
  readonly spares: number
}

/** The start of a job has the machine for itself, and so has its end: spares are made up for later. */
const REFILL_AFTER_START_MS = 5_000
const REFILL_AFTER_END_MS = 250

/**
 * Starts the job processes of one place, and keeps some started ahead: loading the code takes longer than all
 * else in the start of a job. A spare is the process that any job gets, with the same empty environment and one
 * pipe, and nothing of a job in it; each serves one job and ends.
 */
export class JobProcesses implements AsyncDisposable {
  readonly #components: JobProcessesComponents
  readonly #options: JobProcessesOptions
  readonly #spares = new Set<GroupProcess>()
  readonly #launching = new Set<Promise<void>>()
  #refill: Disposable | undefined
  #isClosed = false

  constructor(components: JobProcessesComponents, options: JobProcessesOptions) {
    this.#components = components
    this.#options = options
  }

  /** Starts the spares that are missing, for places at rest. */
  prepare(): void {
    this.#refill?.[Symbol.dispose]()
    this.#refill = undefined
    if (this.#isClosed) return
    for (let i = this.#spares.size + this.#launching.size; i < this.#options.spares; i++) {
      const launching = this.#addSpare().finally(() => this.#launching.delete(launching))
      this.#launching.add(launching)
    }
  }

  /**
   * A process that works in `folder`, a spare if there is one.
   * @throws {LaunchError} `ERR_LAUNCH`
   */
  async start(folder: string, output: OutputLogOptions): Promise<JobProcess> {
    const [spare] = this.#spares
    if (spare !== undefined) this.#spares.delete(spare)
    const process = spare ?? (await this.#launch())
    try {
      process.logTo(output)
    } catch (error) {
      process.kill()
      throw error
    }
    process.pipe.write(`${JSON.stringify(folder)}\n`)
    this.#prepareIn(REFILL_AFTER_START_MS)
    void process.exited.then(() => this.#prepareIn(REFILL_AFTER_END_MS))
    return process
  }

  /** Ends the spares. Processes of jobs belong to whoever started them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#refill?.[Symbol.dispose]()
    await Promise.all(this.#launching)
    const spares = [...this.#spares]
    this.#spares.clear()
    for (const spare of spares) spare.kill()
    await Promise.all(spares.map(({ exited }) => exited))
  }

  #prepareIn(delayMs: number): void {
    if (this.#isClosed || this.#options.spares === 0) return
    this.#refill?.[Symbol.dispose]()
    this.#refill = this.#components.clock.setTimer(delayMs, () => this.prepare())
  }

  async #addSpare(): Promise<void> {
    try {
      const spare = await this.#launch()
      this.#spares.add(spare)
      void spare.exited.then(({ errorTail }) => this.#lost(spare, errorTail))
    } catch (error) {
      this.#components.logger.warn('no process could be started ahead', { error })
    }
  }

  /** One that ends while it waits is not replaced at once: what ended it may end the next. */
  #lost(spare: GroupProcess, errorTail: readonly string[]): void {
    if (!this.#spares.delete(spare)) return
    const lastWords = errorTail.slice(-3).join(' | ')
    this.#components.logger.warn('a process that waited for a job ended', { lastWords })
  }

  async #launch(): Promise<GroupProcess> {
    const { module, runtimeOptions, directory } = this.#options
    // The folder says whose process this is in a list of processes.
    const launched = await startJobProcess({
      module,
      runtimeOptions,
      arguments: [directory],
      directory,
    })
    // One that is gone cannot be written to; its end is seen as its exit.
    launched.pipe.on('error', () => {})
    return launched
  }
}
