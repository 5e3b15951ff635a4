import type { AbortOptions } from '@hanse/contract'
import { isTensor } from '@hanse/tensor'
import { ClientError } from './client-error.ts'
import { type Frame, FrameDecoder, type FrameLimits } from './frame.ts'
import {
  encodeMessage,
  parseSiteMessage,
  type SiteMessage,
  TRAINER_PROTOCOL,
  type TrainerMessage,
  type TrainerWelcome,
} from './messages.ts'
import type { TrainerModel } from './trainer-model.ts'

/** The two-way stream of bytes to the site, whatever carries it. */
export interface ByteChannel {
  /** Read once, to its end. Chunks are borrowed until the next is asked for. */
  readonly chunks: AsyncIterable<Uint8Array>
  /** Resolves when more may be written; `parts` are borrowed until then. */
  write(parts: readonly Uint8Array[]): Promise<void>
  /** Whether the program now waits for the site, and must not end for lack of other work. */
  hold(waiting: boolean): void
  close(): void
}

export interface TrainerSessionOptions extends AbortOptions {
  readonly limits?: Partial<FrameLimits> | undefined
  /** Called once when the pipe ended without a word of the site, or broke. */
  readonly onLost?: ((error: ClientError) => void) | undefined
}

interface Task {
  readonly id: number
  readonly name: string
  readonly model: TrainerModel
}

/**
 * A trainer's side of its site: one task at a time, received, answered, next. Every call may be made from
 * anywhere in the program, but only one `receive` or `isRunning` should wait at a time.
 */
export class TrainerSession {
  readonly #channel: ByteChannel
  readonly #options: TrainerSessionOptions
  #welcome: TrainerWelcome | undefined
  #task: Task | undefined
  #received = false
  #ended = false
  #failure: ClientError | undefined
  #changed = Promise.withResolvers<void>()

  private constructor(channel: ByteChannel, options: TrainerSessionOptions) {
    this.#channel = channel
    this.#options = options
  }

