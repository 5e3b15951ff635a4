import type { AbortOptions, BytePart, ByteStore, Clock, Logger } from '@hanse/contract'
import { messageOf } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue, type MessageHeaders, textHeader } from '../headers.ts'
import type {
  IncomingPortMessage,
  MessagePort,
  MessagePriority,
  UnreachableMessage,
} from '../message-port.ts'
import type { ReportMisdeed } from '../misdeed.ts'
import type { PeerLink } from '../peer-link.ts'
import type { ReturnCode } from '../return-code.ts'
import type { StreamSource } from './chunk-source.ts'
import { bytesIn, EMPTY_BODY, type EncodedBody, type OutgoingBody } from './encoded-body.ts'
import { HandlerRegistry } from './handler-registry.ts'
import type { IncomingByteStream } from './incoming-byte-stream.ts'
import { OutgoingStream, type OutgoingStreamOptions, type SendOutcome } from './outgoing-stream.ts'
import { type RandomSource, randomStreamId, randomUuid } from './random-source.ts'
import { StageTimer } from './stage-timer.ts'
import { type ChunkHeaders, countHeader } from './stream-headers.ts'
import { DEFAULT_STREAM_OPTIONS, type StreamOptions } from './stream-options.ts'
import {
  REPLY_CHANNEL,
  STREAM_CHANNEL,
  STREAM_HEADER,
  STREAM_TOPIC,
  STREAM_TYPE,
} from './stream-protocol.ts'
import { type ReceivedBody, StreamReceiver, type StreamRoute } from './stream-receiver.ts'
import { Ticker } from './ticker.ts'

/** Collaborators of {@link createStreams}. */
export interface StreamsComponents {
  readonly port: MessagePort
  readonly clock: Clock
  readonly logger: Logger
  readonly random: RandomSource
  /**
   * Makes the value of a request's body before its handler runs; may take its time, e.g. to pull downloads.
   * A rejection is answered with `invalid_request`. Without it, `value` is undefined.
   */
  readonly prepare?:
    | ((request: IncomingStreamRequest, options: AbortOptions) => Promise<unknown>)
    | undefined
  /** Hears of bodies that are not usable. */
  readonly report?: ReportMisdeed | undefined
}

/** A streamed request or notification as it arrived. */
export interface IncomingStreamRequest {
  readonly origin: string
  readonly channel: string
  readonly topic: string
  /** Headers of the first chunk, stream headers included. */
  readonly headers: MessageHeaders
  /** Owned by the handler: one part if the length was declared; otherwise joining them is up to who needs it. */
  readonly body: EncodedBody
  /** Every chunk was encrypted end to end. */
  readonly secure: boolean
  readonly expectsReply: boolean
  readonly link: PeerLink | undefined
}

/** What a handler answers. */
export interface OutgoingStreamReply {
  /** Default `ok`. */
  readonly returnCode?: ReturnCode | undefined
  /** Short text for the peer. */
  readonly error?: string | undefined
  readonly headers?: MessageHeaders | undefined
  /** Parts are borrowed until the receiver has acknowledged all of them. */
  readonly body?: OutgoingBody | undefined
  /** Called once the reply was acknowledged (`ok`) or could not be delivered. */
  readonly onSettled?: ((returnCode: ReturnCode) => void) | undefined
}

/**
 * Answers one request. `undefined`: no reply is sent. A rejection is answered with `process_exception`; the text
 * of what was thrown stays here.
 * @param value what `prepare` made of the body
 */
export type StreamRequestHandler = (
  request: IncomingStreamRequest,
  value: unknown,
  options: { readonly signal: AbortSignal },
) => OutgoingStreamReply | undefined | Promise<OutgoingStreamReply | undefined>

/** Reads one byte stream; a rejection fails it and tells the sender. */
export type ByteStreamHandler = (
  stream: IncomingByteStream,
  options: { readonly signal: AbortSignal },
) => Promise<void>

