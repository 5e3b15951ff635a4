import { type FobsValue, joinBytes } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue } from '../headers.ts'
import { type CellMessage, checkedMessage } from './cell-message.ts'

/** Stock cells put up to 100 messages into one. */
const MAX_ITEMS = 1_000

/**
 * The messages inside a bulk message (`spec/transport.md` §6.5), for this cell only. Origin and route are those
 * of the bulk message, whatever its items say; replies to them are not wanted.
 * @throws {CellError} `ERR_BODY`
 */
export function bulkItems(bulk: CellMessage, body: FobsValue): CellMessage[] {
  if (!Array.isArray(body)) throw new CellError('ERR_BODY', 'a bulk body must be a list')
  if (body.length > MAX_ITEMS)
    throw new CellError('ERR_BODY', `a bulk body has ${body.length} items, more than ${MAX_ITEMS}`)
  return body.map((item) => readItem(bulk, item))
}

function readItem(bulk: CellMessage, item: FobsValue): CellMessage {
  const message = field(item, 'message')
  const inner = field(message, 'headers')
  const channel = field(item, 'channel')
  const topic = field(item, 'topic')
  if (!(inner instanceof Map) || typeof channel !== 'string' || typeof topic !== 'string')
    throw new CellError('ERR_BODY', 'a bulk item lacks channel, topic or headers')
  if (field(item, 'target') !== bulk.destination)
    throw new CellError('ERR_BODY', 'a bulk item is for another cell')
  const headers = new Map<string, HeaderValue>()
  for (const [key, value] of inner)
    if (typeof key === 'string' && isHeaderValue(value)) headers.set(key, value)
  const encoding = headers.get(HEADER.payloadEncoding)
  for (const [key, value] of bulk.headers) headers.set(key, value)
  headers.set(HEADER.channel, channel)
  headers.set(HEADER.topic, topic)
  headers.set(HEADER.replyExpected, false)
  headers.set(HEADER.payloadEncoding, encoding ?? 'bytes')
  return checkedMessage(headers, payloadOf(field(message, 'payload')), bulk.session)
}

function field(value: FobsValue | undefined, key: string): FobsValue | undefined {
  return value instanceof Map ? value.get(key) : undefined
}

function payloadOf(value: FobsValue | undefined): Uint8Array {
  if (value === null || value === undefined) return new Uint8Array(0)
  if (value instanceof Uint8Array) return value
  // FOBS payloads come in pieces.
  if (Array.isArray(value)) {
    const pieces = value.filter((piece) => piece instanceof Uint8Array)
    if (pieces.length === value.length) return joinBytes(pieces)
  }
  throw new CellError('ERR_BODY', 'the payload of a bulk item is no bytes')
}

function isHeaderValue(value: FobsValue): value is null | boolean | number | string | Uint8Array {
  return value === null || typeof value !== 'object' || value instanceof Uint8Array
}
