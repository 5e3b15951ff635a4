import type { StoredBytes } from '@hanse/contract'
import { type DatumType, datumIdBytes, datumIdText } from './datum.ts'
import { FobsError } from './fobs-error.ts'
import type { FobsLimits } from './fobs-limits.ts'
import { joinBytes } from './fobs-value.ts'

const HEADER_BYTES = 10
const ID_BYTES = 16
const MAIN = 100
const TYPES: ReadonlyMap<number, DatumType> = new Map([
  [101, 'text'],
  [102, 'blob'],
  [103, 'file'],
])
const MARKERS: ReadonlyMap<DatumType, number> = new Map(
  [...TYPES].map(([marker, type]) => [type, marker]),
)

/** A datum as it lies in an envelope. */
export interface DatumSection {
  readonly id: string
  readonly type: DatumType
  /** Datum object type; 0 for ordinary values. */
  readonly dot: number
  /** View on the envelope. */
  readonly bytes: Uint8Array
}

export interface Envelope {
  /** View on the envelope. */
  readonly main: Uint8Array
  readonly datums: readonly DatumSection[]
}

/**
 * Splits an envelope (§2). Everything is a view; a declared size is compared with what is there before use.
 * @throws {FobsError} `ERR_FOBS_ENVELOPE`, `ERR_FOBS_DATUM` on a repeated id, `ERR_FOBS_LIMIT`
 */
export function readEnvelope(bytes: Uint8Array, limits: FobsLimits): Envelope {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const first = readSection(view, 0)
  if (first.marker !== MAIN)
    throw new FobsError('ERR_FOBS_ENVELOPE', 'the first section is not the main section')
  if (first.dot !== 0)
    throw new FobsError('ERR_FOBS_ENVELOPE', `the main section has DOT ${first.dot}, not 0`)
  if (first.end === first.start)
    throw new FobsError('ERR_FOBS_ENVELOPE', 'the main section is empty')
  const datums: DatumSection[] = []
  const ids = new Set<string>()
  for (let at = first.end; at < bytes.length; ) {
    if (datums.length + 2 > limits.maxSections)
      throw new FobsError(
        'ERR_FOBS_LIMIT',
        `the number of sections is over maxSections ${limits.maxSections}`,
      )
    const { marker, dot, start, end } = readSection(view, at)
    const type = TYPES.get(marker)
    if (type === undefined)
      throw new FobsError('ERR_FOBS_ENVELOPE', `a later section has marker ${marker}, no datum's`)
    if (end - start <= ID_BYTES)
      throw new FobsError('ERR_FOBS_ENVELOPE', 'a datum section has no id or no value')
    const id = datumIdText(bytes.subarray(start, start + ID_BYTES))
    if (ids.has(id)) throw new FobsError('ERR_FOBS_DATUM', 'two datums have the same id')
    ids.add(id)
    datums.push({ id, type, dot, bytes: bytes.subarray(start + ID_BYTES, end) })
    at = end
  }
  return { main: bytes.subarray(first.start, first.end), datums }
}

/**
 * Where the value of the first datum begins, as the head of an envelope has it: for receivers that can choose
 * where in memory a payload comes to lie, so that a large array in it need not be moved. Nothing is checked.
 * @returns 0 when `head` is too short to tell
 */
export function firstDatumOffset(head: Uint8Array): number {
  if (head.length < HEADER_BYTES) return 0
  const mainBytes = new DataView(head.buffer, head.byteOffset).getBigUint64(2)
  return HEADER_BYTES + Number(mainBytes) + HEADER_BYTES + ID_BYTES
}

/** How long the main section says it is, as the head of an envelope has it. Nothing is checked. */
export function mainSectionBytes(head: Uint8Array): number {
  if (head.length < HEADER_BYTES) return 0
  return Number(new DataView(head.buffer, head.byteOffset).getBigUint64(2))
}