/** Answer to a request. Local failures look the same: `timeout`, `comm_error`, `target_unreachable`, … */
export interface IncomingStreamReply {
  readonly returnCode: ReturnCode
  readonly error?: string | undefined
  /** Empty for a local failure. */
  readonly headers: MessageHeaders
  readonly body: EncodedBody
  /** The target, also for a local failure. */
  readonly origin: string
  /** Every chunk of the reply was encrypted end to end. */
  readonly secure: boolean
}

export interface StreamSendOptions extends AbortOptions {
  readonly headers?: MessageHeaders | undefined
  readonly secure?: boolean | undefined
  readonly optional?: boolean | undefined
  /** Resend what is not acknowledged; default false. */
  readonly reliable?: boolean | undefined
  /** Default: `normal` up to 64 KiB, above that `bulk`. */
  readonly priority?: MessagePriority | undefined
}

export interface StreamRequestOptions extends StreamSendOptions {
  /** For each stage; default {@link StreamOptions.requestTimeoutMs}. */
  readonly timeoutMs?: number | undefined
  /** Longest reply taken; default {@link StreamOptions.maxBodyBytes}. */
  readonly maxReplyBytes?: number | undefined
  /** Where a long reply goes as it comes, if its head shows that it can be read from there. */
  readonly store?: ByteStore | undefined
}

export interface StreamNotifyOptions extends StreamSendOptions {
  /** Resolve only when the receiver has acknowledged everything; default false, as the reference. */
  readonly confirmed?: boolean | undefined
}

export interface ByteStreamOptions extends StreamNotifyOptions {
  /** Exact length in bytes, if known. */
  readonly size?: number | undefined
}

export interface StreamHandleOptions {
  /** Longer bodies are refused before anything is buffered; default {@link StreamOptions.maxBodyBytes}. */
  readonly maxBodyBytes?: number | undefined
  /** The handler reads the bytes itself: `prepare` is not called. Default false. */
  readonly raw?: boolean | undefined
}

/** What a cell's streams hold at the moment. */
export interface StreamStats {
  /** Streams that are arriving. */
  readonly incoming: number
  /** Streams being sent, and requests that wait for their answer. */
  readonly outgoing: number
  /** Memory promised to bodies that are arriving or being handled. */
  readonly reservedBytes: number
}

/** Streams of one cell: long bodies in chunks with a window, requests and replies made of them. */
export interface Streams extends AsyncDisposable {
  /**
   * Registers who answers streamed requests and notifications of a channel and topic (`'*'`: any).
   */
  handle(
    channel: string,
    topic: string,
    handler: StreamRequestHandler,
    options?: StreamHandleOptions,
  ): void
  /** Registers who reads raw byte streams of a channel and topic. */
  consume(channel: string, topic: string, handler: ByteStreamHandler): void
  /**
   * Sends a body and waits for the answer. Parts are borrowed until it settles.
   * @throws only `signal.reason`
   */
  request(
    target: string,
    channel: string,
    topic: string,
    body: OutgoingBody,
    options?: StreamRequestOptions,
  ): Promise<IncomingStreamReply>
  /**
   * Sends a body to which nobody answers. Parts are borrowed until it settles.
   * @throws only `signal.reason`
   */
  notify(
    target: string,
    channel: string,
    topic: string,
    body: OutgoingBody,
    options?: StreamNotifyOptions,
  ): Promise<ReturnCode>
  /**
   * Sends raw bytes; chunks are views on what the source yields.
   * @throws only `signal.reason`
   */
  send(
    target: string,
    channel: string,
    topic: string,
    source: StreamSource,
    options?: ByteStreamOptions,
  ): Promise<SendOutcome>
  stats(): StreamStats
}

interface Registration {
  readonly handler: StreamRequestHandler
  readonly maxBodyBytes: number
  readonly raw: boolean
}

interface RequestWaiter {
  readonly target: string
  readonly maxReplyBytes: number
  readonly store: ByteStore | undefined
  /** A chunk of the reply came in order. */
  progress(): void
  settle(reply: IncomingStreamReply): void
}

