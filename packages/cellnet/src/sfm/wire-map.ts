import { messageOf } from '@hanse/contract'
import { decodeMsgpack, encodeMsgpack, Float, joinBytes, type MsgpackInput } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue } from '../headers.ts'
import { MAX_HEADER_BYTES } from './frame.ts'

const LIMITS = {
  maxPayloadBytes: MAX_HEADER_BYTES,
  // Original headers nest once for each cell that could not deliver.
  maxDepth: 32,
  maxElements: 20_000,
  maxTextBytes: MAX_HEADER_BYTES,
  maxKeyBytes: 1024,
}

/** Headers whose numbers are floats for stock peers, even whole ones. */
const FLOAT_KEYS = new Set<string>([HEADER.sendTime, 'timestamp', 'sm__rw', 'sm__rt'])

/**
 * Reads the map of a header section or control frame.
 * @throws {CellError} `ERR_HEADERS`
 */
export function decodeMap(bytes: Uint8Array): Map<string, HeaderValue> {
  if (bytes.length === 0) return new Map()
  let value: HeaderValue
  try {
    value = decodeMsgpack(bytes, LIMITS)
  } catch (cause) {
    throw new CellError(
      'ERR_HEADERS',
      `headers are not readable: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
  if (!(value instanceof Map)) throw new CellError('ERR_HEADERS', 'headers are no map')
  return value
}

/** Writes a header map; integers stay integers, the times that stock peers send as floats stay floats. */
export function encodeMap(map: ReadonlyMap<string, HeaderValue>): Uint8Array {
  return joinBytes(encodeMsgpack(wireMap(map)))
}

function wireMap(map: ReadonlyMap<string, HeaderValue>): Map<string, MsgpackInput> {
  const wire = new Map<string, MsgpackInput>()
  for (const [key, value] of map) wire.set(key, wireValue(key, value))
  return wire
}

function wireValue(key: string, value: HeaderValue): MsgpackInput {
  if (typeof value === 'number') return FLOAT_KEYS.has(key) ? new Float(value) : value
  if (key === HEADER.route && Array.isArray(value)) return value.map(wireHop)
  if (key === HEADER.originalHeaders && value instanceof Map) return wireMap(value)
  return value
}

function wireHop(hop: HeaderValue): MsgpackInput {
  if (!Array.isArray(hop)) return hop
  return hop.map((part) => (typeof part === 'number' ? new Float(part) : part))
}
