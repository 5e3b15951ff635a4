import type { Cell } from '@hanse/cellnet'
import { type Clock, type Logger, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  type ApplicationReturnCode,
  type AuxRequest,
  handleAux,
  outcome,
  type PublicProperties,
} from '../aux-messages/aux-messages.ts'
import type { Shareable } from '../messages/shareable.ts'
import {
  OBJECT_STREAM_HEADER as HEADER,
  OBJECT_STREAM_KEY as KEY,
  OBJECT_STREAM_TOPIC,
} from './object-stream-names.ts'

/** A stream that somebody wants to push to us: what its first message says. */
export interface ObjectStreamOffer {
  /** Cell that sends; every further piece must come from it too. */
  readonly origin: string
  readonly channel: string
  readonly topic: string
  /** Claims of the sender, e.g. the name and size of a file. */
  readonly context: ReadonlyMap<FobsValue, FobsValue>
  /** Headers of the first message, for whoever decides about its sender. */
  readonly request: AuxRequest
}

/** Takes the pieces of one stream in order; exactly one of `finish` and `abandon` ends it. */
export interface ObjectStreamConsumer {
  /** Takes over one piece, never empty. The sender sends the next one after this resolved; throwing refuses the stream. */
  take(piece: Uint8Array): void | Promise<void>
  /**
   * Everything has arrived.
   * @returns the end result for the sender; `undefined` for none
   */
  finish(): FobsValue | undefined | Promise<FobsValue | undefined>
  /** The stream will not be completed: clean up. Must not throw. */
  abandon(reason: string): void | Promise<void>
}

/** What an opener decides: a consumer, or the end result that tells the sender why there is none. */
export type ObjectStreamDecision = ObjectStreamConsumer | { readonly refusal: FobsValue }

/** @returns `undefined` for a channel or topic that is not served */
export type ObjectStreamOpener = (
  offer: ObjectStreamOffer,
) => ObjectStreamDecision | undefined | Promise<ObjectStreamDecision | undefined>

export interface ObjectStreamReceiverComponents {
  readonly cell: Cell
  readonly ownProperties: PublicProperties
  readonly clock: Clock
  readonly logger: Logger
  readonly open: ObjectStreamOpener
}

export interface ObjectStreamReceiverOptions {
  /** Longest piece taken. Default 4 MiB; stock sends 1 MiB. */
  readonly maxPieceBytes?: number | undefined
  /** Streams open at once. Default 64. */
  readonly maxStreams?: number | undefined
  /** Streams open at once of one sender. Default 20, as many as a stock process sends. */
  readonly maxStreamsPerSender?: number | undefined
  /** Silence after which a stream is given up. Default 30 s. */
  readonly idleTimeoutMs?: number | undefined
}

interface OpenStream {
  readonly origin: string
  readonly consumer: ObjectStreamConsumer
  nextSequence: number
  /** True while a piece is being taken: the sender must wait for our answer. */
  isBusy: boolean
  idleTimer: Disposable
}

/**
 * Receives pushed streams of pieces (`spec/session.md` §6.14, `spec/streaming.md` §9). Stricter than stock: pieces
 * come from one cell and in unbroken order, and everything a sender can grow has a limit. Disposing abandons what
 * is open.
 */
export function receiveObjectStreams(
  components: ObjectStreamReceiverComponents,
  options: ObjectStreamReceiverOptions = {},
): AsyncDisposable {
  const receiver = new ObjectStreamReceiver(components, options)
  const { cell, ownProperties } = components
  handleAux(cell, OBJECT_STREAM_TOPIC.request, ownProperties, (request) => receiver.piece(request))
  handleAux(cell, OBJECT_STREAM_TOPIC.abort, ownProperties, (request) => receiver.abort(request))
  return receiver
}

class ObjectStreamReceiver implements AsyncDisposable {
  readonly #components: ObjectStreamReceiverComponents
  readonly #maxPieceBytes: number
  readonly #maxStreams: number
  readonly #maxStreamsPerSender: number
  readonly #idleTimeoutMs: number
  readonly #streams = new Map<string, OpenStream>()
  /** Transactions whose opener has not decided yet, with their senders. */
  readonly #opening = new Map<string, string>()
  #isClosed = false

