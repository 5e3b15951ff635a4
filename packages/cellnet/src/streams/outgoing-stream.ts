import type { Clock } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import type { HeaderValue, MessageHeaders } from '../headers.ts'
import type { MessagePort, MessagePriority } from '../message-port.ts'
import type { ReturnCode } from '../return-code.ts'
import { type Chunk, chunksOf, type StreamSource } from './chunk-source.ts'
import type { BodyEncoding } from './encoded-body.ts'
import type { StreamOptions } from './stream-options.ts'
import { STREAM_CHANNEL, STREAM_HEADER, STREAM_TOPIC, STREAM_TYPE } from './stream-protocol.ts'

/** How one stream is sent. */
export interface OutgoingStreamOptions {
  readonly id: number
  readonly target: string
  readonly channel: string
  readonly topic: string
  /** Repeated on every chunk. */
  readonly headers: MessageHeaders
  readonly source: StreamSource
  /** Exact length in bytes; 0 if unknown. */
  readonly size: number
  readonly encoding?: BodyEncoding | undefined
  readonly requestId?: string | undefined
  readonly secure: boolean
  readonly optional: boolean
  /** Resend what is not acknowledged. */
  readonly reliable: boolean
  /** Done only when the receiver has acknowledged everything; always so for reliable streams. */
  readonly confirmed: boolean
  readonly priority: MessagePriority
  /** Called after every chunk sent and every ACK that brought news. */
  readonly onProgress?: (() => void) | undefined
}

/** How a stream ended. `returnCode` is not `ok` exactly if there is an `error`. */
export interface SendOutcome {
  readonly returnCode: ReturnCode
  readonly error?: CellError
}

interface UnackedChunk {
  readonly chunk: Chunk
  readonly sequence: number
  readonly offset: number
  /** End of the last hand-over to the first hop; `Infinity` while that is under way. */
  sentAt: number
  firstResendAt: number | undefined
  lastCode: ReturnCode
}

/** How many overdue chunks are resent in one tick: never the whole backlog at once. */
const RESENDS_PER_TICK = 2

/**
 * The sending half of one byte stream (`spec/streaming.md` §4.1, §4.5). Chunks are views on the source,
 * which stays borrowed until {@link OutgoingStream.run} resolves; reliable streams keep references, not copies.
 */
export class OutgoingStream {
  readonly #port: MessagePort
  readonly #clock: Clock
  readonly #settings: StreamOptions
  readonly #options: OutgoingStreamOptions
  readonly #abort = new AbortController()
  readonly #unacked = new Map<number, UnackedChunk>()
  #nextSequence = 0
  #sentBytes = 0
  #ackedBytes = 0
  #ackedSequence = -1
  #finalSequence: number | undefined
  #failure: { code: ReturnCode; error: CellError } | undefined
  /** Set while `run` waits for ACKs. */
  #blocked: { since: number; wake: () => void } | undefined
  #lastProgressAt = 0
  #resending = false
  /** For chunks that are not in memory. */
  #spareBuffer: Uint8Array | undefined
  /** Resolves when the stream has failed, so that a source that never yields cannot hold it. */
  readonly #failed = Promise.withResolvers<undefined>()

  constructor(
    port: MessagePort,
    clock: Clock,
    settings: StreamOptions,
    options: OutgoingStreamOptions,
  ) {
    this.#port = port
    this.#clock = clock
    this.#settings = settings
    this.#options = options
  }

  get id(): number {
    return this.#options.id
  }

  get options(): OutgoingStreamOptions {
    return this.#options
  }

  /** The last chunk was given to the port. */
  get finalSent(): boolean {
    return this.#finalSequence !== undefined
  }

