import type { Duplex } from 'node:stream'
import {
  ClientError,
  encodeMessage,
  type Frame,
  FrameDecoder,
  type FrameLimits,
  type MetaValue,
  messageParts,
  parseTrainerMessage,
  type SiteMessage,
  TRAINER_PROTOCOL,
  TRAINER_PROTOCOL_OF_VALUES,
  type TrainerMessage,
  type TrainerModel,
  type TrainerWelcome,
} from '@hanse/client/core'
import type { ByteStore, Clock } from '@hanse/contract'
import { readChunks } from '@hanse/driver-socket'
import type { ConfinedProcess, ProcessExit } from '@hanse/launcher-process'
import { failedInSetup } from '@hanse/launcher-process'

import { explainTrainerExit } from './explain-trainer-exit.ts'
import { toArrays } from './model-conversion.ts'
import { TrainerError } from './trainer-error.ts'

/** A number that a trainer reported. */
export interface TrainerMetric {
  readonly key: string
  readonly value: number
  readonly step?: number | undefined
}

export interface TrainerRunComponents {
  readonly process: ConfinedProcess
  readonly clock: Clock
  readonly onLog: (metric: TrainerMetric) => void
  /** Where the arrays of long results go; default: memory. */
  readonly arrays?: ByteStore | undefined
}

export interface TrainerRunOptions {
  readonly welcome: Omit<TrainerWelcome, 'datasets' | 'scratchDirectory'>
  readonly launchTimeoutMs: number | undefined
  readonly frameLimits?: Partial<FrameLimits> | undefined
}

interface Pending {
  readonly id: number
  readonly answer: PromiseWithResolvers<TrainerModel<MetaValue>>
}

/** Best first. */
const PROTOCOLS = [TRAINER_PROTOCOL_OF_VALUES, TRAINER_PROTOCOL]

/** How long the pipe of a trainer that has ended may still hold unread bytes. */
const DRAIN_MS = 2_000

/**
 * One process of a trainer, from its greeting to its end: the site's side of `docs/trainer-protocol.md`. Any
 * failure kills the process and is the answer to whatever was asked of it.
 */
export class TrainerRun {
  /** Resolves when the process is gone, with the reason unless it was told to end. */
  readonly ended: Promise<TrainerError | undefined>
  readonly #process: ConfinedProcess
  readonly #components: TrainerRunComponents
  readonly #options: TrainerRunOptions
  readonly #greeted = Promise.withResolvers<void>()
  /** Chosen at the greeting. */
  #protocol: number | undefined
  #pending: Pending | undefined
  #lastId = 0
  #failure: TrainerError | undefined
  #ending = false
  #over = false

  constructor(components: TrainerRunComponents, options: TrainerRunOptions) {
    this.#process = components.process
    this.#components = components
    this.#options = options
    // Nobody may be waiting for the greeting when the trainer dies.
    this.#greeted.promise.catch(() => {})
    // Writes fail when the trainer is gone, also after reading has ended.
    this.#process.pipe.on('error', () => {})
    this.ended = this.#follow()
  }

