import type { Cell, ReplyMessage } from '@hanse/cellnet'
import type { AbortOptions, Clock, Logger } from '@hanse/contract'
import { abortableDelay } from '../abortable-delay.ts'
import {
  notifyAux,
  type PublicProperties,
  requestAux,
  returnCodeOf,
} from '../aux-messages/aux-messages.ts'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import { CELL_HEADER, CHANNEL } from '../names.ts'
import { SessionError } from '../session-error.ts'
import { END_OF_RUN, TASK_TOPIC, TRY_AGAIN } from './task-names.ts'

export interface TaskClientComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
}

export interface TaskClientOptions {
  /** Cell of the server's job, e.g. `server.<job>`. */
  readonly serverCell: string
  readonly project: string
  readonly ownProperties: PublicProperties
  /** Total time for the first contact. Default 60 s (stock `max_runner_sync_timeout`). */
  readonly syncTimeoutMs?: number
  /** How long one request for a task may take. Default 300 s. */
  readonly taskTimeoutMs?: number
}

/** One task to do. */
export interface ReceivedTask {
  readonly id: string
  readonly name: string
  readonly data: Shareable
}

/** What became of a result. */
export type Submission = 'accepted' | 'not-wanted'

const CHECK_INTERVAL_MS = 5_000
const CHECK_TIMEOUT_MS = 5_000
const FETCH_INTERVAL_MS = 500
const SYNC_INTERVAL_MS = 100
const SYNC_TIMEOUT_MS = 2_000
/** Longest pause that a server may ask for. */
const MAX_WAIT_MS = 60_000
/** Answers to a task check that say nothing of the task; `ERROR` also stands for an answer that is no Shareable. */
const RETRIED_CHECKS: ReadonlySet<string> = new Set([
  'COMMUNICATION_ERROR',
  'SERVER_NOT_READY',
  'service_unavailable',
  'ERROR',
])

/** The site job's half of the task exchange (`spec/session.md` §6.7–6.12). */
export class TaskClient {
  readonly #components: TaskClientComponents
  readonly #options: TaskClientOptions
  #lastTaskId: string | undefined

  constructor(components: TaskClientComponents, options: TaskClientOptions) {
    this.#components = components
    this.#options = options
  }

