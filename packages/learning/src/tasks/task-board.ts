import { type AbortOptions, type Clock, type Logger, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { Shareable, type TaskOffer } from '@hanse/session'
import { LearningError } from '../learning-error.ts'
import { HEADER } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import type { StandingTask, TaskPoster, TaskSpec } from './task.ts'
import { type Delivery, TaskState } from './task-state.ts'

/** A filter chain for one task name and direction, already bound to both. */
export type TaskFilter = (site: string, taskName: string, data: Shareable) => Promise<Shareable>

export interface TaskBoardComponents {
  readonly clock: Clock
  readonly log: Logger
  /** Ids of deliveries; unguessable, since a result names one. */
  readonly newId: () => string
  /** Changes what goes out to a site. A throw cancels the task. */
  readonly filterData?: TaskFilter
  /** Changes what came in. A throw turns the result into `TASK_RESULT_FILTER_ERROR`. */
  readonly filterResult?: TaskFilter
  /** A site said that the run must not go on (session.md §6.12). */
  readonly onPanic: (reason: string) => void
  /** Results for deliveries nobody knows any more: late ones. */
  readonly onUnknownResult?: (site: string, taskName: string, result: Shareable) => void
}

export interface TaskBoardOptions {
  /** A task younger than this does not end because its sites are gone. Default 30 s. */
  readonly deadCheckLeadMs?: number
}

const REMEMBERED_RESULTS = 10_000
const FATAL_CODES: ReadonlySet<string> = new Set(['RUN_MISMATCH', 'TASK_UNKNOWN', 'UNSAFE_JOB'])

interface Waiter {
  readonly site: string
  readonly resolve: (offer: TaskOffer) => void
}

/**
 * The tasks that stand between a workflow and its sites (session.md §7): hands them out as sites ask,
 * takes the answers, and ends tasks when their conditions hold. A request for a task can wait; it is
 * answered in the same turn in which a task for that site appears.
 *
 * Time comes from the clock that is handed in and no other timer is used: one timer stands at the next
 * moment at which anything can change.
 */
export class TaskBoard implements TaskPoster {
  readonly #components: TaskBoardComponents
  readonly #deadCheckLeadMs: number
  /** In the order of posting. */
  readonly #standing = new Set<TaskState>()
  readonly #deliveries = new Map<string, Delivery>()
  /** Deliveries answered not long ago, so that repeats are known for what they are. */
  readonly #answered = new Map<string, { readonly site: string; readonly name: string }>()
  readonly #waiters = new Map<string, Waiter>()
  /** Sites for which data is being filtered right now. */
  readonly #filtering = new Set<string>()
  readonly #disconnected = new Set<string>()
  #settling = false
  #workflow: string | undefined
  #ended = false
  #timer: Disposable | undefined

  constructor(components: TaskBoardComponents, options: TaskBoardOptions = {}) {
    this.#components = components
    this.#deadCheckLeadMs = options.deadCheckLeadMs ?? 30_000
  }

  /** Tasks posted and not ended. */
  get size(): number {
    return this.#standing.size
  }

  /** From now on tasks belong to workflow `id`; answers to an earlier one's tasks are dropped. */
  startWorkflow(id: string): void {
    this.cancelAll()
    this.#workflow = id
  }

  /** The run is over: sites that ask are told so, now and later. Tasks that stand are cancelled. */
  end(): void {
    this.cancelAll()
    this.#ended = true
    this.#workflow = undefined
    for (const waiter of [...this.#waiters.values()]) this.#answer(waiter, { kind: 'end' })
  }

  /** Ends all standing tasks. */
  cancelAll(status: 'cancelled' | 'aborted' = 'cancelled'): void {
    for (const task of [...this.#standing]) this.#finish(task, status)
  }

  post(spec: TaskSpec): StandingTask {
    if (this.#ended || this.#workflow === undefined)
      throw new LearningError('ERR_TASK', `task ${spec.name} was posted outside of a workflow`)
    const task = new TaskState(spec, this.#workflow, this.#components.newId(), this.#now())
    this.#standing.add(task)
    this.#settle()
    return {
      name: spec.name,
      done: task.done,
      cancel: (status = 'cancelled') => this.#finish(task, status),
    }
  }

  /**
   * The next task of `site`. Waits up to `holdMs` for one; a second request of the same site ends the
   * wait of the first. What a site has and did not answer is given to it again, under the same id.
   */
  async next(
    site: string,
    { holdMs, signal }: AbortOptions & { readonly holdMs: number },
  ): Promise<TaskOffer> {
    signal?.throwIfAborted()
    const earlier = this.#waiters.get(site)
    if (earlier !== undefined) this.#answer(earlier, { kind: 'nothing-yet' })
    if (this.#ended) return { kind: 'end' }
    const now = await this.#offer(site)
    // The run may have ended while the data was being filtered.
    if (this.#ended) return { kind: 'end' }
    signal?.throwIfAborted()
    if (now !== undefined) return now
    if (holdMs <= 0) return { kind: 'nothing-yet' }
    const { promise, resolve, reject } = Promise.withResolvers<TaskOffer>()
    const waiter: Waiter = { site, resolve }
    using _timer = this.#components.clock.setTimer(holdMs, () =>
      this.#answer(waiter, { kind: 'nothing-yet' }),
    )
    const onAbort = (): void => {
      this.#forget(waiter)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiters.set(site, waiter)
    // Something may have been posted while the first look was filtered.
    this.#settle()
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Whether the server still waits for the answer to delivery `taskId` (session.md §6.11). */
  isStanding(taskId: string): boolean {
    const delivery = this.#deliveries.get(taskId)
    return delivery !== undefined && delivery.state === 'sent'
  }

  /**
   * Takes an answer, or drops it by the rules of session.md §6.12 and §7.3. Resolves when the workflow
   * has dealt with it.
   */
  async submit(site: string, taskId: string, taskName: string, result: Shareable): Promise<void> {
    const { log, filterResult } = this.#components
    const fields = { site, task: taskName, id: taskId }
    if (
      this.#ended ||
      this.#workflow === undefined ||
      cookieOf(result, '__workflow__') !== this.#workflow
    )
      return log.info('result dropped: its workflow is over', fields)
    const code = taskReturnCode(result)
    if (FATAL_CODES.has(code))
      return this.#components.onPanic(`site ${site} answered task ${taskName} with ${code}`)
    const delivery = this.#deliveries.get(taskId)
    if (delivery === undefined) return this.#takeUnknown(site, taskId, taskName, result)
    if (delivery.site !== site)
      return log.warn('result dropped: the task was given to another site', fields)
    if (delivery.task.spec.name !== taskName)
      return log.warn('result dropped: it names another task', fields)
    if (delivery.state !== 'sent')
      return log.info('result dropped: the task was answered before', fields)
    // From here on a repeat is a duplicate, also while this one is being filtered and handled.
    delivery.state = 'handling'
    let accepted = result
    try {
      if (filterResult !== undefined) accepted = await filterResult(site, taskName, result)
    } catch (error) {
      log.warn('a filter refused the result', { ...fields, error: messageOf(error) })
      accepted = new Shareable()
      for (const [key, value] of result.headers) accepted.headers.set(key, value)
      accepted.headers.set(HEADER.returnCode, 'TASK_RESULT_FILTER_ERROR')
    }
    await this.#handle(delivery, accepted)
  }

  /** `site` is gone for good as far as anybody knows (session.md §7.6). */
  siteDisconnected(site: string): void {
    this.#disconnected.add(site)
    this.#settle()
  }

  /** `site` was heard of again. */
  siteReconnected(site: string): void {
    this.#disconnected.delete(site)
    this.#settle()
  }

  #now(): number {
    return this.#components.clock.now()
  }

  async #handle(delivery: Delivery, result: Shareable): Promise<void> {
    const { task, site } = delivery
    if (task.isDone) {
      this.#release(delivery)
      return
    }
    const late = task.isLate(delivery, this.#now())
    if (late) result.headers.set(HEADER.replyIsLate, true)
    try {
      await task.spec.onResult?.(site, result)
      task.answered(delivery, this.#now())
    } catch (error) {
      task.answered(delivery, this.#now())
      this.#components.log.error('a workflow failed on a result', {
        site,
        task: task.spec.name,
        error,
      })
      this.#finish(task, 'error', error)
    }
    this.#release(delivery)
    this.#settle()
  }

  #takeUnknown(site: string, taskId: string, taskName: string, result: Shareable): void {
    const repeat = this.#answered.get(taskId)
    const fields = { site, task: taskName, id: taskId }
    if (repeat !== undefined && repeat.site === site && repeat.name === taskName) {
      this.#components.log.info('result dropped: it was taken before', fields)
      return
    }
    this.#components.log.info('result of an unknown or ended task', fields)
    this.#components.onUnknownResult?.(site, taskName, result)
  }

  /** The answer to `site` at this moment; `undefined` when there is nothing for it. */
  async #offer(site: string): Promise<TaskOffer | undefined> {
    if (this.#filtering.has(site)) return undefined
    const delivery = this.#choose(site)
    if (delivery === undefined) return undefined
    const { task } = delivery
    const { filterData, log } = this.#components
    let { data } = delivery
    if (filterData !== undefined) {
      this.#filtering.add(site)
      try {
        data = await filterData(site, task.spec.name, data)
      } catch (error) {
        log.error('a filter refused to let a task out', { site, task: task.spec.name, error })
        this.#finish(task, 'cancelled', error)
        return undefined
      } finally {
        this.#filtering.delete(site)
        // A second request of the site may have begun to wait meanwhile.
        if (this.#waiters.has(site)) queueMicrotask(() => this.#settle())
      }
      if (task.isDone) return undefined
    }
    const cookies = new Map<string, FobsValue>([['__workflow__', task.workflow]])
    const own = data.headers.get(HEADER.cookieJar)
    if (own instanceof Map)
      for (const [key, value] of own) if (typeof key === 'string') cookies.set(key, value)
    return {
      kind: 'task',
      id: delivery.id,
      name: task.spec.name,
      data,
      cookies,
      rootId: task.rootId,
      timeoutSeconds: Math.ceil((task.spec.timeoutMs ?? 0) / 1000),
      operator: task.spec.operator,
    }
  }

  /** Which delivery `site` gets now: one it already has, or a new one. */
  #choose(site: string): Delivery | undefined {
    for (const task of [...this.#standing]) {
      const verdict = task.ask(site, this.#now())
      if (verdict === 'no') continue
      if (verdict === 'block') return undefined
      if (typeof verdict === 'object') return verdict
      try {
        task.spec.onBeforeSend?.(site)
        if (task.isDone) continue
        const delivery = task.deliver(site, this.#components.newId(), this.#now())
        this.#deliveries.set(delivery.id, delivery)
        return delivery
      } catch (error) {
        this.#components.log.error('a task could not be made ready', {
          site,
          task: task.spec.name,
          error,
        })
        this.#finish(task, 'error', error)
      }
    }
    return undefined
  }

  #finish(task: TaskState, status: Parameters<TaskState['finish']>[0], cause?: unknown): void {
    if (!this.#standing.delete(task)) return
    for (const delivery of task.deliveries) this.#release(delivery)
    task.finish(status, cause)
    this.#settle()
  }

  /** The delivery's id means nothing any more. */
  #release(delivery: Delivery): void {
    if (!this.#deliveries.delete(delivery.id) || delivery.state === 'sent') return
    this.#answered.set(delivery.id, { site: delivery.site, name: delivery.task.spec.name })
    if (this.#answered.size > REMEMBERED_RESULTS) {
      const oldest = this.#answered.keys().next().value
      if (oldest !== undefined) this.#answered.delete(oldest)
    }
  }

  /** Ends what can end, serves whom it can, and sets the timer for the next change. */
  #settle(): void {
    if (this.#settling) return
    this.#settling = true
    try {
      for (const task of [...this.#standing]) {
        const status = task.verdict(this.#now(), this.#disconnected, this.#deadCheckLeadMs)
        if (status !== undefined) this.#finish(task, status)
      }
    } finally {
      this.#settling = false
    }
    for (const waiter of [...this.#waiters.values()]) this.#tryToServe(waiter)
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    const now = this.#now()
    const next = Math.min(
      ...[...this.#standing].map((task) =>
        task.nextChange(now, this.#disconnected, this.#deadCheckLeadMs),
      ),
    )
    if (next < Infinity)
      this.#timer = this.#components.clock.setTimer(Math.max(0, next - now), () => this.#settle())
  }

  #tryToServe(waiter: Waiter): void {
    if (this.#filtering.has(waiter.site)) return
    this.#offer(waiter.site).then(
      (offer) => {
        if (offer === undefined) return
        // The waiter may have gone meanwhile; then the site asks again and gets the same delivery.
        if (this.#waiters.get(waiter.site) === waiter) this.#answer(waiter, offer)
      },
      (error: unknown) =>
        this.#components.log.error('offering a task failed', { site: waiter.site, error }),
    )
  }

  #answer(waiter: Waiter, offer: TaskOffer): void {
    this.#forget(waiter)
    waiter.resolve(offer)
  }

  #forget(waiter: Waiter): void {
    if (this.#waiters.get(waiter.site) === waiter) this.#waiters.delete(waiter.site)
  }
}

function cookieOf(result: Shareable, name: string): unknown {
  const jar = result.headers.get(HEADER.cookieJar)
  return jar instanceof Map ? jar.get(name) : undefined
}