  constructor(components: ObjectStreamReceiverComponents, options: ObjectStreamReceiverOptions) {
    this.#components = components
    this.#maxPieceBytes = options.maxPieceBytes ?? 4 * 1024 * 1024
    this.#maxStreams = options.maxStreams ?? 64
    this.#maxStreamsPerSender = options.maxStreamsPerSender ?? 20
    this.#idleTimeoutMs = options.idleTimeoutMs ?? 30_000
  }

  async piece(request: AuxRequest): Promise<Shareable> {
    const piece = readPiece(request.body, this.#maxPieceBytes)
    if (typeof piece === 'string') return this.#refuse(request, 'BAD_REQUEST_DATA', piece)
    if (this.#isClosed)
      return this.#refuse(request, 'EXECUTION_EXCEPTION', 'the receiver is closed')
    const known = this.#streams.get(piece.transaction)
    if (known !== undefined && known.origin !== request.origin)
      return this.#refuse(request, 'BAD_REQUEST_DATA', 'the stream belongs to another cell')
    if (known === undefined) return this.#open(request, piece)
    if (known.isBusy || piece.sequence !== known.nextSequence) {
      const reason = known.isBusy
        ? 'a piece came before the one before was answered'
        : `piece ${piece.sequence} came where ${known.nextSequence} was due`
      await this.#abandon(piece.transaction, reason)
      return this.#refuse(request, 'BAD_REQUEST_DATA', reason)
    }
    return this.#take(request, piece, known)
  }

  async abort(request: AuxRequest): Promise<Shareable> {
    const transaction = request.body.headers.get(HEADER.transaction)
    if (typeof transaction !== 'string') return outcome('BAD_REQUEST_DATA')
    // A sender says this at the end of every stream, also of a complete one: then it is unknown here by now.
    if (this.#streams.get(transaction)?.origin === request.origin)
      await this.#abandon(transaction, 'the sender gave up')
    return outcome('OK')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await Promise.all(
      [...this.#streams.keys()].map((transaction) =>
        this.#abandon(transaction, 'the receiver was closed'),
      ),
    )
  }

  async #open(request: AuxRequest, piece: Piece): Promise<Shareable> {
    const { transaction } = piece
    if (piece.sequence !== 0 || piece.context === undefined)
      return this.#refuse(
        request,
        'BAD_REQUEST_DATA',
        'the stream does not begin with its first piece',
      )
    if (this.#opening.has(transaction))
      return this.#refuse(request, 'BAD_REQUEST_DATA', 'the first piece came twice')
    const senders = [...this.#opening.values(), ...[...this.#streams.values()].map((s) => s.origin)]
    const ofSender = senders.filter((origin) => origin === request.origin).length
    if (senders.length >= this.#maxStreams || ofSender >= this.#maxStreamsPerSender)
      return this.#refuse(
        request,
        'EXECUTION_EXCEPTION',
        `too many streams are open: ${senders.length} of ${this.#maxStreams}, ${ofSender} of ${this.#maxStreamsPerSender} by this sender`,
      )
    this.#opening.set(transaction, request.origin)
    let decision: ObjectStreamDecision | undefined
    try {
      decision = await this.#components.open({
        origin: request.origin,
        channel: piece.channel,
        topic: piece.topic,
        context: piece.context,
        request,
      })
    } catch (error) {
      return this.#refuse(request, 'EXECUTION_EXCEPTION', messageOf(error))
    } finally {
      this.#opening.delete(transaction)
    }
    if (decision === undefined)
      return this.#refuse(
        request,
        'EXECUTION_EXCEPTION',
        `nobody receives ${piece.channel}:${piece.topic}`,
      )
    if ('refusal' in decision) {
      // A stock sender reads the end result only of a stream that went well; one that is over may say so.
      const reply = outcome(piece.isLast ? 'OK' : 'EXECUTION_EXCEPTION')
      reply.headers.set(HEADER.endResult, decision.refusal)
      return reply
    }
    if (this.#isClosed) {
      await decision.abandon('the receiver was closed')
      return this.#refuse(request, 'EXECUTION_EXCEPTION', 'the receiver is closed')
    }
    const stream: OpenStream = {
      origin: request.origin,
      consumer: decision,
      nextSequence: 0,
      isBusy: false,
      idleTimer: this.#idleTimer(transaction),
    }
    this.#streams.set(transaction, stream)
    return this.#take(request, piece, stream)
  }

