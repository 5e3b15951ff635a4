import { type BytePart, type StoredBytes, stretchesOf } from '@hanse/contract'
import {
  ByteParts,
  coreCodecs,
  createFobsRegistry,
  decodeWhole,
  encode,
  encodeParts,
  type FobsValue,
  type HollowEnvelope,
  hollowEnvelope,
  type ItemOptions,
  Tuple,
} from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import type { EncodedBody, OutgoingBody } from '../streams/encoded-body.ts'
import { MAX_FAILED_REFS, MAX_REASON_CHARS, MAX_REF_ID_CHARS } from './download-protocol.ts'

/** Position of a receiver: opaque to it, echoed to the source. */
export type DownloadState =
  | { readonly kind: 'bytes'; readonly receivedBytes: number }
  | { readonly kind: 'items'; readonly start: number; readonly count: number }

/** What arrives on the download topic. */
export type DownloadRequest =
  | {
      readonly action: 'pull'
      readonly refId: string
      /** `undefined`: from the start. `invalid`: not of a form we know. */
      readonly state: DownloadState | 'invalid' | undefined
      readonly confirmCapable: boolean
      /** Whether items are to have them; only Hanse cells do without. */
      readonly checksums: boolean
    }
  | {
      readonly action: 'confirm'
      readonly refId: string
      readonly succeeded: boolean
      readonly nonce: string
    }
  | { readonly action: 'cancel'; readonly refId: string }

/** What a source answers to a pull. */
export type DownloadReply =
  | {
      readonly status: 'ok'
      readonly state: DownloadState
      /** One entry per item; a single one for bytes. */
      readonly data: readonly BytePart[]
      readonly cancelCapable: boolean
      /** Whether items have them if their kind does; not if the puller did without. */
      readonly checksums: boolean
    }
  | {
      readonly status: 'eof' | 'error'
      /** Set if the source waits for a confirmation. */
      readonly nonce: string | undefined
    }

/** Told by the parent of a source that died. */
export interface SourceFailure {
  readonly source: string
  readonly refIds: readonly string[]
  readonly reason: string
}

/** What stock cells neither say nor look at: items come without checksums, which they would compute and verify. */
const UNCHECKED = 'hanse_unchecked'
/** Only what is plain: the protocol's own messages hold no application types. */
const PLAIN = createFobsRegistry(coreCodecs)
const REQUEST_LIMITS = { maxPayloadBytes: 64 * 1024, maxDepth: 8, maxElements: 4096 }
/**
 * Pieces this long stand outside the main section, where the receiver can tell their place from the first bytes
 * and lay them in memory so that arrays need not be copied.
 */
const MIN_DATUM_BYTES = 64 * 1024
const ENCODING = { datumThreshold: MIN_DATUM_BYTES }
/** Room for the map around the data, which is limited by the caller. */
/** What of a stored reply is read: the map, its states, short data. */
const HOLLOW = { minBytes: MIN_DATUM_BYTES, maxBytes: 4 * 1024 * 1024 }
const REPLY_LIMITS = { maxDepth: 8, maxElements: 1_000_000, maxTextBytes: 4096 }

/** @throws {CellError} `ERR_DOWNLOAD_PROTOCOL` for anything that is no request */
export function readDownloadRequest(body: EncodedBody): DownloadRequest {
  const map = readMap(body, REQUEST_LIMITS)
  const refId = map.get('ref_id')
  if (typeof refId !== 'string' || refId === '' || refId.length > MAX_REF_ID_CHARS)
    throw protocolError('a download request names no reference')
  if (map.get('cancel') === true) return { action: 'cancel', refId }
  const confirm = map.get('confirm')
  if (confirm !== undefined) {
    const nonce = map.get('confirm_nonce')
    return {
      action: 'confirm',
      refId,
      succeeded: confirm === 'success',
      nonce: typeof nonce === 'string' ? nonce : '',
    }
  }
  const state = map.get('state')
  return {
    action: 'pull',
    refId,
    state: state === undefined || state === null ? undefined : (readState(state) ?? 'invalid'),
    confirmCapable: map.get('confirm_capable') === true,
    checksums: map.get(UNCHECKED) !== true,
  }
}

export function writePull(
  refId: string,
  state: DownloadState | undefined,
  { checksums = true }: ItemOptions = {},
): EncodedBody {
  const map = new Map<string, unknown>([
    ['ref_id', refId],
    ['confirm_capable', true],
  ])
  if (state !== undefined) map.set('state', stateMap(state))
  if (!checksums) map.set(UNCHECKED, true)
  return writeMap(map)
}

export function writeConfirmation(refId: string, succeeded: boolean, nonce: string): EncodedBody {
  return writeMap(
    new Map([
      ['ref_id', refId],
      ['confirm', succeeded ? 'success' : 'failed'],
      ['confirm_nonce', nonce],
    ]),
  )
}

export function writeCancellation(refId: string): EncodedBody {
  return writeMap(
    new Map<string, unknown>([
      ['ref_id', refId],
      ['cancel', true],
    ]),
  )
}

/**
 * @param data one value in pieces per item, or a single one for bytes; borrowed by the body
 */
export function writePiece(
  state: DownloadState,
  data: readonly (readonly BytePart[])[],
  { checksums = true }: ItemOptions = {},
): OutgoingBody {
  const values = data.map((parts) => (parts.length === 1 ? parts[0] : new ByteParts(parts)))
  const map = new Map<string, unknown>([
    ['status', 'ok'],
    ['state', stateMap(state)],
    ['data', state.kind === 'bytes' ? (values[0] ?? new Uint8Array()) : values],
    ['cancel_capable', true],
  ])
  if (!checksums) map.set(UNCHECKED, true)
  return { encoding: 'fobs', parts: encodeParts(map, PLAIN, ENCODING).parts }
}

