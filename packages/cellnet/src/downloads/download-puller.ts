import {
  type AbortOptions,
  type BytePart,
  type ByteStore,
  type Clock,
  type Logger,
  messageOf,
} from '@hanse/contract'
import type { ItemOptions } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { bytesIn, type OutgoingBody } from '../streams/encoded-body.ts'
import type {
  IncomingStreamReply,
  IncomingStreamRequest,
  OutgoingStreamReply,
  Streams,
} from '../streams/streams.ts'
import { Tombstones } from '../streams/tombstones.ts'
import { clockSleep } from './clock-sleep.ts'
import {
  type DownloadReply,
  type DownloadState,
  readDownloadReply,
  readSourceFailure,
  type SourceFailure,
  writeCancellation,
  writeConfirmation,
  writePull,
  writeSourceFailure,
} from './download-messages.ts'
import { DOWNLOAD_CHANNEL, DOWNLOAD_TOPIC, SOURCE_FAILURE_TOPIC } from './download-protocol.ts'

/** Limits of the receiver's half. */
export interface PullLimits {
  /** Of one request for one piece. */
  readonly requestTimeoutMs: number
  /** Requests in a row that may get no answer before the download fails; each is repeated after 2, 4, 8 … s. */
  readonly maxRetries: number
  /** Of a whole download. */
  readonly totalTimeoutMs: number
  readonly maxBytes: number
  readonly maxItems: number
  /** How long a source that was reported dead is believed to be so, and of how many references. */
  readonly failureMemoryMs: number
  readonly maxRememberedFailures: number
}

export const DEFAULT_PULL_LIMITS: PullLimits = {
  requestTimeoutMs: 600_000,
  maxRetries: 3,
  totalTimeoutMs: 6 * 3_600_000,
  maxBytes: 4 * 1024 * 1024 * 1024,
  maxItems: 100_000,
  failureMemoryMs: 1_800_000,
  maxRememberedFailures: 4096,
}

/** One download. Absent limits are the cell's. */
export interface PullOptions extends ItemOptions, AbortOptions {
  /** What the reference holds, as its message says. */
  readonly kind: 'bytes' | 'items'
  /** Ask for end-to-end encryption; default false. */
  readonly secure?: boolean | undefined
  readonly maxBytes?: number | undefined
  readonly maxItems?: number | undefined
  readonly requestTimeoutMs?: number | undefined
  readonly totalTimeoutMs?: number | undefined
  /** Where long pieces go as they come. Absent: all are in memory. */
  readonly store?: ByteStore | undefined
}

/** Takes what is pulled. Whatever it throws ends the download and is told to the source. */
export interface PullSink {
  /**
   * The next items, or the next bytes as one entry; owned by the sink, which releases those that are stored. While it
   * works, the next piece is under way.
   * @param release for a sink that keeps no view on the data: their memory is used again
   */
  piece(data: readonly BytePart[], release: () => void, options: ItemOptions): void | Promise<void>
  /** Everything is there: last chance to refuse it. */
  end?(): void | Promise<void>
}

/** What was pulled. */
export interface PullSummary {
  readonly bytes: number
  readonly items: number
}

/** A reply, and how to give its memory back. */
type Answer = DownloadReply & { readonly release: () => void }

const FIRST_RETRY_WAIT_MS = 2_000
const MAX_RETRY_WAIT_MS = 60_000
/** A piece is asked for by what was received: asking twice does no harm. */
const PULL_RETRIED: ReadonlySet<string> = new Set(['timeout', 'comm_error', 'target_unreachable'])
const NOTICE_ATTEMPTS = 4
const NOTICE_TIMEOUT_MS = 3_000
const NOTICE_TOTAL_MS = 10_000
const NOTICE_BACKOFF_MS = 250
const MAX_NOTICE_BACKOFF_MS = 1_000
const NOTICE_RETRIED: ReadonlySet<string> = new Set(['timeout', 'comm_error', 'process_exception'])

/** The receiver's half of the download service (`spec/streaming.md` §7.5, §7.6). */
export class DownloadPuller implements Disposable {
  readonly #streams: Pick<Streams, 'request' | 'notify'>
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #limits: PullLimits
  readonly #running = new Map<string, Set<AbortController>>()
  readonly #failures: Tombstones<string>
  #closed = false

  constructor(
    components: { streams: Pick<Streams, 'request' | 'notify'>; clock: Clock; logger: Logger },
    limits: PullLimits,
  ) {
    this.#streams = components.streams
    this.#clock = components.clock
    this.#logger = components.logger
    this.#limits = limits
    this.#failures = new Tombstones(limits.maxRememberedFailures)
  }