  async #take(request: AuxRequest, piece: Piece, stream: OpenStream): Promise<Shareable> {
    const { transaction, data, isLast } = piece
    stream.idleTimer[Symbol.dispose]()
    stream.isBusy = true
    stream.nextSequence = piece.sequence + 1
    try {
      if (data.length > 0) await stream.consumer.take(data)
      // Given up while the piece was being taken: somebody else has called `abandon`.
      if (this.#streams.get(transaction) !== stream) return outcome('TASK_ABORTED')
      if (!isLast) {
        stream.isBusy = false
        stream.idleTimer = this.#idleTimer(transaction)
        return outcome('OK')
      }
    } catch (error) {
      const reason = messageOf(error)
      await this.#abandon(transaction, reason)
      return this.#refuse(request, 'EXECUTION_EXCEPTION', reason)
    }
    this.#streams.delete(transaction)
    try {
      const result = await stream.consumer.finish()
      const reply = outcome('OK')
      if (result !== undefined) reply.headers.set(HEADER.endResult, result)
      return reply
    } catch (error) {
      return this.#refuse(request, 'EXECUTION_EXCEPTION', messageOf(error))
    }
  }

  async #abandon(transaction: string, reason: string): Promise<void> {
    const stream = this.#streams.get(transaction)
    if (stream === undefined) return
    this.#streams.delete(transaction)
    stream.idleTimer[Symbol.dispose]()
    await stream.consumer.abandon(reason)
  }

  #idleTimer(transaction: string): Disposable {
    const { clock, logger } = this.#components
    return clock.setTimer(this.#idleTimeoutMs, () => {
      const reason = `nothing came for ${this.#idleTimeoutMs} ms`
      this.#abandon(transaction, reason).catch((error: unknown) =>
        logger.error('a stream was not cleaned up', { error: messageOf(error) }),
      )
    })
  }

  #refuse(request: AuxRequest, code: ApplicationReturnCode, reason: string): Shareable {
    this.#components.logger.warn('a pushed stream was refused', { from: request.origin, reason })
    return outcome(code)
  }
}

interface Piece {
  readonly transaction: string
  readonly sequence: number
  readonly channel: string
  readonly topic: string
  /** In the first message only. */
  readonly context: ReadonlyMap<FobsValue, FobsValue> | undefined
  readonly data: Uint8Array
  readonly isLast: boolean
}

const MAX_NAME_CHARACTERS = 256
const EMPTY = new Uint8Array(0)

/** @returns the piece, or what is wrong with it */
function readPiece({ headers, content }: Shareable, maxPieceBytes: number): Piece | string {
  const transaction = nameOf(headers.get(HEADER.transaction))
  const channel = nameOf(headers.get(HEADER.channel))
  const topic = nameOf(headers.get(HEADER.topic))
  const sequence = headers.get(HEADER.sequence)
  if (transaction === undefined || channel === undefined || topic === undefined)
    return `transaction, channel and topic must be texts of 1 to ${MAX_NAME_CHARACTERS} characters`
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence) || sequence < 0)
    return 'the sequence number must be a whole number from 0'
  const data = content.get(KEY.data) ?? EMPTY
  const size = content.get(KEY.size) ?? 0
  if (!(data instanceof Uint8Array)) return 'the data must be bytes'
  if (data.length > maxPieceBytes)
    return `the piece has ${data.length} bytes; at most ${maxPieceBytes} are taken`
  if (size !== data.length) return `the piece has ${data.length} bytes and says otherwise`
  const context = headers.get(HEADER.context)
  return {
    transaction,
    sequence,
    channel,
    topic,
    context: context instanceof Map ? context : undefined,
    data,
    isLast: content.get(KEY.isLast) === true,
  }
}

function nameOf(value: FobsValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME_CHARACTERS
    ? value
    : undefined
}