export function writeEnd(status: 'eof' | 'error', nonce: string | undefined): EncodedBody {
  const map = new Map<string, unknown>([['status', status]])
  if (nonce !== undefined) map.set('confirm_expected', true).set('confirm_nonce', nonce)
  return writeMap(map)
}

/**
 * Reads a source's answer. Data are views on the body's bytes (joined if it came in several parts); of a stored one the
 * long ones are stretches, and release it when all of them are released.
 * @throws {CellError} `ERR_DOWNLOAD_PROTOCOL`; a stored body is released then
 */
export function readDownloadReply(body: EncodedBody): DownloadReply {
  const { stored } = body
  if (stored === undefined) return readReply(body)
  try {
    const hollow = hollowEnvelope(stored, HOLLOW)
    const reply = readReply({ encoding: body.encoding, parts: [hollow.bytes] })
    return reply.status === 'ok'
      ? { ...reply, data: withStretches(stored, reply.data, hollow) }
      : reply
  } catch (error) {
    stored.release()
    throw error instanceof CellError
      ? error
      : new CellError(
          'ERR_DOWNLOAD_PROTOCOL',
          'a download reply is unreadable',
          {},
          { cause: error },
        )
  }
}

function withStretches(
  stored: StoredBytes,
  data: readonly BytePart[],
  { placeOf }: HollowEnvelope,
): BytePart[] {
  const places = data.map((part) => (part instanceof Uint8Array ? placeOf(part) : undefined))
  const stretches = stretchesOf(
    stored,
    places.filter((place) => place !== undefined),
  )
  if (stretches.length === 0) stored.release()
  let next = 0
  return data.map((part, i) => (places[i] === undefined ? part : stretches[next++]!))
}

function readReply(body: EncodedBody): DownloadReply {
  const map = readMap(body, REPLY_LIMITS)
  const status = map.get('status')
  if (status === 'eof' || status === 'error') {
    const nonce = map.get('confirm_nonce')
    const expected = map.get('confirm_expected') === true && typeof nonce === 'string'
    return { status, nonce: expected ? nonce : undefined }
  }
  if (status !== 'ok') throw protocolError('the status of a download reply is unknown')
  const state = readState(map.get('state') ?? null)
  if (state === undefined) throw protocolError('the state of a download reply is unreadable')
  const data = map.get('data')
  const items = data instanceof Uint8Array ? [data] : data
  if (!Array.isArray(items) || !items.every((item) => item instanceof Uint8Array))
    throw protocolError('the data of a download reply are no bytes')
  return {
    status,
    state,
    data: items,
    cancelCapable: map.get('cancel_capable') === true,
    checksums: map.get(UNCHECKED) !== true,
  }
}

/** @throws {CellError} `ERR_DOWNLOAD_PROTOCOL` */
export function readSourceFailure(body: EncodedBody): SourceFailure {
  const map = readMap(body, REQUEST_LIMITS)
  const source = map.get('source_fqcn')
  const listed = map.get('ref_ids')
  const refIds = listed instanceof Tuple ? listed.items : listed
  const reason = map.get('reason')
  if (typeof source !== 'string' || source === '')
    throw protocolError('a source failure names no source')
  if (!Array.isArray(refIds) || refIds.length > MAX_FAILED_REFS)
    throw protocolError(`a source failure must list up to ${MAX_FAILED_REFS} references`)
  if (!refIds.every((id) => typeof id === 'string' && id.length <= MAX_REF_ID_CHARS))
    throw protocolError('a source failure lists something that is no reference id')
  return {
    source,
    refIds,
    reason: (typeof reason === 'string' ? reason : '').slice(0, MAX_REASON_CHARS),
  }
}

export function writeSourceFailure({ source, refIds, reason }: SourceFailure): EncodedBody {
  return writeMap(
    new Map<string, unknown>([
      ['source_fqcn', source],
      ['ref_ids', [...refIds]],
      ['reason', reason.slice(0, MAX_REASON_CHARS)],
    ]),
  )
}

function stateMap(state: DownloadState): Map<string, number> {
  return state.kind === 'bytes'
    ? new Map([['received_bytes', state.receivedBytes]])
    : new Map([
        ['start', state.start],
        ['count', state.count],
      ])
}

function readState(value: FobsValue): DownloadState | undefined {
  if (!(value instanceof Map)) return undefined
  const receivedBytes = value.get('received_bytes')
  if (isCount(receivedBytes)) return { kind: 'bytes', receivedBytes }
  const start = value.get('start')
  const count = value.get('count')
  return isCount(start) && isCount(count) ? { kind: 'items', start, count } : undefined
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function writeMap(map: ReadonlyMap<string, unknown>): EncodedBody {
  return { encoding: 'fobs', parts: encode(map, PLAIN, ENCODING).parts }
}

function readMap(
  body: EncodedBody,
  limits: typeof REQUEST_LIMITS | typeof REPLY_LIMITS,
): ReadonlyMap<FobsValue, FobsValue> {
  let value: FobsValue
  try {
    value = body.encoding === 'fobs' ? decodeWhole(body.parts, PLAIN, { limits }) : null
  } catch (cause) {
    throw new CellError('ERR_DOWNLOAD_PROTOCOL', 'a download message is unreadable', {}, { cause })
  }
  if (!(value instanceof Map)) throw protocolError('a download message is no map')
  return value
}

function protocolError(text: string): CellError {
  return new CellError('ERR_DOWNLOAD_PROTOCOL', text)
}
