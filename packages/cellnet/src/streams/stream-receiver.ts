import {
  type ByteStore,
  type Clock,
  type Logger,
  messageOf,
  SpareMemory,
  type StoredBytes,
} from '@hanse/contract'
import { firstDatumOffset, mainSectionBytes } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue, type MessageHeaders } from '../headers.ts'
import type { IncomingPortMessage, MessagePort } from '../message-port.ts'
import type { PeerLink } from '../peer-link.ts'
import { IncomingByteStream } from './incoming-byte-stream.ts'
import { PartList } from './part-list.ts'
import { familyOf } from './peer-family.ts'
import { Reassembly } from './reassembly.ts'
import { ReceiveBudget, type Reservation } from './receive-budget.ts'
import { type ChunkHeaders, countHeader, readChunkHeaders } from './stream-headers.ts'
import {
  FALLBACK_SENDER,
  MAX_ACK_INTERVAL_BYTES,
  MAX_RETRY_MS,
  type StreamOptions,
} from './stream-options.ts'
import {
  REPLY_CHANNEL,
  STREAM_CHANNEL,
  STREAM_HEADER,
  STREAM_TOPIC,
  STREAM_TYPE,
  type StreamErrorType,
} from './stream-protocol.ts'
import { Tombstones } from './tombstones.ts'

/** A whole body that arrived as one stream. */
export interface ReceivedBody {
  readonly origin: string
  readonly link: PeerLink | undefined
  /** Of the first chunk, with `cn__channel` and `cn__topic` set to the application's. */
  readonly headers: MessageHeaders
  /** What the first chunk said of the stream. */
  readonly stream: ChunkHeaders
  /** Owned by the receiver of the body; one part if the length was declared. */
  readonly parts: Uint8Array[]
  /** The body, if it went to the route's store: there are no parts then. */
  readonly stored: StoredBytes | undefined
  /** See {@link EncodedBody.release}. */
  readonly release: (() => void) | undefined
}

/** Where an incoming stream goes. */
export type StreamRoute = BodyRoute | ByteRoute

/** Collect everything, then hand it over. */
export interface BodyRoute {
  readonly kind: 'body'
  readonly maxBytes: number
  /** `request`: takes a slot of its peer until `onBody` has settled. `reply`: we asked for it. */
  readonly purpose: 'request' | 'reply'
  /** For long bodies whose head shows that they need not be in memory. */
  readonly store?: ByteStore | undefined
  readonly onProgress?: (() => void) | undefined
  /** Must not reject. */
  onBody(body: ReceivedBody): Promise<void> | void
  readonly onFailure?: ((error: CellError) => void) | undefined
}

/** Hand over bytes as they come. */
export interface ByteRoute {
  readonly kind: 'bytes'
  /** A rejection fails the stream. */
  onStream(stream: IncomingByteStream): Promise<void>
}

/** What the receiver works with; `route` decides where a new stream goes. */
export interface StreamReceiverComponents {
  readonly port: MessagePort
  readonly clock: Clock
  readonly logger: Logger
  route(chunk: ChunkHeaders, origin: string): StreamRoute | CellError
  /** Keeps a promise that nobody awaits; it must not reject. */
  track(promise: Promise<unknown>): void
  /** Something needs ticks from now on. */
  wake(): void
}

interface Incoming {
  readonly key: string
  readonly origin: string
  readonly family: string
  readonly link: PeerLink | undefined
  /** Of the chunk that opened the stream; what they say of the stream is the same on all of them. */
  readonly first: ChunkHeaders
  readonly route: StreamRoute
  readonly reassembly: Reassembly
  readonly parts: PartList
  readonly ackIntervalBytes: number
  /** Counts against its peer until released. */
  holdsSlot: boolean
  /** A body that came in one chunk: kept as the view it is. */
  whole: Uint8Array[] | undefined
  headers: MessageHeaders | undefined
  start: ChunkHeaders | undefined
  reader: IncomingByteStream | undefined
  reservations: Reservation[]
  waiting: Disposable | undefined
  /** Bytes held without a reservation. */
  waitingBytes: number
  consumedBytes: number
  ackedBytes: number
  lastActivityAt: number
}

