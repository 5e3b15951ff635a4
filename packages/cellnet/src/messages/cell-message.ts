import { CellError } from '../cell-error.ts'
import { HEADER, type HeaderValue, textHeader } from '../headers.ts'
import { fqcnFault } from '../routing/fqcn.ts'
import type { Frame } from '../sfm/frame.ts'
import type { Session } from '../sfm/session.ts'
import { decodeMap } from '../sfm/wire-map.ts'

/** Payloads from here on are worth giving their memory back. */
const LONG_PAYLOAD_BYTES = 64 * 1024
/** A message never crosses more cells than this: real leagues have a handful of levels. */
const MAX_HOPS = 32

export type MessageType = 'req' | 'reply' | 'return'

/** A message as it arrived, its required headers checked (`spec/transport.md` §5.1). */
export interface CellMessage {
  readonly type: MessageType
  readonly origin: string
  readonly destination: string
  readonly channel: string
  readonly topic: string
  /** Filters may change them. */
  readonly headers: Map<string, HeaderValue>
  readonly payload: Uint8Array
  /** Where it came from; `undefined` for a message to ourselves. */
  readonly session: Session | undefined
  /** For whoever is the last to use a long payload: gives the memory of its frame back, which empties all views. */
  readonly release?: (() => void) | undefined
}

/** @throws {CellError} `ERR_HEADERS` if a stock peer would drop the message too */
export function parseMessage(frame: Frame, session: Session): CellMessage {
  const { headers, payload } = frame
  const { connection } = session
  if (payload.length < LONG_PAYLOAD_BYTES || connection.release === undefined)
    return checkedMessage(decodeMap(headers), payload, session)
  // Headers that are bytes are views, too: they outlive the frame.
  const message = checkedMessage(decodeMap(headers.slice()), payload, session)
  return { ...message, release: () => connection.release?.(wholeFrame(frame)) }
}

function wholeFrame({ prefix, headers, code, payload }: Frame): Uint8Array {
  const length = prefix.length + headers.length + code.length + payload.length
  return new Uint8Array(prefix.buffer, prefix.byteOffset, length)
}

/** The same for headers that were not read from a frame. */
export function checkedMessage(
  headers: Map<string, HeaderValue>,
  payload: Uint8Array,
  session: Session | undefined,
): CellMessage {
  const type = headers.get(HEADER.messageType)
  if (type !== 'req' && type !== 'reply' && type !== 'return')
    throw new CellError('ERR_HEADERS', `header ${HEADER.messageType} is missing or unknown`)
  checkRoute(headers.get(HEADER.route))
  return {
    type,
    origin: requiredName(headers, HEADER.origin),
    destination: requiredName(headers, HEADER.destination),
    channel: textHeader(headers, HEADER.channel) ?? '',
    topic: textHeader(headers, HEADER.topic) ?? '',
    headers,
    payload,
    session,
  }
}

function requiredName(headers: Map<string, HeaderValue>, key: string): string {
  const name = textHeader(headers, key)
  const fault = name === undefined ? 'missing' : fqcnFault(name)
  if (name === undefined || fault !== undefined)
    throw new CellError('ERR_HEADERS', `header ${key} holds no cell name: ${fault}`)
  return name
}

function checkRoute(route: HeaderValue | undefined): void {
  if (route === undefined) return
  if (!Array.isArray(route)) throw new CellError('ERR_HEADERS', 'the route is no list')
  if (route.length > MAX_HOPS)
    throw new CellError('ERR_HEADERS', `the route has ${route.length} hops, more than ${MAX_HOPS}`)
  for (const hop of route)
    if (!Array.isArray(hop) || typeof hop[0] !== 'string' || typeof hop[1] !== 'number')
      throw new CellError('ERR_HEADERS', 'a hop of the route is no pair of name and time')
}

/** Names on the route, creator first. */
export function routeNames(headers: ReadonlyMap<string, HeaderValue>): string[] {
  const route = headers.get(HEADER.route)
  if (!Array.isArray(route)) return []
  return route.flatMap((hop) => (Array.isArray(hop) && typeof hop[0] === 'string' ? [hop[0]] : []))
}

/** Appends a hop to the route, which is copied: the old list may be in use elsewhere. */
export function appendHop(headers: Map<string, HeaderValue>, fqcn: string, nowMs: number): void {
  const route = headers.get(HEADER.route)
  const hops = Array.isArray(route) ? route : []
  headers.set(HEADER.route, [...hops, [fqcn, nowMs / 1000]])
}

/** The one or several request ids that a reply answers. */
export function requestIds(headers: ReadonlyMap<string, HeaderValue>): string[] {
  const id = headers.get(HEADER.requestId)
  if (typeof id === 'string') return [id]
  if (!Array.isArray(id)) return []
  return id.filter((one) => typeof one === 'string')
}