const TICK_MS = 1_000
const SMALL_BODY_BYTES = 64 * 1024
const MAX_PEER_TEXT_CHARS = 1024
const NO_HEADERS: MessageHeaders = new Map()

/**
 * Opens the stream layer on a cell's port: registers the channel `sm__STREAM` (`spec/streaming.md`).
 * @param options see {@link DEFAULT_STREAM_OPTIONS}
 */
export function createStreams(
  components: StreamsComponents,
  options: Partial<StreamOptions> = {},
): Streams {
  return new CellStreams(components, { ...DEFAULT_STREAM_OPTIONS, ...options })
}

class CellStreams implements Streams {
  readonly #components: StreamsComponents
  readonly #settings: StreamOptions
  readonly #logger: Logger
  readonly #receiver: StreamReceiver
  readonly #ticker: Ticker
  readonly #handlers = new HandlerRegistry<Registration>()
  readonly #readers = new HandlerRegistry<ByteStreamHandler>()
  readonly #outgoing = new Map<number, OutgoingStream>()
  readonly #waiters = new Map<string, RequestWaiter>()
  readonly #tasks = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()

  constructor(components: StreamsComponents, settings: StreamOptions) {
    this.#components = components
    this.#settings = settings
    this.#logger = components.logger
    const { port, clock, logger } = components
    this.#ticker = new Ticker(clock, TICK_MS, (now) => this.#tick(now))
    this.#receiver = new StreamReceiver(
      {
        port,
        clock,
        logger,
        route: (chunk, origin) => this.#route(chunk, origin),
        track: (promise) => this.#track(promise),
        wake: () => this.#ticker.wake(),
      },
      settings,
    )
    port.receive(STREAM_CHANNEL, STREAM_TOPIC.data, (message) => this.#receiver.receive(message))
    port.receive(STREAM_CHANNEL, STREAM_TOPIC.ack, (message) => this.#onAck(message))
    port.receive(STREAM_CHANNEL, STREAM_TOPIC.error, (message) => this.#onError(message))
    port.onUnreachable(STREAM_CHANNEL, (message) => this.#onUnreachable(message))
    port.onLinkLost(() => this.#onLinkLost())
    port.onWayLost((isBehind) => this.#onWayLost(isBehind))
  }

  handle(
    channel: string,
    topic: string,
    handler: StreamRequestHandler,
    options: StreamHandleOptions = {},
  ): void {
    this.#handlers.set(channel, topic, {
      handler,
      maxBodyBytes: options.maxBodyBytes ?? this.#settings.maxBodyBytes,
      raw: options.raw ?? false,
    })
  }

  consume(channel: string, topic: string, handler: ByteStreamHandler): void {
    this.#readers.set(channel, topic, handler)
  }

  async request(
    target: string,
    channel: string,
    topic: string,
    body: OutgoingBody,
    options: StreamRequestOptions = {},
  ): Promise<IncomingStreamReply> {
    const { signal } = options
    signal?.throwIfAborted()
    if (this.#closing.signal.aborted)
      return localFailure(target, 'comm_error', 'the cell is closed')
    const { clock, random } = this.#components
    const requestId = randomUuid(random)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingStreamReply>()
    const timeoutMs = options.timeoutMs ?? this.#settings.requestTimeoutMs
    let answered = false
    using timer = new StageTimer(clock, timeoutMs, () =>
      resolve(localFailure(target, 'timeout', `no progress within ${timeoutMs} ms`)),
    )
    this.#waiters.set(requestId, {
      target,
      maxReplyBytes: options.maxReplyBytes ?? this.#settings.maxBodyBytes,
      store: options.store,
      progress: () => timer.renew(),
      settle: (reply) => {
        answered = true
        resolve(reply)
      },
    })
    const stream = this.#createOutgoing(target, channel, topic, body.parts, {
      ...options,
      size: bytesIn(body.parts),
      encoding: body.encoding,
      requestId,
      onProgress: () => timer.renew(),
    })
    const onAbort = () => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    const sending = stream.run().then((outcome) => {
      // From here on the peer works: a stage of its own.
      if (outcome.error === undefined) timer.renew()
      else resolve(localFailure(target, outcome.returnCode, outcome.error.message))
    })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#waiters.delete(requestId)
      // An answer can overtake the report that the last chunk was handed over: nothing to cancel then.
      if (!answered || !stream.finalSent)
        stream.fail('comm_error', new CellError('ERR_STREAM_CANCELLED', 'cancelled'))
      // The caller's buffers are borrowed until the last chunk has left our hands.
      await sending
      this.#outgoing.delete(stream.id)
    }
  }

  async notify(
    target: string,
    channel: string,
    topic: string,
    body: OutgoingBody,
    options: StreamNotifyOptions = {},
  ): Promise<ReturnCode> {
    const outcome = await this.#transmit(target, channel, topic, body.parts, {
      ...options,
      size: bytesIn(body.parts),
      encoding: body.encoding,
    })
    return outcome.returnCode
  }

  async send(
    target: string,
    channel: string,
    topic: string,
    source: StreamSource,
    options: ByteStreamOptions = {},
  ): Promise<SendOutcome> {
    const known = isParts(source) ? bytesIn(source) : undefined
    return await this.#transmit(target, channel, topic, source, {
      ...options,
      size: options.size ?? known ?? 0,
    })
  }

  stats(): StreamStats {
    return {
      incoming: this.#receiver.active,
      outgoing: this.#outgoing.size,
      reservedBytes: this.#receiver.reservedBytes,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return
    const error = new CellError('ERR_STREAM_CANCELLED', 'the cell closed')
    this.#closing.abort(error)
    this.#receiver.close()
    for (const waiter of [...this.#waiters.values()])
      waiter.settle(localFailure(waiter.target, 'comm_error', error.message))
    for (const stream of [...this.#outgoing.values()]) stream.fail('comm_error', error)
    this.#ticker[Symbol.dispose]()
    const drained = Promise.allSettled([...this.#tasks])
    const { promise: overdue, resolve } = Promise.withResolvers<void>()
    using _deadline = this.#components.clock.setTimer(this.#settings.drainMs, resolve)
    await Promise.race([drained, overdue])
  }

  async #transmit(
    target: string,
    channel: string,
    topic: string,
    source: StreamSource,
    options: ByteStreamOptions & Pick<OutgoingStreamOptions, 'size' | 'encoding' | 'requestId'>,
  ): Promise<SendOutcome> {
    const { signal } = options
    signal?.throwIfAborted()
    if (this.#closing.signal.aborted) {
      const error = new CellError('ERR_STREAM_CANCELLED', 'the cell is closed')
      return { returnCode: 'comm_error', error }
    }
    const stream = this.#createOutgoing(target, channel, topic, source, options)
    const onAbort = () =>
      stream.fail('comm_error', new CellError('ERR_STREAM_CANCELLED', 'cancelled'))
    signal?.addEventListener('abort', onAbort, { once: true })
    const run = stream.run()
    this.#track(run)
    try {
      const outcome = await run
      if (outcome.error !== undefined) signal?.throwIfAborted()
      return outcome
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#outgoing.delete(stream.id)
    }
  }

  #createOutgoing(
    target: string,
    channel: string,
    topic: string,
    source: StreamSource,
    options: StreamNotifyOptions &
      Pick<OutgoingStreamOptions, 'size' | 'encoding' | 'requestId' | 'onProgress'>,
  ): OutgoingStream {
    const { port, clock, random } = this.#components
    const small = isParts(source) && options.size <= SMALL_BODY_BYTES
    const stream = new OutgoingStream(port, clock, this.#settings, {
      id: randomStreamId(random),
      target,
      channel,
      topic,
      headers: options.headers ?? NO_HEADERS,
      source,
      size: options.size,
      encoding: options.encoding,
      requestId: options.requestId,
      secure: options.secure ?? false,
      optional: options.optional ?? false,
      reliable: options.reliable ?? false,
      confirmed: options.confirmed ?? false,
      priority: options.priority ?? (small ? 'normal' : 'bulk'),
      onProgress: options.onProgress,
    })
    this.#outgoing.set(stream.id, stream)
    this.#ticker.wake()
    return stream
  }

  #onAck({ headers, origin }: IncomingPortMessage): void {
    const id = countHeader(headers, STREAM_HEADER.id)
    const stream = id === undefined ? undefined : this.#outgoing.get(id)
    // Anybody can make up an ACK; only the stream's own receiver is believed.
    if (stream === undefined || origin !== stream.options.target) return
    const type = headers.get(STREAM_HEADER.type)
    if (type === STREAM_TYPE.error) {
      this.#failByPeer(stream, headers)
      return
    }
    const offset = countHeader(headers, STREAM_HEADER.offset)
    if (type !== STREAM_TYPE.ack || offset === undefined) return
    stream.acknowledge(offset, countHeader(headers, STREAM_HEADER.sequence))
  }

  #onError({ headers, origin }: IncomingPortMessage): void {
    const id = countHeader(headers, STREAM_HEADER.id)
    const stream = id === undefined ? undefined : this.#outgoing.get(id)
    if (stream === undefined) return
    const { target, channel, topic, requestId } = stream.options
    const matches =
      (origin === target || headers.get(STREAM_HEADER.failedDestination) === target) &&
      headers.get(STREAM_HEADER.channel) === channel &&
      headers.get(STREAM_HEADER.topic) === topic &&
      (textHeader(headers, STREAM_HEADER.requestId) ?? '') === (requestId ?? '')
    if (!matches) return
    // A hop that has no way now is no end: chunks are sent again until one has, or the time for that is up.
    if (stream.options.reliable && origin !== target) return
    this.#failByPeer(stream, headers)
  }

  #failByPeer(stream: OutgoingStream, headers: MessageHeaders): void {
    const text = textHeader(headers, STREAM_HEADER.errorText) ?? 'stream error'
    const error = new CellError('ERR_STREAM_REMOTE', text.slice(0, MAX_PEER_TEXT_CHARS))
    const { requestId, target } = stream.options
    stream.fail('comm_error', error)
    // A request whose stream was sent completely still waits; that ends now.
    if (requestId !== undefined)
      this.#waiters.get(requestId)?.settle(localFailure(target, 'comm_error', error.message))
  }

  /** We are a hop, or refuse the chunk: tell its sender, if it will never be resent or that would not help. */
  #onUnreachable({ headers, returnCode, refusal }: UnreachableMessage): void {
    if (headers.get(HEADER.topic) !== STREAM_TOPIC.data) return
    const origin = textHeader(headers, HEADER.origin)
    const destination = textHeader(headers, HEADER.destination)
    const id = countHeader(headers, STREAM_HEADER.id)
    if (origin === undefined || destination === undefined || id === undefined) return
    const type = headers.get(STREAM_HEADER.type)
    if (type !== STREAM_TYPE.chunk && type !== STREAM_TYPE.final) return
    const reliable = headers.get(STREAM_HEADER.reliable) === true
    if (refusal === undefined && reliable && headers.get(HEADER.optional) !== true) return
    const error = new Map<string, HeaderValue>([
      [STREAM_HEADER.id, id],
      [STREAM_HEADER.type, STREAM_TYPE.error],
      [
        STREAM_HEADER.errorText,
        refusal === undefined
          ? `stream forwarding to ${destination} failed: ${returnCode}`
          : `${returnCode}: ${refusal}`,
      ],
      [
        STREAM_HEADER.errorType,
        returnCode === 'target_unreachable' ? 'StreamTargetUnreachable' : 'StreamError',
      ],
      [STREAM_HEADER.failedDestination, destination],
    ])
    for (const key of [STREAM_HEADER.channel, STREAM_HEADER.topic, STREAM_HEADER.requestId]) {
      const value = textHeader(headers, key)
      if (value !== undefined) error.set(key, value)
    }
    this.#track(
      this.#components.port.send({
        destination: origin,
        channel: STREAM_CHANNEL,
        topic: STREAM_TOPIC.error,
        headers: error,
        payload: [],
        optional: true,
        priority: 'control',
      }),
    )
  }

  #onLinkLost(): void {
    this.#receiver.linkLost()
    for (const stream of [...this.#outgoing.values()]) {
      const { target, reliable } = stream.options
      if (reliable || this.#components.port.canReach(target)) continue
      // Chunks under way are gone. A request that was sent completely may still be answered after a reconnect.
      const error = new CellError('ERR_STREAM_UNREACHABLE', `the link to ${target} was lost`)
      stream.fail('target_unreachable', error)
    }
  }

  /**
   * Whoever asked asks again: the question, or what the answer waits for, may be lost. Reliable streams go on, for
   * their chunks are sent again.
   */
  #onWayLost(isBehind: (fqcn: string) => boolean): void {
    this.#receiver.wayLost(isBehind)
    for (const stream of [...this.#outgoing.values()])
      if (!stream.options.reliable && isBehind(stream.options.target))
        stream.fail('comm_error', wayLost(stream.options.target))
    for (const { target, settle } of [...this.#waiters.values()])
      if (isBehind(target)) settle(localFailure(target, 'comm_error', wayLost(target).message))
  }

  #tick(now: number): boolean {
    for (const stream of [...this.#outgoing.values()]) stream.tick(now)
    const receiving = this.#receiver.tick(now)
    return receiving || this.#outgoing.size > 0
  }

  #route(chunk: ChunkHeaders, origin: string): StreamRoute | CellError {
    if (chunk.channel === REPLY_CHANNEL) return this.#routeReply(chunk, origin)
    const reader = this.#readers.find(chunk.channel, chunk.topic)
    if (reader !== undefined && chunk.requestId === undefined)
      return {
        kind: 'bytes',
        onStream: (stream) => reader(stream, { signal: this.#closing.signal }),
      }
    const registration = this.#handlers.find(chunk.channel, chunk.topic)
    if (registration === undefined)
      return new CellError(
        'ERR_STREAM_NO_HANDLER',
        `No callback is registered for ${chunk.channel}/${chunk.topic}`,
      )
    return {
      kind: 'body',
      purpose: 'request',
      maxBytes: registration.maxBodyBytes,
      onBody: (body) => this.#serve(registration, body),
    }
  }

  #routeReply(chunk: ChunkHeaders, origin: string): StreamRoute | CellError {
    const waiter = chunk.requestId === undefined ? undefined : this.#waiters.get(chunk.requestId)
    if (waiter === undefined || waiter.target !== origin) {
      this.#logger.debug('reply that nobody waits for', { origin })
      return new CellError('ERR_STREAM_NO_HANDLER', 'no request waits for this reply')
    }
    return {
      kind: 'body',
      purpose: 'reply',
      maxBytes: waiter.maxReplyBytes,
      store: waiter.store,
      onProgress: () => waiter.progress(),
      onBody: (body) =>
        waiter.settle({
          returnCode: textHeader(body.headers, HEADER.returnCode) ?? 'ok',
          error: textHeader(body.headers, HEADER.error)?.slice(0, MAX_PEER_TEXT_CHARS),
          headers: body.headers,
          body: {
            encoding: body.stream.encoding,
            parts: body.parts,
            stored: body.stored,
            release: body.release,
          },
          origin,
          secure: body.stream.secure,
        }),
      onFailure: (error) => waiter.settle(localFailure(origin, 'comm_error', error.message)),
    }
  }

  async #serve(registration: Registration, received: ReceivedBody): Promise<void> {
    const { origin, link, headers, stream } = received
    const { requestId } = stream
    const request: IncomingStreamRequest = {
      origin,
      channel: stream.channel,
      topic: stream.topic,
      headers,
      body: { encoding: stream.encoding, parts: received.parts, release: received.release },
      secure: stream.secure,
      expectsReply: requestId !== undefined,
      link,
    }
    const reply = await this.#answer(registration, request)
    if (requestId === undefined || reply === undefined) {
      reply?.onSettled?.('ok')
      return
    }
    const outcome = await this.#reply(request, requestId, reply)
    if (outcome.error !== undefined)
      this.#logger.debug('reply was not delivered', { origin, error: outcome.error.message })
    reply.onSettled?.(outcome.returnCode)
  }

  async #answer(
    { handler, raw }: Registration,
    request: IncomingStreamRequest,
  ): Promise<OutgoingStreamReply | undefined> {
    const { signal } = this.#closing
    const { origin, channel, topic } = request
    let value: unknown
    try {
      if (!raw) value = await this.#components.prepare?.(request, { signal })
    } catch (error) {
      this.#logger.warn('request body refused', { origin, channel, topic, reason: reasonOf(error) })
      if (isUnusable(error))
        this.#components.report?.(
          request.link,
          'body',
          `the body of ${channel}/${topic} is not usable (${reasonOf(error)})`,
        )
      return { returnCode: 'invalid_request', error: `body refused: ${reasonOf(error)}` }
    }
    try {
      return await handler(request, value, { signal })
    } catch (error) {
      this.#logger.error('request handler failed', {
        origin,
        channel,
        topic,
        error: messageOf(error),
      })
      return { returnCode: 'process_exception', error: 'the request handler failed' }
    }
  }

  #reply(
    request: IncomingStreamRequest,
    requestId: string,
    reply: OutgoingStreamReply,
  ): Promise<SendOutcome> {
    const body = reply.body ?? EMPTY_BODY
    const headers = new Map<string, HeaderValue>(reply.headers ?? NO_HEADERS)
    headers.set(HEADER.returnCode, reply.returnCode ?? 'ok')
    if (reply.error !== undefined) headers.set(HEADER.error, reply.error)
    headers.set(HEADER.requestId, textHeader(request.headers, HEADER.requestId) ?? '')
    return this.#transmit(
      request.origin,
      REPLY_CHANNEL,
      `${request.channel}:${request.topic}`,
      body.parts,
      {
        headers,
        secure: request.secure,
        optional: true,
        reliable: true,
        size: bytesIn(body.parts),
        encoding: body.encoding,
        requestId,
      },
    )
  }

  /** Collects what nobody awaits, so that nothing fails unseen and disposal can wait for it. */
  #track(promise: Promise<unknown>): void {
    const task = promise
      .catch((error: unknown) => {
        this.#logger.error('stream task failed', { error: messageOf(error) })
      })
      .finally(() => {
        this.#tasks.delete(task)
      })
    this.#tasks.add(task)
  }
}

function isParts(source: StreamSource): source is readonly BytePart[] {
  return Array.isArray(source)
}

function wayLost(target: string): CellError {
  return new CellError('ERR_STREAM_UNREACHABLE', `a link on the way to ${target} was lost`)
}

function localFailure(target: string, returnCode: ReturnCode, error: string): IncomingStreamReply {
  return {
    returnCode,
    error,
    headers: NO_HEADERS,
    body: EMPTY_BODY,
    origin: target,
    secure: false,
  }
}

/** A code of ours may travel; the texts of foreign errors may hold anything. */
function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'unreadable'
}

/** Not so a download that failed: the source may have gone away. */
function isUnusable(error: unknown): boolean {
  const code = reasonOf(error)
  return code.startsWith('ERR_FOBS') || code === 'ERR_BODY' || code === 'ERR_DOWNLOAD_SOURCE'
}