interface Ended {
  readonly reliable: boolean
  readonly receivedBytes: number
  readonly lastSequence: number
  readonly chunk: ChunkHeaders
  readonly failure: CellError | undefined
}

const MIN_PARKED = 16
const MAX_DERIVED_PARKED = 1024
/** The last resend may be a tick late and take its time: it must still find the stream's grave. */
const RETRY_MARGIN_MS = 10_000

/** The receiving half of all streams of one cell (`spec/streaming.md` §4.2–§4.4, §5). */
export class StreamReceiver {
  readonly #components: StreamReceiverComponents
  readonly #settings: StreamOptions
  readonly #streams = new Map<string, Incoming>()
  /** Apart, so that a flood of one kind does not push the other's out. */
  readonly #ended: Readonly<Record<'request' | 'reply', Tombstones<Ended>>>
  readonly #slots = new Map<string, number>()
  readonly #waitingBytes = new Map<string, number>()
  // Requests hold their memory until they are answered, and answering may need a reply's: one budget for
  // both could deadlock.
  readonly #budgets: Readonly<Record<'request' | 'reply', ReceiveBudget>>
  readonly #memory: SpareMemory
  #totalSlots = 0
  #closed = false

  constructor(components: StreamReceiverComponents, settings: StreamOptions) {
    this.#components = components
    this.#settings = settings
    this.#memory = new SpareMemory(settings.maxSpareBytes)
    this.#ended = {
      request: new Tombstones(settings.maxTombstones),
      reply: new Tombstones(settings.maxTombstones),
    }
    const { maxBufferedBytes, maxBufferedBytesPerPeer } = settings
    this.#budgets = {
      request: new ReceiveBudget(maxBufferedBytes, maxBufferedBytesPerPeer),
      reply: new ReceiveBudget(maxBufferedBytes, maxBufferedBytesPerPeer),
    }
  }

  /** Streams that are arriving. */
  get active(): number {
    return this.#streams.size
  }

  /** Memory promised to bodies that are arriving or being handled, in bytes. */
  get reservedBytes(): number {
    return this.#budgets.request.used + this.#budgets.reply.used
  }

  /** Takes one DATA message. Never throws: whatever is wrong ends that stream only. */
  receive(message: IncomingPortMessage): void {
    if (this.#closed) return
    const { headers, origin } = message
    if (headers.get(STREAM_HEADER.type) === STREAM_TYPE.error) {
      this.#abandonedBySender(headers, origin)
      return
    }
    const chunk = readChunkHeaders(headers)
    if ('invalid' in chunk) {
      this.#refuseInvalid(chunk.id, chunk.invalid, message)
      return
    }
    const key = keyOf(chunk.id, origin)
    const ended = this.#gravesOf(chunk).get(key, this.#components.clock.now())
    if (ended !== undefined) {
      this.#answerLate(ended, origin)
      return
    }
    const stream = this.#streams.get(key) ?? this.#open(key, chunk, message)
    if (stream === undefined) return
    try {
      this.#accept(stream, chunk, message)
    } catch (error) {
      this.#fail(stream, asCellError(error), true)
    }
  }

  /** Ends what can never go on because its sender cannot be reached any more. */
  linkLost(): void {
    for (const stream of [...this.#streams.values()]) {
      // A reliable sender may come back and resend.
      if (stream.first.reliable || this.#components.port.canReach(stream.origin)) continue
      const error = new CellError(
        'ERR_STREAM_UNREACHABLE',
        `the link to ${stream.origin} was lost in mid-stream`,
      )
      this.#fail(stream, error, false)
    }
  }

  /** Ends what will miss a chunk, because a link on its way is gone. */
  wayLost(isBehind: (fqcn: string) => boolean): void {
    for (const stream of [...this.#streams.values()]) {
      if (stream.first.reliable || !isBehind(stream.origin)) continue
      const error = new CellError(
        'ERR_STREAM_UNREACHABLE',
        `a link on the way from ${stream.origin} was lost in mid-stream`,
      )
      this.#fail(stream, error, false)
    }
  }

  /** @returns whether there is anything left to look after */
  tick(now: number): boolean {
    const { readTimeoutMs } = this.#settings
    for (const stream of [...this.#streams.values()]) {
      // Unread bytes mean that we wait for our own consumer, not for the sender.
      if ((stream.reader?.unreadBytes ?? 0) > 0) continue
      if (now - stream.lastActivityAt < readTimeoutMs) continue
      const error = new CellError(
        'ERR_STREAM_TIMEOUT',
        `no chunk within ${readTimeoutMs} ms, ${stream.reassembly.receivedBytes} bytes received`,
      )
      this.#fail(stream, error, true)
    }
    let remembered = 0
    for (const graves of Object.values(this.#ended)) {
      graves.sweep(now)
      remembered += graves.size
    }
    return this.#streams.size > 0 || remembered > 0
  }

  /** Fails all streams and takes no more. */
  close(): void {
    this.#closed = true
    const error = new CellError('ERR_STREAM_CANCELLED', 'the receiving cell closed')
    for (const stream of [...this.#streams.values()]) this.#fail(stream, error, false)
  }

  #open(key: string, chunk: ChunkHeaders, message: IncomingPortMessage): Incoming | undefined {
    const { origin, link } = message
    const family = familyOf(origin)
    const route = this.#components.route(chunk, origin)
    if (route instanceof CellError) {
      this.#refuse(key, chunk, message, route)
      return undefined
    }
    const store = storeFor(route, chunk, message.payload)
    const refusal = this.#overLimit(chunk, family, route, store !== undefined)
    if (refusal !== undefined) {
      this.#refuse(key, chunk, message, refusal)
      if (route.kind === 'body') route.onFailure?.(refusal)
      return undefined
    }
    const windowBytes = chunk.windowBytes ?? FALLBACK_SENDER.windowBytes
    const chunkBytes = chunk.chunkBytes ?? FALLBACK_SENDER.chunkBytes
    const maxBytes = route.kind === 'body' ? route.maxBytes : Number.MAX_SAFE_INTEGER
    const derivedParked = Math.min(MAX_DERIVED_PARKED, Math.ceil(windowBytes / chunkBytes) + 1)
    const maxParked = this.#settings.maxParkedChunks ?? Math.max(MIN_PARKED, derivedParked)
    const stream: Incoming = {
      key,
      origin,
      family,
      link,
      first: chunk,
      route,
      reassembly: new Reassembly(chunk.size, maxBytes, maxParked),
      parts: new PartList(this.#memory),
      ackIntervalBytes: Math.min(
        chunk.ackIntervalBytes ?? FALLBACK_SENDER.ackIntervalBytes,
        windowBytes,
        MAX_ACK_INTERVAL_BYTES,
      ),
      holdsSlot: takesSlot(route),
      whole: undefined,
      headers: undefined,
      start: undefined,
      reader: undefined,
      reservations: [],
      waiting: undefined,
      waitingBytes: 0,
      consumedBytes: 0,
      ackedBytes: 0,
      lastActivityAt: this.#components.clock.now(),
    }
    const blocked = this.#reserve(stream, chunk, store)
    if (blocked !== undefined) {
      this.#refuse(key, chunk, message, blocked)
      return undefined
    }
    this.#streams.set(key, stream)
    if (stream.holdsSlot) this.#takeSlot(family)
    this.#components.wake()
    return stream
  }

  #overLimit(
    chunk: ChunkHeaders,
    family: string,
    route: StreamRoute,
    isStored: boolean,
  ): CellError | undefined {
    const { maxStreams, maxStreamsPerPeer } = this.#settings
    if (takesSlot(route)) {
      if ((this.#slots.get(family) ?? 0) >= maxStreamsPerPeer)
        return new CellError(
          'ERR_STREAM_LIMIT',
          `more than ${maxStreamsPerPeer} streams of ${family} at once; try again later`,
        )
      if (this.#totalSlots >= maxStreams)
        return new CellError(
          'ERR_STREAM_LIMIT',
          `more than ${maxStreams} streams at once; try again later`,
        )
    }
    if (route.kind !== 'body') return undefined
    const room = isStored ? Number.POSITIVE_INFINITY : this.#budgets[route.purpose].largest
    const largest = Math.min(route.maxBytes, room)
    if (chunk.size <= largest) return undefined
    return new CellError(
      'ERR_STREAM_SIZE',
      `a body of ${chunk.size} bytes was announced, ${largest} are allowed here`,
    )
  }

  /** @returns why the stream cannot be taken; a body that has to wait for memory is taken */
  #reserve(
    stream: Incoming,
    chunk: ChunkHeaders,
    store: ByteStore | undefined,
  ): CellError | undefined {
    const { route, family } = stream
    if (route.kind === 'bytes') {
      const window = Math.min(
        chunk.windowBytes ?? FALLBACK_SENDER.windowBytes,
        FALLBACK_SENDER.windowBytes,
      )
      const ahead = window + Math.min(chunk.chunkBytes ?? FALLBACK_SENDER.chunkBytes, window)
      const bytes = chunk.size > 0 ? Math.min(chunk.size, ahead) : ahead
      const reservation = this.#budgets.request.tryReserve(family, bytes)
      if (reservation === undefined)
        return new CellError(
          'ERR_STREAM_LIMIT',
          `no room to buffer ${bytes} bytes of a stream; try again later`,
        )
      stream.reservations.push(reservation)
      return undefined
    }
    // A whole body in one message is in memory already; a length that is unknown is reserved as it comes.
    if (chunk.size === 0 || (chunk.final && chunk.sequence === 0)) return undefined
    const expected = {
      bytes: chunk.size,
      alignedAt: chunk.encoding === 'fobs' ? firstDatumOffset : undefined,
    }
    if (store !== undefined) {
      stream.parts.expectStored(expected, store)
      return undefined
    }
    const budget = this.#budgets[route.purpose]
    const reservation = budget.tryReserve(family, chunk.size)
    if (reservation !== undefined) {
      stream.reservations.push(reservation)
      stream.parts.expect(expected)
      return undefined
    }
    stream.waiting = budget.whenRoom(family, chunk.size, (granted) => {
      stream.waiting = undefined
      stream.reservations.push(granted)
      this.#forgetWaiting(stream)
      stream.parts.expect(expected)
      stream.consumedBytes = stream.reassembly.receivedBytes
      this.#ackIfDue(stream)
    })
    return undefined
  }

  #accept(stream: Incoming, chunk: ChunkHeaders, message: IncomingPortMessage): void {
    const { first, reassembly } = stream
    if (
      chunk.channel !== first.channel ||
      chunk.topic !== first.topic ||
      chunk.size !== first.size ||
      chunk.requestId !== first.requestId ||
      // A hop must not be able to slip clear chunks into an encrypted stream.
      chunk.secure !== first.secure
    )
      throw new CellError(
        'ERR_STREAM_ORDER',
        `chunk ${chunk.sequence} belongs to another channel, topic, size, request or protection than the stream`,
      )
    stream.lastActivityAt = this.#components.clock.now()
    const ordered = reassembly.accept({
      sequence: chunk.sequence,
      offset: chunk.offset,
      final: chunk.final,
      payload: message.payload,
    })
    if (ordered === undefined) {
      if (first.reliable) this.#sendAck(stream, stream.consumedBytes)
      return
    }
    if (chunk.sequence === 0) {
      stream.headers = message.headers
      stream.start = chunk
    }
    if (stream.route.kind === 'bytes') this.#feedReader(stream, stream.route, ordered)
    else this.#collect(stream, stream.route, ordered, message)
    if (reassembly.complete) this.#complete(stream)
    else this.#ackIfDue(stream)
  }

  #feedReader(stream: Incoming, route: ByteRoute, ordered: readonly Uint8Array[]): void {
    if (stream.headers !== undefined && stream.reader === undefined) {
      const reader = this.#createReader(stream, stream.headers)
      stream.reader = reader
      this.#components.track(
        route.onStream(reader).then(
          () => this.#releaseSlot(stream),
          (error: unknown) => {
            this.#components.logger.debug('stream consumer failed', { error: messageOf(error) })
            this.#fail(stream, new CellError('ERR_STREAM_CANCELLED', 'the consumer failed'), true)
            this.#releaseSlot(stream)
          },
        ),
      )
    }
    for (const payload of ordered) stream.reader?.push(payload)
    const held = (stream.reader?.unreadBytes ?? 0) + stream.reassembly.parkedBytes
    const room = stream.reservations[0]?.bytes ?? 0
    if (held > room)
      throw new CellError(
        'ERR_STREAM_LIMIT',
        `the sender ran past its window: ${held} bytes unread, ${room} agreed`,
      )
  }

  #createReader(stream: Incoming, headers: MessageHeaders): IncomingByteStream {
    const { origin, link, first } = stream
    return new IncomingByteStream(
      {
        origin,
        link,
        channel: first.channel,
        topic: first.topic,
        headers: withApplicationNames(headers, first),
        size: first.size > 0 ? first.size : undefined,
      },
      {
        onConsumed: (bytes) => {
          stream.consumedBytes += bytes
          stream.lastActivityAt = this.#components.clock.now()
          if (this.#streams.has(stream.key)) this.#ackIfDue(stream)
        },
        onAbandoned: () => {
          const error = new CellError('ERR_STREAM_CANCELLED', 'the consumer stopped reading')
          this.#fail(stream, error, true)
        },
      },
    )
  }

  #collect(
    stream: Incoming,
    route: BodyRoute,
    ordered: readonly Uint8Array[],
    message: IncomingPortMessage,
  ): void {
    const { family, reassembly } = stream
    const arrived = message.payload.length
    if (stream.waiting !== undefined) this.#holdWaiting(stream, arrived)
    else if (stream.first.size === 0 && !reassembly.complete && arrived > 0) {
      const more = this.#budgets[route.purpose].tryReserve(family, arrived)
      if (more === undefined)
        throw new CellError(
          'ERR_STREAM_LIMIT',
          `no room for more than ${reassembly.receivedBytes} bytes of a body of unknown length`,
        )
      stream.reservations.push(more)
    }
    if (reassembly.complete && reassembly.lastSequence === 0) stream.whole = [...ordered]
    // A chunk that was parked has lost the way back to its memory; that is rare.
    else
      for (const payload of ordered)
        this.#push(
          stream,
          route,
          payload,
          payload === message.payload ? message.release : undefined,
        )
    if (stream.waiting === undefined) stream.consumedBytes = reassembly.receivedBytes
    if (ordered.length > 0) route.onProgress?.()
  }

  #push(
    stream: Incoming,
    route: BodyRoute,
    payload: Uint8Array,
    release: (() => void) | undefined,
  ): void {
    try {
      stream.parts.push(payload, release)
    } catch (cause) {
      // The disk may be full. Memory is still had from the budget only.
      const { family, first } = stream
      const reservation = this.#budgets[route.purpose].tryReserve(family, first.size)
      if (reservation === undefined)
        throw new CellError(
          'ERR_STREAM_LIMIT',
          `${first.size} bytes could not be stored, and there is no room in memory`,
          {},
          { cause },
        )
      stream.reservations.push(reservation)
      stream.parts.bringBack()
      stream.parts.push(payload, release)
    }
  }

  #holdWaiting(stream: Incoming, bytes: number): void {
    const held = (this.#waitingBytes.get(stream.family) ?? 0) + bytes
    stream.waitingBytes += bytes
    this.#waitingBytes.set(stream.family, held)
    const { maxWaitingBytesPerPeer } = this.#settings
    if (held > maxWaitingBytesPerPeer)
      throw new CellError(
        'ERR_STREAM_LIMIT',
        `${held} bytes of ${stream.family} wait for memory, ${maxWaitingBytesPerPeer} may; try again later`,
      )
  }

  #forgetWaiting(stream: Incoming): void {
    if (stream.waitingBytes === 0) return
    const left = (this.#waitingBytes.get(stream.family) ?? 0) - stream.waitingBytes
    if (left > 0) this.#waitingBytes.set(stream.family, left)
    else this.#waitingBytes.delete(stream.family)
    stream.waitingBytes = 0
  }

  #complete(stream: Incoming): void {
    const { route, reassembly } = stream
    this.#sendAck(stream, reassembly.receivedBytes)
    this.#bury(stream, undefined)
    if (route.kind === 'bytes') {
      stream.reader?.end()
      return
    }
    const { headers, start } = stream
    if (headers === undefined || start === undefined) return // Complete implies chunk 0.
    const release = stream.whole === undefined ? stream.parts.release : undefined
    const handled = route.onBody({
      origin: stream.origin,
      link: stream.link,
      headers: withApplicationNames(headers, start),
      stream: start,
      stored: stream.parts.takeStored(),
      parts: stream.whole ?? stream.parts.take(),
      release,
    })
    const settle = () => {
      this.#release(stream)
      this.#releaseSlot(stream)
    }
    if (handled === undefined) settle()
    else this.#components.track(handled.then(settle, settle))
  }

  /** Takes the stream out of the table and remembers how it ended. */
  #bury(stream: Incoming, failure: CellError | undefined): void {
    const { clock } = this.#components
    this.#streams.delete(stream.key)
    stream.waiting?.[Symbol.dispose]()
    stream.waiting = undefined
    this.#forgetWaiting(stream)
    this.#remember(stream.key, clock.now(), {
      reliable: stream.first.reliable,
      receivedBytes: stream.reassembly.receivedBytes,
      lastSequence: stream.reassembly.lastSequence,
      chunk: stream.first,
      failure,
    })
  }

  #remember(key: string, now: number, ended: Ended): void {
    const { retryTimeoutMs, retryWaitMs, tombstoneMs } = this.#settings
    const keepMs = ended.reliable
      ? RETRY_MARGIN_MS +
        Math.min(MAX_RETRY_MS, Math.max(retryTimeoutMs + retryWaitMs, ended.chunk.retryMs ?? 0))
      : tombstoneMs
    this.#gravesOf(ended.chunk).set(key, ended, now + keepMs)
  }

  #gravesOf(chunk: ChunkHeaders): Tombstones<Ended> {
    return this.#ended[chunk.channel === REPLY_CHANNEL ? 'reply' : 'request']
  }

  #fail(stream: Incoming, error: CellError, notify: boolean): void {
    if (this.#streams.get(stream.key) !== stream) return
    const { logger } = this.#components
    logger.debug('incoming stream failed', { origin: stream.origin, error: error.message })
    this.#bury(stream, error)
    stream.parts.takeStored()?.release()
    stream.parts.take()
    this.#release(stream)
    if (stream.reader === undefined) this.#releaseSlot(stream)
    else stream.reader.fail(error)
    if (notify) this.#sendError(stream.origin, stream.first, error)
    if (stream.route.kind === 'body') stream.route.onFailure?.(error)
  }

  #refuse(key: string, chunk: ChunkHeaders, message: IncomingPortMessage, error: CellError): void {
    const { clock, logger } = this.#components
    logger.debug('incoming stream refused', { origin: message.origin, error: error.message })
    this.#remember(key, clock.now(), {
      reliable: chunk.reliable,
      receivedBytes: 0,
      lastSequence: -1,
      chunk,
      failure: error,
    })
    this.#components.wake()
    this.#sendError(message.origin, chunk, error)
  }

  #refuseInvalid(id: number | undefined, reason: string, message: IncomingPortMessage): void {
    const { logger } = this.#components
    logger.debug('invalid stream headers', { origin: message.origin, reason })
    if (id === undefined) return
    const error = new CellError('ERR_STREAM_HEADERS', reason)
    const stream = this.#streams.get(keyOf(id, message.origin))
    if (stream !== undefined) this.#fail(stream, error, true)
    else
      this.#sendError(message.origin, { id, channel: '', topic: '', requestId: undefined }, error)
  }

  #abandonedBySender(headers: MessageHeaders, origin: string): void {
    const id = countHeader(headers, STREAM_HEADER.id)
    const stream = id === undefined ? undefined : this.#streams.get(keyOf(id, origin))
    if (stream === undefined) return
    this.#fail(stream, new CellError('ERR_STREAM_REMOTE', 'the sender gave up'), false)
  }

  #answerLate(ended: Ended, origin: string): void {
    if (!ended.reliable) return
    if (ended.failure !== undefined) this.#sendError(origin, ended.chunk, ended.failure)
    else this.#postAck(origin, ended.chunk, ended.receivedBytes, ended.lastSequence)
  }

  #ackIfDue(stream: Incoming): void {
    if (stream.consumedBytes - stream.ackedBytes < stream.ackIntervalBytes) return
    this.#sendAck(stream, stream.consumedBytes)
  }

  #sendAck(stream: Incoming, bytes: number): void {
    stream.ackedBytes = Math.max(stream.ackedBytes, bytes)
    this.#postAck(stream.origin, stream.first, bytes, stream.reassembly.lastSequence)
  }

  #postAck(origin: string, chunk: ChunkHeaders, bytes: number, sequence: number): void {
    // Nothing in order yet: there is no chunk number to acknowledge.
    if (sequence < 0) return
    this.#post(origin, STREAM_TOPIC.ack, !chunk.reliable, [
      [STREAM_HEADER.id, chunk.id],
      [STREAM_HEADER.type, STREAM_TYPE.ack],
      [STREAM_HEADER.offset, bytes],
      [STREAM_HEADER.sequence, sequence],
    ])
  }

  /** Sent on two topics: senders older than 2.9 know only the second. */
  #sendError(
    origin: string,
    stream: Pick<ChunkHeaders, 'id' | 'channel' | 'topic' | 'requestId'>,
    error: CellError,
  ): void {
    const headers: [string, HeaderValue][] = [
      [STREAM_HEADER.id, stream.id],
      [STREAM_HEADER.type, STREAM_TYPE.error],
      [STREAM_HEADER.errorText, error.message],
      [STREAM_HEADER.channel, stream.channel],
      [STREAM_HEADER.topic, stream.topic],
      [STREAM_HEADER.errorType, errorTypeOf(error)],
    ]
    if (stream.requestId !== undefined) headers.push([STREAM_HEADER.requestId, stream.requestId])
    this.#post(origin, STREAM_TOPIC.error, false, headers)
    this.#post(origin, STREAM_TOPIC.ack, false, headers)
  }

  #post(
    destination: string,
    topic: string,
    optional: boolean,
    headers: readonly [string, HeaderValue][],
  ): void {
    this.#components.track(
      this.#components.port.send({
        destination,
        channel: STREAM_CHANNEL,
        topic,
        headers: new Map(headers),
        payload: [],
        optional,
        priority: 'control',
      }),
    )
  }

  #takeSlot(family: string): void {
    this.#slots.set(family, (this.#slots.get(family) ?? 0) + 1)
    this.#totalSlots += 1
  }

  #releaseSlot(stream: Incoming): void {
    if (stream.route.kind === 'bytes') this.#release(stream)
    if (!stream.holdsSlot) return
    stream.holdsSlot = false
    const left = (this.#slots.get(stream.family) ?? 0) - 1
    if (left > 0) this.#slots.set(stream.family, left)
    else this.#slots.delete(stream.family)
    this.#totalSlots -= 1
  }

  #release(stream: Incoming): void {
    for (const reservation of stream.reservations.splice(0)) reservation.release()
  }
}

