import { hasCode, type Logger, messageOf, PlatformError } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import type { ExecutorTask, FilterContext } from '../components/contracts.ts'
import type { FilterChains } from '../filters/filter-chains.ts'
import { HEADER, META } from '../model/fl-model.ts'
import type { ReturnCode } from '../model/return-codes.ts'
import type { ExecutorTable } from './executor-table.ts'

export interface TaskRunnerComponents {
  readonly executors: ExecutorTable
  readonly filters: FilterChains
  readonly log: Logger
  /** Uniform in [0, 1), cryptographic: privacy filters draw their noise from it. */
  readonly random: () => number
}

export interface TaskRunnerOptions {
  readonly siteName: string
  readonly jobId: string
}

/**
 * What a site does with a task (session.md §7.5): finds the executor, filters the data, executes, filters
 * the result. Every failure becomes a return code; only the words of our own errors leave the site with it.
 */
export class TaskRunner {
  readonly #components: TaskRunnerComponents
  readonly #options: TaskRunnerOptions

  constructor(components: TaskRunnerComponents, options: TaskRunnerOptions) {
    this.#components = components
    this.#options = options
  }

  /** Never rejects; an abort gives `TASK_ABORTED`. The result has the task's cookies and round. */
  async run(task: ExecutorTask, { signal }: { readonly signal: AbortSignal }): Promise<Shareable> {
    const result = await this.#execute(task, signal)
    // A result that was being made when the run was aborted is not worth sending, but says so.
    return finished(signal.aborted ? failure('TASK_ABORTED') : result, task)
  }

  async #execute(task: ExecutorTask, signal: AbortSignal): Promise<Shareable> {
    const { executors, filters, log } = this.#components
    const { siteName, jobId } = this.#options
    const fields = { task: task.name, id: task.id }
    const executor = executors.find(task.name)
    if (executor === undefined) {
      log.error('no executor does this task', fields)
      return failure('TASK_UNKNOWN')
    }
    let data: Shareable
    try {
      data = await filters.run(task.data, this.#context(task, 'in', 'data'))
    } catch (error) {
      log.error('task not executed: a data filter failed', { ...fields, error: messageOf(error) })
      return failure('TASK_DATA_FILTER_ERROR', error)
    }
    let result: Shareable
    try {
      signal.throwIfAborted()
      result = await executor.execute(
        { ...task, data: addressed(data, siteName, jobId) },
        { siteName, jobId, signal, log },
      )
    } catch (error) {
      if (signal.aborted) return failure('TASK_ABORTED')
      log.error('the task failed', { ...fields, error })
      const code = hasCode(error, 'ERR_RESULT') ? 'EXECUTION_RESULT_ERROR' : 'EXECUTION_EXCEPTION'
      return failure(code, error)
    }
    if (!(result instanceof Shareable)) {
      log.error('the executor returned no result', fields)
      return failure('EXECUTION_RESULT_ERROR')
    }
    try {
      return await filters.run(result, { ...this.#context(task, 'out', 'result'), task: data })
    } catch (error) {
      log.error('the result stays here: a result filter failed', {
        ...fields,
        error: messageOf(error),
      })
      return failure('TASK_RESULT_FILTER_ERROR', error)
    }
  }

  #context(
    { name }: ExecutorTask,
    direction: FilterContext['direction'],
    payload: FilterContext['payload'],
  ): FilterContext {
    const { log, random } = this.#components
    return { taskName: name, direction, payload, site: this.#options.siteName, log, random }
  }
}

const MAX_REASON_CHARS = 500

/** A result that is none. Errors of ours are written to be read elsewhere; texts of others stay here. */
function failure(code: ReturnCode, cause?: unknown): Shareable {
  const result = new Shareable()
  result.headers.set(HEADER.returnCode, code)
  if (cause instanceof PlatformError)
    result.headers.set(HEADER.reason, cause.message.slice(0, MAX_REASON_CHARS))
  return result
}

/** Trainers find the names of job and site in the model's meta; they travel as headers (client-api.md §2). */
function addressed(data: Shareable, siteName: string, jobId: string): Shareable {
  const task = copy(data)
  task.headers.set(META.siteName, siteName)
  task.headers.set(META.jobId, jobId)
  return task
}

function finished(result: Shareable, task: ExecutorTask): Shareable {
  const out = copy(result)
  const cookies = task.data.headers.get(HEADER.cookieJar)
  if (cookies !== undefined) out.headers.set(HEADER.cookieJar, cookies)
  out.headers.set('__task_name__', task.name)
  out.headers.set('__task_id__', task.id)
  const round = task.data.headers.get(HEADER.currentRound)
  if (round !== undefined) out.headers.set(HEADER.currentRound, round)
  return out
}

function copy(source: Shareable): Shareable {
  const out = new Shareable()
  for (const [key, value] of source.headers) out.headers.set(key, value)
  for (const [key, value] of source.content) out.content.set(key, value)
  return out
}