  /**
   * Pulls everything behind a reference.
   * @throws {CellError} `ERR_DOWNLOAD_*`; what the sink threw; or `signal.reason`
   */
  async pull(
    source: string,
    refId: string,
    options: PullOptions,
    sink: PullSink,
  ): Promise<PullSummary> {
    options.signal?.throwIfAborted()
    if (this.#closed) throw new CellError('ERR_DOWNLOAD_FAILED', 'the cell is closed')
    const key = keyOf(source, refId)
    const reported = this.#failures.get(key, this.#clock.now())
    if (reported !== undefined) throw sourceDied(source)

    const abort = new AbortController()
    const onAbort = () => abort.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const totalTimeoutMs = options.totalTimeoutMs ?? this.#limits.totalTimeoutMs
    using _deadline = this.#clock.setTimer(totalTimeoutMs, () =>
      abort.abort(
        new CellError('ERR_DOWNLOAD_LIMIT', `the download took longer than ${totalTimeoutMs} ms`),
      ),
    )
    const siblings = this.#running.get(key) ?? new Set()
    this.#running.set(key, siblings.add(abort))
    const transfer = new Transfer(
      { streams: this.#streams, clock: this.#clock, signal: abort.signal },
      source,
      refId,
      options,
      this.#limits,
    )
    try {
      return await transfer.run(sink)
    } catch (error) {
      this.#logger.debug('download failed', { source, error: messageOf(error) })
      throw error
    } finally {
      options.signal?.removeEventListener('abort', onAbort)
      siblings.delete(abort)
      if (siblings.size === 0) this.#running.delete(key)
    }
  }

  /** Answers a source failure message: believed only from the direct parent of the source. */
  onSourceFailure(message: IncomingStreamRequest): OutgoingStreamReply {
    let failure: SourceFailure
    try {
      failure = readSourceFailure(message.body)
    } catch (error) {
      this.#logger.debug('unreadable source failure', {
        origin: message.origin,
        error: messageOf(error),
      })
      return { returnCode: 'invalid_request' }
    }
    const { source, refIds, reason } = failure
    const dot = source.lastIndexOf('.')
    if (dot < 1 || source.slice(0, dot) !== message.origin) {
      this.#logger.warn('source failure refused: not the parent of the source', {
        origin: message.origin,
      })
      return { returnCode: 'invalid_request' }
    }
    const until = this.#clock.now() + this.#limits.failureMemoryMs
    for (const refId of refIds) {
      const key = keyOf(source, refId)
      this.#failures.set(key, reason, until)
      for (const abort of this.#running.get(key) ?? []) abort.abort(sourceDied(source))
    }
    this.#logger.info('a download source died', { source, references: refIds.length })
    return { returnCode: 'ok' }
  }

  /**
   * Tells receivers that a source below this cell died.
   * @returns the receivers that acknowledged
   */
  async reportSourceFailure(
    targets: readonly string[],
    failure: SourceFailure,
    options: AbortOptions = {},
  ): Promise<string[]> {
    const body = writeSourceFailure(failure)
    const told = await Promise.all(
      targets.map(async (target) => ((await this.#tell(target, body, options)) ? [target] : [])),
    )
    return told.flat()
  }

  [Symbol.dispose](): void {
    this.#closed = true
    const error = new CellError('ERR_DOWNLOAD_FAILED', 'the cell closed')
    for (const running of this.#running.values()) for (const abort of running) abort.abort(error)
  }

  async #tell(target: string, body: OutgoingBody, options: AbortOptions): Promise<boolean> {
    const signal = options.signal ?? new AbortController().signal
    const startedAt = this.#clock.now()
    for (let attempt = 0; attempt < NOTICE_ATTEMPTS; attempt++) {
      const leftMs = NOTICE_TOTAL_MS - (this.#clock.now() - startedAt)
      if (leftMs <= 0) return false
      const { returnCode } = await this.#streams.request(
        target,
        DOWNLOAD_CHANNEL,
        SOURCE_FAILURE_TOPIC,
        body,
        { signal, timeoutMs: Math.min(NOTICE_TIMEOUT_MS, leftMs), optional: true },
      )
      if (returnCode === 'ok') return true
      if (!NOTICE_RETRIED.has(returnCode)) return false
      const waitMs = Math.min(MAX_NOTICE_BACKOFF_MS, NOTICE_BACKOFF_MS * 2 ** attempt)
      if (attempt + 1 < NOTICE_ATTEMPTS) await clockSleep(this.#clock, waitMs, signal)
    }
    return false
  }
}

/** One download from first request to confirmation. */
class Transfer {
  readonly #streams: Pick<Streams, 'request' | 'notify'>
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #source: string
  readonly #refId: string
  readonly #options: PullOptions
  readonly #limits: PullLimits
  readonly #maxBytes: number
  readonly #maxItems: number
  #cancelCapable = false
  #bytes = 0
  #items = 0

  constructor(
    components: {
      streams: Pick<Streams, 'request' | 'notify'>
      clock: Clock
      signal: AbortSignal
    },
    source: string,
    refId: string,
    options: PullOptions,
    limits: PullLimits,
  ) {
    this.#streams = components.streams
    this.#clock = components.clock
    this.#signal = components.signal
    this.#source = source
    this.#refId = refId
    this.#options = options
    this.#limits = limits
    this.#maxBytes = options.maxBytes ?? limits.maxBytes
    this.#maxItems = options.maxItems ?? limits.maxItems
  }

  async run(sink: PullSink): Promise<PullSummary> {
    let end: Extract<DownloadReply, { status: 'eof' | 'error' }>
    try {
      end = await this.#pullPieces(sink)
    } catch (error) {
      if (this.#cancelCapable) await this.#post(writeCancellation(this.#refId))
      throw error
    }
    if (end.status === 'error') {
      await this.#confirm(false, end.nonce)
      throw new CellError('ERR_DOWNLOAD_FAILED', `${this.#source} could not produce the data`)
    }
    try {
      await sink.end?.()
      this.#signal.throwIfAborted()
    } catch (error) {
      await this.#confirm(false, end.nonce)
      throw error
    }
    await this.#confirm(true, end.nonce)
    return { bytes: this.#bytes, items: this.#items }
  }

  async #pullPieces(sink: PullSink): Promise<Extract<DownloadReply, { status: 'eof' | 'error' }>> {
    let next: Promise<Answer> = this.#requestPiece(undefined)
    for (;;) {
      const reply = await next
      if (reply.status !== 'ok') return reply
      this.#cancelCapable ||= reply.cancelCapable
      this.#account(reply)
      // The next piece travels while the sink works on this one.
      next = this.#requestPiece(reply.state)
      next.catch(() => {}) // Looked at in the next turn, unless the sink throws first.
      await sink.piece(reply.data, reply.release, { checksums: reply.checksums })
      this.#signal.throwIfAborted()
    }
  }

  /** A source that repeats itself, skips or never ends is found out here, before the data are used. */
  #account({ state, data }: Extract<DownloadReply, { status: 'ok' }>): void {
    const bytes = bytesIn(data)
    const fits =
      state.kind === 'items'
        ? state.start === this.#items && state.count === data.length && data.length > 0
        : data.length === 1 && bytes > 0 && state.receivedBytes === this.#bytes + bytes
    if (state.kind !== this.#options.kind || !fits)
      throw new CellError(
        'ERR_DOWNLOAD_PROTOCOL',
        `a piece of ${data.length} entries does not continue ${this.#items} items and ${this.#bytes} bytes`,
      )
    this.#bytes += bytes
    if (state.kind === 'items') this.#items += data.length
    if (this.#bytes > this.#maxBytes)
      throw new CellError(
        'ERR_DOWNLOAD_LIMIT',
        `the download has at least ${this.#bytes} bytes, ${this.#maxBytes} are allowed`,
      )
    if (this.#items > this.#maxItems)
      throw new CellError(
        'ERR_DOWNLOAD_LIMIT',
        `the download has at least ${this.#items} items, ${this.#maxItems} are allowed`,
      )
  }

  async #requestPiece(state: DownloadState | undefined): Promise<Answer> {
    const timeoutMs = this.#options.requestTimeoutMs ?? this.#limits.requestTimeoutMs
    const body = writePull(this.#refId, state, this.#options)
    for (let retries = 0; ; retries++) {
      const reply: IncomingStreamReply = await this.#streams.request(
        this.#source,
        DOWNLOAD_CHANNEL,
        DOWNLOAD_TOPIC,
        body,
        {
          signal: this.#signal,
          timeoutMs,
          secure: this.#options.secure,
          maxReplyBytes: this.#maxReplyBytes(),
          store: this.#options.store,
        },
      )
      if (reply.returnCode === 'ok') {
        const { release } = reply.body
        return { ...readDownloadReply(reply.body), release: () => release?.() }
      }
      if (!PULL_RETRIED.has(reply.returnCode) || retries >= this.#limits.maxRetries)
        throw new CellError(
          'ERR_DOWNLOAD_FAILED',
          `${this.#source} answered ${reply.returnCode} to a pull`,
          { returnCode: reply.returnCode },
        )
      const waitMs = Math.min(MAX_RETRY_WAIT_MS, FIRST_RETRY_WAIT_MS * 2 ** retries)
      await clockSleep(this.#clock, waitMs, this.#signal)
    }
  }

  /** What is still allowed, plus the frame around it: refused before it is buffered. */
  #maxReplyBytes(): number {
    return this.#maxBytes - this.#bytes + 64 * 1024
  }

  async #confirm(succeeded: boolean, nonce: string | undefined): Promise<void> {
    if (nonce !== undefined) await this.#post(writeConfirmation(this.#refId, succeeded, nonce))
  }

  /** Without our signal: it may be why we are here. A lost one is covered by the source's time-outs. */
  async #post(body: OutgoingBody): Promise<void> {
    await this.#streams.notify(this.#source, DOWNLOAD_CHANNEL, DOWNLOAD_TOPIC, body, {
      secure: this.#options.secure,
      optional: true,
    })
  }
}

function keyOf(source: string, refId: string): string {
  return `${source} ${refId}`
}

function sourceDied(source: string): CellError {
  return new CellError('ERR_DOWNLOAD_FAILED', `the parent of ${source} reports that it died`)
}