function keyOf(id: number, origin: string): string {
  return `${id} ${origin}`
}

/** Shorter bodies are not worth storing whole; their long arrays leave memory when they are decoded. */
const MIN_STORED_BYTES = 4 * 1024 * 1024
/** What of a stored body is read into memory again to decode it. */
const MAX_STORED_HEAD_BYTES = 64 * 1024

/** The store for a body that can be read from there: one of long blobs, with little around them. */
function storeFor(
  route: StreamRoute,
  chunk: ChunkHeaders,
  head: Uint8Array,
): ByteStore | undefined {
  if (route.kind !== 'body' || chunk.sequence !== 0 || chunk.encoding !== 'fobs') return undefined
  const main = mainSectionBytes(head)
  const isFit = chunk.size >= MIN_STORED_BYTES && main > 0 && main <= MAX_STORED_HEAD_BYTES
  return isFit ? route.store : undefined
}

function takesSlot(route: StreamRoute): boolean {
  return route.kind === 'bytes' || route.purpose === 'request'
}

function withApplicationNames(headers: MessageHeaders, chunk: ChunkHeaders): MessageHeaders {
  return new Map(headers).set(HEADER.channel, chunk.channel).set(HEADER.topic, chunk.topic)
}

function errorTypeOf(error: CellError): StreamErrorType {
  if (error.code === 'ERR_STREAM_SIZE') return 'BlobSizeError'
  if (error.code === 'ERR_STREAM_UNREACHABLE') return 'StreamTargetUnreachable'
  return error.code === 'ERR_STREAM_CANCELLED' ? 'StreamCancelled' : 'StreamError'
}

function asCellError(error: unknown): CellError {
  if (error instanceof CellError) return error
  return new CellError('ERR_STREAM_CANCELLED', 'the receiver failed', {}, { cause: error })
}
