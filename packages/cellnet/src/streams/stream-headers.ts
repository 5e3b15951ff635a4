import { HEADER, type MessageHeaders, textHeader } from '../headers.ts'
import type { BodyEncoding } from './encoded-body.ts'
import { STREAM_HEADER, STREAM_TYPE } from './stream-protocol.ts'

/** What one DATA message says of itself and its stream; everything is checked for type and range. */
export interface ChunkHeaders {
  readonly id: number
  readonly final: boolean
  readonly sequence: number
  readonly offset: number
  /** Declared length of the whole stream in bytes; 0: unknown, or empty. */
  readonly size: number
  readonly channel: string
  readonly topic: string
  readonly reliable: boolean
  readonly optional: boolean
  /** Whether this chunk was encrypted end to end. */
  readonly secure: boolean
  readonly requestId: string | undefined
  readonly encoding: BodyEncoding
  /** Sender's parameters; `undefined` where it said nothing usable. */
  readonly chunkBytes: number | undefined
  readonly windowBytes: number | undefined
  readonly ackIntervalBytes: number | undefined
  /** How long a finished reliable stream may still be resent. */
  readonly retryMs: number | undefined
}

/** A DATA message that cannot be used. `id` is there if at least that could be read. */
export interface InvalidChunk {
  readonly invalid: string
  readonly id: number | undefined
}

const MAX_SEQUENCE = 2 ** 32
const MAX_NAME_CHARS = 512

/** A non-negative integer that JavaScript holds exactly. */
export function countHeader(headers: MessageHeaders, key: string): number | undefined {
  const value = headers.get(key)
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function positiveHeader(headers: MessageHeaders, key: string): number | undefined {
  const value = countHeader(headers, key)
  return value === undefined || value === 0 ? undefined : value
}

function secondsHeader(headers: MessageHeaders, key: string): number | undefined {
  const value = headers.get(key)
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}

function nameHeader(headers: MessageHeaders, key: string): string | undefined {
  const value = textHeader(headers, key)
  return value !== undefined && value.length <= MAX_NAME_CHARS ? value : undefined
}

function encodingOf(headers: MessageHeaders): BodyEncoding | undefined {
  const value = headers.get(STREAM_HEADER.encoding)
  if (value === undefined) return 'bytes'
  return value === 'fobs' || value === 'bytes' || value === 'none' ? value : undefined
}

/** Reads a CHUNK or FINAL message; total: any headers give a result. */
export function readChunkHeaders(headers: MessageHeaders): ChunkHeaders | InvalidChunk {
  const id = countHeader(headers, STREAM_HEADER.id)
  if (id === undefined) return { invalid: 'stream id is not an integer', id }
  const type = headers.get(STREAM_HEADER.type)
  if (type !== STREAM_TYPE.chunk && type !== STREAM_TYPE.final)
    return { invalid: 'data type is neither CHUNK nor FINAL', id }
  const sequence = countHeader(headers, STREAM_HEADER.sequence)
  if (sequence === undefined || sequence >= MAX_SEQUENCE)
    return { invalid: 'sequence is not an integer below 2^32', id }
  const offset = countHeader(headers, STREAM_HEADER.offset)
  if (offset === undefined) return { invalid: 'offset is not a non-negative integer', id }
  const size = headers.has(STREAM_HEADER.size) ? countHeader(headers, STREAM_HEADER.size) : 0
  if (size === undefined) return { invalid: 'size is not a non-negative integer', id }
  const channel = nameHeader(headers, STREAM_HEADER.channel)
  const topic = nameHeader(headers, STREAM_HEADER.topic)
  if (channel === undefined || topic === undefined)
    return { invalid: `channel or topic is not a text of up to ${MAX_NAME_CHARS} characters`, id }
  const encoding = encodingOf(headers)
  if (encoding === undefined)
    return { invalid: 'payload encoding is none of fobs, bytes, none', id }
  const hasRequestId = headers.has(STREAM_HEADER.requestId)
  const requestId = nameHeader(headers, STREAM_HEADER.requestId)
  if (hasRequestId && requestId === undefined)
    return { invalid: `request id is not a text of up to ${MAX_NAME_CHARS} characters`, id }

  const retryWait = secondsHeader(headers, STREAM_HEADER.retryWait)
  const retryTimeout = secondsHeader(headers, STREAM_HEADER.retryTimeout)
  return {
    id,
    final: type === STREAM_TYPE.final,
    sequence,
    offset,
    size,
    channel,
    topic,
    reliable: headers.get(STREAM_HEADER.reliable) === true,
    optional: headers.get(STREAM_HEADER.optional) === true,
    secure: headers.get(HEADER.secure) === true,
    // An empty request id asks for no reply, as a missing one does.
    requestId: requestId === '' ? undefined : requestId,
    encoding,
    chunkBytes: positiveHeader(headers, STREAM_HEADER.chunkSize),
    windowBytes: positiveHeader(headers, STREAM_HEADER.windowSize),
    ackIntervalBytes: positiveHeader(headers, STREAM_HEADER.ackInterval),
    retryMs:
      retryWait === undefined || retryTimeout === undefined
        ? undefined
        : (retryWait + retryTimeout) * 1000,
  }
}
