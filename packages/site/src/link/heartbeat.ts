import { type Cell, textHeader } from '@hanse/cellnet'
import type { AbortOptions, Clock, Logger } from '@hanse/contract'
import {
  CELL_HEADER,
  CHANNEL,
  FLContext,
  type PublicProperties,
  SERVER_CELL,
  Shareable,
} from '@hanse/session'

export interface HeartbeatComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  /** Jobs whose process this site still owns, or whose final report is not answered yet. */
  jobs(): readonly string[]
  /** The server does not know these jobs (any more). */
  onAbort(jobs: readonly string[]): void
  /** What the server answered; `ok` also after it was away. */
  onAnswer(returnCode: string, reason: string): void
}

export interface HeartbeatOptions extends AbortOptions {
  readonly project: string
  readonly ownProperties: PublicProperties
  /** Default 10 s, as stock. */
  readonly intervalMs?: number
}

const TIMEOUT_MS = 30_000

/** A loop of heartbeats that can be asked for one at once, e.g. after a reconnection. */
export class Heartbeat {
  readonly #components: HeartbeatComponents
  readonly #options: HeartbeatOptions
  /** Ends the pause between two beats. */
  #wake: () => void = () => {}

  constructor(components: HeartbeatComponents, options: HeartbeatOptions) {
    this.#components = components
    this.#options = options
  }

  /** Beats until the signal fires. */
  async run(): Promise<void> {
    const { signal, intervalMs = 10_000 } = this.#options
    const onAbort = () => this.#wake()
    signal?.addEventListener('abort', onAbort)
    while (!isAborted(signal)) {
      // Made before the beat: who asks for one while this one is on its way gets another.
      const pause = Promise.withResolvers<void>()
      this.#wake = pause.resolve
      await this.#send()
      using _timer = this.#components.clock.setTimer(intervalMs, pause.resolve)
      if (!isAborted(signal)) await pause.promise
    }
    signal?.removeEventListener('abort', onAbort)
  }

  /** Cuts the pause short, also the one after a beat that is on its way. */
  now(): void {
    this.#wake()
  }

  async #send(): Promise<void> {
    const { cell, jobs, onAbort, onAnswer, logger } = this.#components
    const body = new Shareable()
    body.headers.set('__peer_ctx__', FLContext.ofPublic(this.#options.ownProperties))
    try {
      const reply = await cell.request(SERVER_CELL, CHANNEL.task, 'heart_beat', body, {
        timeoutMs: TIMEOUT_MS,
        headers: {
          [CELL_HEADER.projectName]: this.#options.project,
          [CELL_HEADER.jobIds]: [...jobs()],
        },
        optional: true,
        signal: this.#options.signal,
      })
      const unknown = reply.headers.get(CELL_HEADER.abortJobs)
      if (Array.isArray(unknown) && reply.returnCode !== 'unauthenticated')
        onAbort(unknown.filter((job) => typeof job === 'string'))
      onAnswer(
        reply.returnCode,
        reply.error ?? textHeader(reply.headers, CELL_HEADER.message) ?? '',
      )
    } catch (error) {
      if (this.#options.signal?.aborted !== true) logger.warn('heartbeat failed', { error })
    }
  }
}

/** Asked as a question each time: it changes while we wait, which the type checker cannot see. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}
