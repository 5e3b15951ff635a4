import type { Cell } from '@hanse/cellnet'
import type { AbortOptions } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  notifyAux,
  type PublicProperties,
  requestAux,
  returnCodeOf,
} from '../aux-messages/aux-messages.ts'
import { Shareable } from '../messages/shareable.ts'
import {
  OBJECT_STREAM_HEADER as HEADER,
  OBJECT_STREAM_KEY as KEY,
  OBJECT_STREAM_PIECE_BYTES,
  OBJECT_STREAM_TOPIC,
} from './object-stream-names.ts'

export interface ObjectStreamSenderComponents {
  readonly cell: Cell
  readonly ownProperties: PublicProperties
}

/** One file to push. */
export interface OutgoingObjectStream {
  readonly target: string
  readonly channel: string
  readonly topic: string
  /** For the receiver, beside what the streamer itself puts in. */
  readonly context: ReadonlyMap<string, FobsValue>
  readonly fileName: string
  /** Octets that `content` will give, exactly. */
  readonly fileSize: number
  /** Pieces of any length; each is borrowed until the next is asked for. */
  readonly content: AsyncIterable<Uint8Array>
}

export interface SendObjectStreamOptions extends AbortOptions {
  /** How long the answer to one piece may take. Default 5 s, as stock; the last one includes the receiver's work. */
  readonly pieceTimeoutMs?: number | undefined
  readonly lastPieceTimeoutMs?: number | undefined
  readonly pieceBytes?: number | undefined
  readonly onProgress?: ((sentBytes: number) => void) | undefined
}

export interface ObjectStreamResult {
  /** `OK`, or the code with which the receiver ended it. */
  readonly returnCode: string
  /** What the receiver said at the end; also of a stream it did not want. */
  readonly endResult: FobsValue | undefined
  readonly sentBytes: number
}

/**
 * Pushes a file in pieces, each answered before the next goes (`spec/session.md` §6.14).
 * @throws what `content` throws, `signal.reason`, or RangeError if `content` gives another number of octets than
 * `fileSize`; the receiver is told in every case
 */
export async function sendObjectStream(
  { cell, ownProperties }: ObjectStreamSenderComponents,
  stream: OutgoingObjectStream,
  options: SendObjectStreamOptions = {},
): Promise<ObjectStreamResult> {
  const transaction = crypto.randomUUID()
  const { pieceTimeoutMs = 5_000, lastPieceTimeoutMs = 60_000 } = options
  let sequence = 0
  let sentBytes = 0
  try {
    for await (const { data, isLast } of pieces(
      stream.content,
      options.pieceBytes ?? OBJECT_STREAM_PIECE_BYTES,
    )) {
      options.signal?.throwIfAborted()
      if (
        sentBytes + data.length > stream.fileSize ||
        (isLast && sentBytes + data.length !== stream.fileSize)
      )
        throw new RangeError(
          `the content has ${sentBytes + data.length} bytes or more, its size was given as ${stream.fileSize}`,
        )
      const body = new Shareable()
      body.headers.set(HEADER.channel, stream.channel)
      body.headers.set(HEADER.topic, stream.topic)
      body.headers.set(HEADER.transaction, transaction)
      body.headers.set(HEADER.sequence, sequence)
      if (sequence === 0) body.headers.set(HEADER.context, contextOf(stream))
      body.content.set(KEY.data, data)
      body.content.set(KEY.size, data.length)
      body.content.set(KEY.isLast, isLast)
      const reply = await requestAux(
        cell,
        stream.target,
        OBJECT_STREAM_TOPIC.request,
        body,
        ownProperties,
        {
          timeoutMs: isLast ? lastPieceTimeoutMs : pieceTimeoutMs,
          signal: options.signal,
        },
      )
      sequence += 1
      const returnCode = returnCodeOf(reply)
      const endResult = reply.headers.get(HEADER.endResult)
      if (returnCode !== 'OK' || isLast)
        return { returnCode, endResult, sentBytes: sentBytes + data.length }
      sentBytes += data.length
      options.onProgress?.(sentBytes)
    }
    // `pieces` always ends with a last one.
    throw new RangeError('the content ended without a last piece')
  } finally {
    // Stock says so at the end of every stream, also of a complete one.
    const abort = new Shareable()
    abort.headers.set('__rc__', 'TASK_ABORTED')
    abort.headers.set(HEADER.transaction, transaction)
    await notifyAux(cell, stream.target, OBJECT_STREAM_TOPIC.abort, abort, ownProperties, {
      optional: true,
    })
  }
}

function contextOf(stream: OutgoingObjectStream): Map<string, FobsValue> {
  return new Map<string, FobsValue>([
    ...stream.context,
    [KEY.fileSize, stream.fileSize],
    [KEY.fileName, stream.fileName],
    ['__topic__', stream.topic],
    ['__channel__', stream.channel],
  ])
}

/** Cuts `content` into pieces of `size`; the last is shorter, if need be empty: so stock says where the end is. */
async function* pieces(
  content: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ readonly data: Uint8Array; readonly isLast: boolean }> {
  let piece = new Uint8Array(size)
  let filled = 0
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, size - filled)
      piece.set(chunk.subarray(at, at + taken), filled)
      at += taken
      filled += taken
      if (filled === size) {
        yield { data: piece, isLast: false }
        // The one just sent may still be referred to by the cell.
        piece = new Uint8Array(size)
        filled = 0
      }
    }
  }
  yield { data: piece.subarray(0, filled), isLast: true }
}