  /**
   * Gives the trainer a task and waits for its answer. One at a time.
   * @param model borrowed until the promise settles
   * @throws {TrainerError} whatever ended the trainer; `signal.reason` after it was told to stop;
   * `ERR_TRAINER_MODEL` for a parameter that is no array where the trainer takes nothing else
   * @throws {ClientError} `ERR_TRAINER_VALUE` for a model that the protocol cannot carry
   */
  async exchange(
    name: string,
    model: TrainerModel<MetaValue>,
    options: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined },
  ): Promise<TrainerModel<MetaValue>> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#over) throw new TrainerError('ERR_TRAINER_STATE', 'the trainer has ended')
    if (this.#pending !== undefined)
      throw new TrainerError('ERR_TRAINER_STATE', 'the trainer already has a task')
    const pending: Pending = { id: ++this.#lastId, answer: Promise.withResolvers() }
    this.#pending = pending
    pending.answer.promise.catch(() => {})
    const { signal, timeoutMs } = options
    const onAbort = () => {
      pending.answer.reject(signal?.reason)
      this.#stop('the task was aborted')
    }
    signal?.addEventListener('abort', onAbort)
    using _launch = this.#deadline(this.#options.launchTimeoutMs, () =>
      this.#protocol !== undefined ? undefined : 'the trainer did not call init in time',
    )
    try {
      signal?.throwIfAborted()
      await Promise.race([this.#greeted.promise, pending.answer.promise])
      const task = messageParts({
        type: 'task',
        id: pending.id,
        name,
        model: this.#protocol === TRAINER_PROTOCOL_OF_VALUES ? model : toArrays(model),
      })
      using _result = this.#deadline(timeoutMs, () => 'the trainer did not answer in time')
      // A trainer that is gone takes no bytes; the reason comes as the answer, not as a broken pipe.
      const sent = this.#write(task).catch(() => pending.answer.promise)
      await Promise.race([sent, pending.answer.promise])
      return await pending.answer.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#pending = undefined
    }
  }

  /** Tells the trainer that there is no more to do, and kills it after `graceMs`. Resolves when it is gone. */
  async end(graceMs: number): Promise<void> {
    this.#ending = true
    this.#tell({ type: 'end' })
    using _grace = this.#components.clock.setTimer(graceMs, () => this.#process.kill())
    await this.ended
  }

  /** Ends it now. */
  kill(): void {
    this.#ending = true
    this.#process.kill()
  }

  #stop(reason: string): void {
    this.#ending = true
    this.#tell({ type: 'abort', reason })
    this.#process.kill()
  }

  #deadline(ms: number | undefined, miss: () => string | undefined): Disposable {
    if (ms === undefined) return { [Symbol.dispose]() {} }
    return this.#components.clock.setTimer(ms, () => {
      const reason = miss()
      if (reason === undefined) return
      this.#fail(new TrainerError('ERR_TRAINER_TIMEOUT', `${reason} (${ms} ms)`, { ms }))
    })
  }

  async #follow(): Promise<TrainerError | undefined> {
    const { exited, pipe } = this.#process
    const reading = this.#read(pipe)
    const exit = await exited
    // What it sent before it ended still counts; a pipe that somebody else holds open does not.
    const timer = this.#components.clock.setTimer(DRAIN_MS, () => pipe.destroy())
    await reading
    timer[Symbol.dispose]()
    pipe.destroy()
    if (!this.#ending) this.#fail(reasonOf(exit))
    this.#over = true
    const over = new TrainerError('ERR_TRAINER_STATE', 'the trainer has ended')
    this.#pending?.answer.reject(this.#failure ?? over)
    this.#greeted.reject(this.#failure ?? over)
    return this.#failure
  }

  async #read(pipe: Duplex): Promise<void> {
    const decoder = new FrameDecoder(this.#options.frameLimits, this.#components.arrays)
    try {
      await readChunks(pipe, (chunk) => this.#takeAll(decoder.push(chunk)))
    } catch (error) {
      // A broken pipe is the end of the process, which says more.
      if (error instanceof ClientError) this.#violation(error.message, error)
    }
  }

  /** Not in the loop that reads: its variables live on while it waits, and would hold a whole model. */
  #takeAll(frames: readonly Frame[]): void {
    for (const frame of frames) this.#take(parseTrainerMessage(frame))
  }

  #take(message: TrainerMessage<MetaValue>): void {
    if (this.#failure !== undefined) return
    if (message.type === 'hello') this.#greet(message.protocols)
    else if (this.#protocol === undefined) this.#violation('it spoke before its greeting')
    else if (message.type === 'log') {
      const { key, value, step } = message
      this.#components.onLog({ key, value, step })
    } else if (message.id === this.#pending?.id) this.#pending.answer.resolve(message.model)
    else this.#violation('it answered a task that it does not have')
  }

  #greet(protocols: readonly number[]): void {
    const protocol = PROTOCOLS.find((version) => protocols.includes(version))
    if (this.#protocol !== undefined) this.#violation('it greeted twice')
    else if (protocol === undefined)
      this.#violation(`it speaks none of the trainer protocols ${PROTOCOLS.join(', ')}`)
    else {
      this.#protocol = protocol
      const { datasets, scratchDirectory } = this.#process
      const welcome = { ...this.#options.welcome, datasets, scratchDirectory }
      this.#tell({ type: 'welcome', protocol, ...welcome })
      this.#greeted.resolve()
    }
  }

  /** Sends what needs no answer; whether it arrives shows in what the trainer does next. */
  #tell(message: SiteMessage): void {
    void this.#write(encodeMessage(message)).catch(() => {})
  }

  /** Part after part: each is borrowed until the pipe has taken it. */
  async #write(parts: Iterable<Uint8Array>): Promise<void> {
    const { pipe } = this.#process
    for (const part of parts)
      if (part.length > 0)
        await new Promise<void>((resolve, reject) => {
          pipe.write(part, (error) => (error ? reject(error) : resolve()))
        })
  }

  #violation(reason: string, cause?: unknown): void {
    this.#fail(
      new TrainerError(
        'ERR_TRAINER_VIOLATION',
        `the trainer broke the protocol: ${reason}`,
        {},
        { cause },
      ),
    )
  }

  /** The first reason counts; what follows from it says less. */
  #fail(error: TrainerError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#pending?.answer.reject(error)
    this.#greeted.reject(error)
    this.#process.kill()
  }
}

function reasonOf(exit: ProcessExit): TrainerError {
  const { errorTail } = exit
  if (failedInSetup(exit))
    return new TrainerError(
      'ERR_TRAINER_CONFINEMENT',
      'the confinement could not be set up, so the trainer was not started',
      {},
      { errorTail },
    )
  return new TrainerError(
    'ERR_TRAINER_EXITED',
    `the trainer ended before its job did, with ${explainTrainerExit(exit)}`,
    { exitCode: exit.code ?? -1, signal: exit.signal ?? '' },
    { errorTail },
  )
}