  /**
   * Waits until the server's job answers.
   * @throws {SessionError} `ERR_SERVER_UNREACHABLE` when it did not within the time allowed
   */
  async sync({ signal }: AbortOptions = {}): Promise<void> {
    const { cell, clock } = this.#components
    const deadline = clock.now() + (this.#options.syncTimeoutMs ?? 60_000)
    for (;;) {
      const reply = await requestAux(
        cell,
        this.#options.serverCell,
        TASK_TOPIC.sync,
        new Shareable(),
        this.#options.ownProperties,
        { timeoutMs: SYNC_TIMEOUT_MS, optional: true, signal },
      )
      if (returnCodeOf(reply) === 'OK') return
      if (clock.now() >= deadline)
        throw new SessionError(
          'ERR_SERVER_UNREACHABLE',
          `the server's job ${this.#options.serverCell} did not answer within the time for start-up (${returnCodeOf(reply)})`,
        )
      await abortableDelay(clock, SYNC_INTERVAL_MS, { signal })
    }
  }

  /** Tells the server's job that this one lives. */
  async beat(options: AbortOptions = {}): Promise<void> {
    await notifyAux(
      this.#components.cell,
      this.#options.serverCell,
      TASK_TOPIC.jobHeartbeat,
      new Shareable(),
      this.#options.ownProperties,
      { ...options, optional: true },
    )
  }

  /**
   * Waits for the next task, as long as the run lasts; a link that is gone is waited for too.
   * @returns `undefined` at the end of the run
   * @throws {SessionError} `ERR_NOT_A_PARTICIPANT`
   */
  async nextTask({ signal }: AbortOptions = {}): Promise<ReceivedTask | undefined> {
    for (;;) {
      const reply = await this.#requestTask(signal)
      throwIfForeign(reply)
      const answer = this.#readTask(reply)
      if (answer === 'end') return undefined
      if (typeof answer === 'object') {
        this.#lastTaskId = answer.id
        return answer
      }
      await abortableDelay(this.#components.clock, answer, { signal })
    }
  }

  /**
   * Hands in the result of `task`: asks first whether it is still wanted, tries again while the server cannot be
   * reached.
   * @throws {SessionError} `ERR_NOT_A_PARTICIPANT`
   */
  async submit(
    task: ReceivedTask,
    result: Shareable,
    { signal }: AbortOptions = {},
  ): Promise<Submission> {
    const { cell, clock, logger } = this.#components
    for (;;) {
      const verdict = await this.#check(task, signal)
      if (verdict === 'TASK_UNKNOWN') return 'not-wanted'
      if (!RETRIED_CHECKS.has(verdict)) {
        const rootId = crypto.randomUUID()
        this.#address(result, task, rootId)
        const reply = await cell.request(
          this.#options.serverCell,
          CHANNEL.serverCommand,
          TASK_TOPIC.submit,
          result,
          {
            timeoutMs: this.#options.taskTimeoutMs ?? 300_000,
            headers: { [CELL_HEADER.projectName]: this.#options.project, cn__msg_root_id: rootId },
            signal,
          },
        )
        if (reply.returnCode === 'ok') return 'accepted'
        throwIfForeign(reply)
        logger.warn('result not taken; trying again', {
          task: task.id,
          reason: reply.error ?? reply.returnCode,
        })
      }
      await abortableDelay(clock, CHECK_INTERVAL_MS, { signal })
    }
  }

  async #requestTask(signal: AbortSignal | undefined): Promise<ReplyMessage> {
    const request = new Shareable()
    request.headers.set('__peer_ctx__', FLContext.ofPublic(this.#options.ownProperties))
    if (this.#lastTaskId !== undefined) request.headers.set('last_task_id', this.#lastTaskId)
    return this.#components.cell.request(
      this.#options.serverCell,
      CHANNEL.serverCommand,
      TASK_TOPIC.get,
      request,
      {
        timeoutMs: this.#options.taskTimeoutMs ?? 300_000,
        headers: { [CELL_HEADER.projectName]: this.#options.project },
        optional: true,
        signal,
      },
    )
  }

  /** @returns a task, the end, or how many milliseconds to wait before asking again */
  #readTask({ returnCode, body }: ReplyMessage): ReceivedTask | 'end' | number {
    if (returnCode !== 'ok' || !(body instanceof Shareable)) return FETCH_INTERVAL_MS
    const name = body.headers.get('task_name')
    if (name === END_OF_RUN) return 'end'
    const id = body.headers.get('__task_id__')
    if (typeof name !== 'string' || name === TRY_AGAIN || typeof id !== 'string' || id === '') {
      const seconds = body.numberHeader('__wait_time__') ?? 2
      return Math.min(Math.max(seconds * 1000, FETCH_INTERVAL_MS), MAX_WAIT_MS)
    }
    return { id, name, data: body }
  }

  async #check(task: ReceivedTask, signal: AbortSignal | undefined): Promise<string> {
    const body = new Shareable()
    body.headers.set('__task_id__', task.id)
    const reply = await requestAux(
      this.#components.cell,
      this.#options.serverCell,
      TASK_TOPIC.check,
      body,
      this.#options.ownProperties,
      { timeoutMs: CHECK_TIMEOUT_MS, signal },
    )
    return returnCodeOf(reply)
  }

  /** Headers that lead a result back to its task; the server goes by the cookie's task id. */
  #address(result: Shareable, task: ReceivedTask, rootId: string): void {
    result.headers.set('__peer_ctx__', FLContext.ofPublic(this.#options.ownProperties))
    const cookies = task.data.headers.get('__cookie_jar__')
    if (cookies !== undefined) result.headers.set('__cookie_jar__', cookies)
    result.headers.set('__task_name__', task.name)
    result.headers.set('__task_id__', task.id)
    result.headers.set('__msg_root_id__', rootId)
    result.headers.set('__audit_event_id__', '')
  }
}

/** A server's job that does not know us will not get to know us: asking again would never end. */
function throwIfForeign({ returnCode, error }: ReplyMessage): void {
  if (returnCode === 'authentication_error')
    throw new SessionError(
      'ERR_NOT_A_PARTICIPANT',
      `the server's job does not take this site for a participant: ${error ?? 'no reason given'}`,
    )
}