/** An envelope outside of memory, with one byte in memory in place of each long blob. */
export interface HollowEnvelope {
  readonly bytes: Uint8Array
  /** Where the blob is for which `value`, a view on `bytes`, stands; `undefined` for a value of its own. */
  placeOf(value: Uint8Array): { readonly start: number; readonly byteLength: number } | undefined
}

/**
 * Brings an envelope into memory, but for its blobs of `minBytes` and more: to be decoded as others are. What is wrong
 * with its sections is left as it is, for the decoder to find.
 * @param maxBytes most bytes to bring
 * @throws {FobsError} `ERR_FOBS_LIMIT`
 */
export function hollowEnvelope(
  stored: StoredBytes,
  { minBytes, maxBytes }: { readonly minBytes: number; readonly maxBytes: number },
): HollowEnvelope {
  const parts: Uint8Array[] = []
  const places = new Map<number, { start: number; byteLength: number }>()
  let length = 0
  const bring = (start: number, byteLength: number): Uint8Array => {
    length += byteLength
    if (length > maxBytes)
      throw new FobsError(
        'ERR_FOBS_LIMIT',
        `an envelope without its blobs has over ${maxBytes} bytes`,
      )
    const bytes = new Uint8Array(byteLength)
    stored.read(bytes, start)
    parts.push(bytes)
    return bytes
  }
  for (let at = 0; at < stored.byteLength; ) {
    const header = bring(at, Math.min(HEADER_BYTES, stored.byteLength - at))
    at += header.length
    if (header.length < HEADER_BYTES) break
    const view = new DataView(header.buffer)
    const bytesInSection = Number(view.getBigUint64(2))
    if (bytesInSection > stored.byteLength - at) break
    const byteLength = bytesInSection - ID_BYTES
    if (TYPES.get(view.getUint8(0)) !== 'blob' || byteLength < minBytes) bring(at, bytesInSection)
    else {
      bring(at, ID_BYTES)
      places.set(length, { start: at + ID_BYTES, byteLength })
      bring(at + ID_BYTES, 1)
      view.setBigUint64(2, BigInt(ID_BYTES + 1))
    }
    at += bytesInSection
  }
  const bytes = joinBytes(parts)
  return {
    bytes,
    placeOf: (value) =>
      value.buffer === bytes.buffer ? places.get(value.byteOffset - bytes.byteOffset) : undefined,
  }
}

/** The header of a main section of `byteLength` bytes. */
export function mainHeader(byteLength: number): Uint8Array {
  return header(MAIN, 0, byteLength)
}

/** What stands before a datum's value: section header and id. */
export function datumHeader(
  id: string,
  type: DatumType,
  dot: number,
  byteLength: number,
): Uint8Array {
  const marker = MARKERS.get(type)
  if (marker === undefined) throw new TypeError(`no datum type ${type}`)
  const out = new Uint8Array(HEADER_BYTES + ID_BYTES)
  out.set(header(marker, dot, ID_BYTES + byteLength))
  out.set(datumIdBytes(id), HEADER_BYTES)
  return out
}

function header(marker: number, dot: number, size: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES))
  view.setUint8(0, marker)
  view.setUint8(1, dot)
  view.setBigUint64(2, BigInt(size))
  return new Uint8Array(view.buffer)
}

function readSection(
  view: DataView,
  at: number,
): { marker: number; dot: number; start: number; end: number } {
  const present = view.byteLength - at
  if (present < HEADER_BYTES)
    throw new FobsError(
      'ERR_FOBS_ENVELOPE',
      `a section header has ${HEADER_BYTES} bytes, ${present} are left`,
    )
  const start = at + HEADER_BYTES
  const size = view.getBigUint64(at + 2)
  if (size > BigInt(view.byteLength - start))
    throw new FobsError(
      'ERR_FOBS_ENVELOPE',
      `a section declares ${size} bytes, ${view.byteLength - start} are left`,
    )
  return {
    marker: view.getUint8(at),
    dot: view.getUint8(at + 1),
    start,
    end: start + Number(size),
  }
}