  /** Sends everything; never rejects. If it fails for a reason of ours, the receiver is told. */
  async run(): Promise<SendOutcome> {
    try {
      await this.#sendAll()
      if (this.#options.reliable || this.#options.confirmed)
        while (this.#ackedSequence < this.#nextSequence - 1) await this.#ack()
      this.#throwIfFailed()
      return { returnCode: 'ok' }
    } catch (cause) {
      // The text goes to the peer: what broke the source stays in the cause.
      const failure = this.#failure ?? {
        code: 'comm_error',
        error: new CellError(
          'ERR_STREAM_CANCELLED',
          'the source of the stream failed',
          {},
          { cause },
        ),
      }
      this.#failure = failure
      this.#unacked.clear()
      if (failure.error.code !== 'ERR_STREAM_REMOTE') await this.#tellReceiver(failure.error)
      return { returnCode: failure.code, error: failure.error }
    }
  }

  /**
   * Ends the stream; the first failure counts. An `ERR_STREAM_REMOTE` is not reported back to the receiver.
   */
  fail(code: ReturnCode, error: CellError): void {
    if (this.#failure !== undefined) return
    this.#failure = { code, error }
    this.#abort.abort(error)
    this.#blocked?.wake()
    this.#failed.resolve(undefined)
  }

  /**
   * Takes an ACK whose origin was checked.
   * @param offset bytes acknowledged; more than were sent is ignored
   * @param sequence highest chunk received in order, if the peer says so
   */
  acknowledge(offset: number, sequence: number | undefined): void {
    if (offset > this.#sentBytes || (sequence !== undefined && sequence >= this.#nextSequence))
      return
    if (sequence === undefined && (this.#options.reliable || this.#options.confirmed)) {
      this.fail(
        'comm_error',
        new CellError('ERR_STREAM_HEADERS', 'the receiver acknowledges without sequence numbers'),
      )
      return
    }
    const news = offset > this.#ackedBytes || (sequence ?? -1) > this.#ackedSequence
    if (!news) return
    this.#ackedBytes = Math.max(this.#ackedBytes, offset)
    this.#ackedSequence = Math.max(this.#ackedSequence, sequence ?? -1)
    for (const key of this.#unacked.keys()) {
      if (key > this.#ackedSequence) break
      this.#unacked.delete(key)
    }
    this.#lastProgressAt = this.#clock.now()
    this.#blocked?.wake()
    this.#options.onProgress?.()
  }

  /** Looks after time-outs and resends; called about once a second. */
  tick(now: number): void {
    const blocked = this.#blocked
    // While chunks are unacknowledged, resending decides whether a reliable stream lives.
    if (blocked !== undefined && this.#unacked.size === 0) this.#checkProgress(blocked.since, now)
    if (this.#options.reliable && !this.#resending && this.#failure === undefined) {
      this.#resending = true
      void this.#resendOverdue(now).finally(() => {
        this.#resending = false
      })
    }
  }

  #checkProgress(blockedSince: number, now: number): void {
    const { ackProgressTimeoutMs, ackWaitMs } = this.#settings
    const quietMs = now - Math.max(blockedSince, this.#lastProgressAt)
    const waitedMs = now - blockedSince
    if (quietMs < ackProgressTimeoutMs && waitedMs < ackWaitMs) return
    this.fail(
      'comm_error',
      new CellError(
        'ERR_STREAM_TIMEOUT',
        `the receiver acknowledged ${this.#ackedBytes} of ${this.#sentBytes} bytes and then nothing for ${quietMs} ms`,
      ),
    )
  }

  async #sendAll(): Promise<void> {
    const chunks = chunksOf(this.#options.source, this.#settings.chunkBytes)
    try {
      for (;;) {
        const next = await Promise.race([chunks.next(), this.#failed.promise])
        this.#throwIfFailed()
        if (next === undefined || next.done === true) return
        while (this.#sentBytes - this.#ackedBytes > this.#settings.windowBytes) await this.#ack()
        await this.#sendChunk(next.value)
        this.#throwIfFailed()
      }
    } finally {
      // Not awaited: a source that hangs would hold the failed stream with it.
      chunks.return(undefined).catch(() => {})
    }
  }

  /** Waits until an ACK brings news or the stream fails. */
  async #ack(): Promise<void> {
    this.#throwIfFailed()
    const { promise, resolve } = Promise.withResolvers<void>()
    // The clock of "no progress" starts when we block: a slow source must not trip it.
    this.#blocked = { since: this.#blocked?.since ?? this.#clock.now(), wake: resolve }
    await promise
    const done =
      this.#sentBytes - this.#ackedBytes <= this.#settings.windowBytes &&
      (this.#finalSequence === undefined || this.#ackedSequence >= this.#finalSequence)
    if (done) this.#blocked = undefined
    this.#throwIfFailed()
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  async #sendChunk(chunk: Chunk): Promise<void> {
    const sequence = this.#nextSequence
    const entry: UnackedChunk = {
      chunk,
      sequence,
      offset: this.#sentBytes,
      sentAt: Number.POSITIVE_INFINITY,
      firstResendAt: undefined,
      lastCode: 'ok',
    }
    if (this.#options.reliable) this.#unacked.set(sequence, entry)
    // Counted before sending: the ACK may arrive before our hand-over is reported as done.
    this.#nextSequence += 1
    this.#sentBytes += chunk.bytes
    if (chunk.final) this.#finalSequence = sequence
    const code = await this.#handOver(entry)
    if (code !== 'ok' && !this.#options.reliable) {
      this.fail(code, unreachable(this.#options.target, code))
      return
    }
    this.#options.onProgress?.()
  }

  async #handOver(entry: UnackedChunk): Promise<ReturnCode> {
    entry.sentAt = Number.POSITIVE_INFINITY
    const { target, secure, optional, priority } = this.#options
    const bytes = this.#inMemory(entry.chunk)
    const code = await this.#port.send(
      {
        destination: target,
        channel: STREAM_CHANNEL,
        topic: STREAM_TOPIC.data,
        headers: this.#headersOf(entry),
        payload: bytes.parts,
        secure,
        optional,
        priority,
      },
      { signal: this.#abort.signal },
    )
    entry.sentAt = this.#clock.now()
    entry.lastCode = code
    // Of a chunk that did not leave as it should, something may still look at the buffer.
    if (code === 'ok' && bytes.buffer !== undefined) this.#spareBuffer = bytes.buffer
    return code
  }

  /** The bytes of a chunk, what is stored read into a buffer that goes from chunk to chunk. */
  #inMemory({ parts, bytes }: Chunk): {
    readonly parts: readonly Uint8Array[]
    readonly buffer: Uint8Array | undefined
  } {
    if (parts.every((part) => part instanceof Uint8Array)) return { parts, buffer: undefined }
    const buffer = this.#spareBuffer ?? new Uint8Array(this.#settings.chunkBytes)
    this.#spareBuffer = undefined
    let used = 0
    for (const part of parts) {
      const room = buffer.subarray(used, used + part.byteLength)
      if (part instanceof Uint8Array) room.set(part)
      else part.read(room, 0)
      used += part.byteLength
    }
    return { parts: [buffer.subarray(0, bytes)], buffer }
  }

  /** Names and order as the reference sends them. Every number is a whole one: peers refuse floats here. */
  #headersOf({ chunk, sequence, offset }: UnackedChunk): ReadonlyMap<string, HeaderValue> {
    const { options } = this
    const headers = new Map<string, HeaderValue>()
    for (const [key, value] of options.headers) if (!key.startsWith('sm__')) headers.set(key, value)
    if (options.requestId !== undefined) headers.set(STREAM_HEADER.requestId, options.requestId)
    if (options.encoding !== undefined) headers.set(STREAM_HEADER.encoding, options.encoding)
    headers.set(STREAM_HEADER.channel, options.channel)
    headers.set(STREAM_HEADER.topic, options.topic)
    headers.set(STREAM_HEADER.size, options.size)
    headers.set(STREAM_HEADER.id, options.id)
    headers.set(STREAM_HEADER.type, chunk.final ? STREAM_TYPE.final : STREAM_TYPE.chunk)
    headers.set(STREAM_HEADER.sequence, sequence)
    headers.set(STREAM_HEADER.offset, offset)
    headers.set(STREAM_HEADER.reliable, options.reliable)
    headers.set(STREAM_HEADER.optional, options.optional)
    headers.set(STREAM_HEADER.chunkSize, this.#settings.chunkBytes)
    headers.set(STREAM_HEADER.windowSize, this.#settings.windowBytes)
    if (sequence === 0) {
      headers.set(STREAM_HEADER.ackInterval, this.#settings.ackIntervalBytes)
      if (options.reliable) {
        headers.set(STREAM_HEADER.retryWait, this.#settings.retryWaitMs / 1000)
        headers.set(STREAM_HEADER.retryTimeout, this.#settings.retryTimeoutMs / 1000)
      }
    }
    return headers
  }

  async #resendOverdue(now: number): Promise<void> {
    const { retryWaitMs, retryTimeoutMs } = this.#settings
    let resent = 0
    for (const entry of this.#unacked.values()) {
      if (resent === RESENDS_PER_TICK || now - entry.sentAt < retryWaitMs) return
      entry.firstResendAt ??= now
      if (now - entry.firstResendAt > retryTimeoutMs) {
        this.fail(
          'comm_error',
          entry.lastCode === 'ok'
            ? new CellError(
                'ERR_STREAM_TIMEOUT',
                `chunk ${entry.sequence} was not acknowledged within ${retryTimeoutMs} ms of resending it`,
              )
            : unreachable(this.#options.target, entry.lastCode),
        )
        return
      }
      resent += 1
      try {
        await this.#handOver(entry)
      } catch {
        return // Only when the stream has failed meanwhile.
      }
    }
  }

  /** A late ERROR is harmless: the receiver ignores one for a stream that it does not know. */
  async #tellReceiver(error: CellError): Promise<void> {
    if (this.#nextSequence === 0) return
    await this.#port.send({
      destination: this.#options.target,
      channel: STREAM_CHANNEL,
      topic: STREAM_TOPIC.data,
      headers: new Map<string, HeaderValue>([
        [STREAM_HEADER.id, this.#options.id],
        [STREAM_HEADER.type, STREAM_TYPE.error],
        [STREAM_HEADER.offset, this.#sentBytes],
        [STREAM_HEADER.errorText, error.message],
      ]),
      payload: [],
      optional: true,
      priority: this.#options.priority,
    })
  }
}

function unreachable(target: string, code: ReturnCode): CellError {
  return new CellError('ERR_STREAM_UNREACHABLE', `cannot send to ${target}: ${code}`)
}