  /**
   * Greets the site and waits for its answer.
   * @throws {ClientError} `ERR_TRAINER_REFUSED`, `ERR_TRAINER_CLOSED`, `ERR_TRAINER_FRAME`, `ERR_TRAINER_PROTOCOL`
   */
  static async open(
    channel: ByteChannel,
    options: TrainerSessionOptions = {},
  ): Promise<TrainerSession> {
    const session = new TrainerSession(channel, options)
    void session.#read()
    await session.#write({
      type: 'hello',
      protocols: [TRAINER_PROTOCOL],
      client: 'hanse-typescript',
    })
    await session.#waitUntil(() => session.#welcome !== undefined || session.#ended, options)
    if (session.#welcome === undefined)
      throw new ClientError('ERR_TRAINER_REFUSED', 'the site ended the session before it began')
    return session
  }

  /** What the site said at the beginning. */
  get welcome(): TrainerWelcome {
    return this.#welcome! // open() does not return a session without it
  }

  /** Waits for the next task. False when there will be none: the job ended or was stopped. */
  async isRunning(options: AbortOptions = {}): Promise<boolean> {
    return (await this.#nextTask(options)) !== undefined
  }

  /** The task's model, the same one until `send`; `undefined` when there will be none. */
  async receive(options: AbortOptions = {}): Promise<TrainerModel | undefined> {
    const task = await this.#nextTask(options)
    if (task !== undefined) this.#received = true
    return task?.model
  }

  /**
   * Answers the received task. Its arrays are borrowed until the promise resolves.
   * @throws {ClientError} `ERR_TRAINER_ORDER` without a received task, `ERR_TRAINER_VALUE`
   */
  async send(model: TrainerModel): Promise<void> {
    const task = this.#current()
    if (!this.#received)
      throw new ClientError('ERR_TRAINER_ORDER', 'send needs a receive before it')
    if (model.params === undefined && model.metrics === undefined)
      throw new ClientError('ERR_TRAINER_VALUE', 'a result needs params or metrics')
    for (const [name, parameter] of Object.entries(model.params ?? {}))
      if (!isTensor(parameter))
        throw new ClientError('ERR_TRAINER_VALUE', `parameter "${name}" is not a tensor`)
    const message = { type: 'result', id: task.id, model } as const
    this.#task = undefined
    this.#received = false
    await this.#write(message)
  }

  /** Reports one number; the site decides whether and how it goes on. */
  async log(key: string, value: number, options: { readonly step?: number } = {}): Promise<void> {
    if (typeof value !== 'number')
      throw new ClientError('ERR_TRAINER_VALUE', `log "${key}" is not a number`)
    await this.#write({ type: 'log', key, value, ...options })
  }

  /** Name of the current task. @throws {ClientError} `ERR_TRAINER_ORDER` when there is none */
  get taskName(): string {
    return this.#current().name
  }

  /** Ends the session from this side. */
  close(): void {
    this.#ended = true
    this.#task = undefined
    this.#notify()
    this.#channel.close()
  }

  #current(): Task {
    if (this.#task === undefined)
      throw new ClientError('ERR_TRAINER_ORDER', 'there is no current task')
    return this.#task
  }

  async #nextTask(options: AbortOptions): Promise<Task | undefined> {
    await this.#waitUntil(() => this.#task !== undefined || this.#ended, options)
    return this.#task
  }

  async #waitUntil(holds: () => boolean, { signal }: AbortOptions): Promise<void> {
    signal?.throwIfAborted()
    const onAbort = () => this.#notify()
    signal?.addEventListener('abort', onAbort)
    this.#channel.hold(true)
    try {
      while (!holds()) {
        if (this.#failure !== undefined) throw this.#failure
        signal?.throwIfAborted()
        await this.#changed.promise
      }
    } finally {
      this.#channel.hold(false)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async #write(message: TrainerMessage): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#ended) throw new ClientError('ERR_TRAINER_CLOSED', 'the site has ended the session')
    await this.#channel.write(encodeMessage(message))
  }

  /** Reads as long as the pipe lasts, also while the trainer computes: that is how it learns of the end. */
  async #read(): Promise<void> {
    const decoder = new FrameDecoder(this.#options.limits)
    try {
      for await (const chunk of this.#channel.chunks) this.#takeAll(decoder.push(chunk))
      if (this.#ended) return
      this.#fail(new ClientError('ERR_TRAINER_CLOSED', 'the pipe to the site ended'))
    } catch (error) {
      if (this.#ended) return
      this.#fail(
        error instanceof ClientError
          ? error
          : new ClientError(
              'ERR_TRAINER_CLOSED',
              'the pipe to the site broke',
              {},
              { cause: error },
            ),
      )
    }
  }

  /** Not in the loop that reads: its variables live on while it waits, and would hold a whole model. */
  #takeAll(frames: readonly Frame[]): void {
    for (const frame of frames)
      this.#take(parseSiteMessage(frame, this.#options.limits as FrameLimits | undefined))
  }

  #take(message: SiteMessage): void {
    if (message.type === 'welcome') {
      if (this.#welcome !== undefined) throw outOfOrder('a second welcome')
      if (message.protocol !== TRAINER_PROTOCOL)
        throw new ClientError(
          'ERR_TRAINER_REFUSED',
          `the site speaks trainer protocol ${message.protocol}, this library ${TRAINER_PROTOCOL}`,
        )
      this.#welcome = message
    } else if (message.type === 'task') {
      if (this.#welcome === undefined || this.#task !== undefined) throw outOfOrder('a task')
      this.#task = { id: message.id, name: message.name, model: message.model }
    } else {
      this.#ended = true
      this.#task = undefined
      this.#channel.close()
    }
    this.#notify()
  }

  #fail(error: ClientError): void {
    this.#failure = error
    this.#channel.close()
    this.#notify()
    this.#options.onLost?.(error)
  }
}

function outOfOrder(what: string): ClientError {
  return new ClientError('ERR_TRAINER_PROTOCOL', `the site sent ${what} out of order`)
}
