import { FRAME_CODE_BYTES } from '@hanse/contract'
import { CellError } from '../cell-error.ts'

/** Frame types in use; `spec/transport.md` §3.1. */
export const FRAME = { data: 1, hello: 4, ready: 5, ping: 6, pong: 7 } as const

/** `app_id` of every cell message. */
export const CELL_APP_ID = 1

export const PREFIX_BYTES = 16
/** Flag of a frame whose header section ends with a code over the frame; unknown to stock peers, who get none. */
const FLAG_PROVEN = 0x0100
/** Longest header section: its length field has 16 bits. */
export const MAX_HEADER_BYTES = 65_535
/** Longest frame that stock peers accept: 2 GiB − 2 MiB. */
export const MAX_FRAME_BYTES = 2_145_386_496

export interface FramePrefix {
  readonly type: number
  readonly appId: number
  readonly streamId: number
  readonly sequence: number
  /** The header section ends with a code over the frame; see `FrameProofs`. */
  readonly proven?: boolean | undefined
}

export interface Frame extends FramePrefix {
  /** The first {@link PREFIX_BYTES}; like the others a view on the frame's bytes. */
  readonly prefix: Uint8Array
  readonly headers: Uint8Array
  /** Empty unless `proven`. */
  readonly code: Uint8Array
  readonly payload: Uint8Array
}

/**
 * Splits a whole frame; nothing is copied. Of `reserved` and `flags` only our own flag is looked at.
 * @throws {CellError} `ERR_FRAME` if the lengths do not fit together
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length < PREFIX_BYTES)
    throw new CellError('ERR_FRAME', `frame of ${bytes.length} bytes is shorter than its prefix`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getUint32(0)
  if (length !== bytes.length)
    throw new CellError('ERR_FRAME', `frame says ${length} bytes, but has ${bytes.length}`)
  const end = PREFIX_BYTES + view.getUint16(4)
  if (end > length)
    throw new CellError('ERR_FRAME', `headers end at ${end}, after the frame's ${length} bytes`)
  const proven = (view.getUint16(8) & FLAG_PROVEN) !== 0
  const headersEnd = proven ? end - FRAME_CODE_BYTES : end
  if (headersEnd < PREFIX_BYTES)
    throw new CellError(
      'ERR_FRAME',
      `a frame with a code has only ${end - PREFIX_BYTES} bytes of headers`,
    )
  return {
    type: view.getUint8(6),
    appId: view.getUint16(10),
    streamId: view.getUint16(12),
    sequence: view.getUint16(14),
    proven,
    prefix: bytes.subarray(0, PREFIX_BYTES),
    headers: bytes.subarray(PREFIX_BYTES, headersEnd),
    code: bytes.subarray(headersEnd, end),
    payload: bytes.subarray(end),
  }
}

/**
 * The 16 bytes in front of headers and payload; `headerBytes` counts a code too.
 * @throws {CellError} `ERR_HEADERS`, `ERR_LIMIT` if a length does not fit its field
 */
export function encodePrefix(
  prefix: FramePrefix,
  headerBytes: number,
  payloadBytes: number,
): Uint8Array {
  if (headerBytes > MAX_HEADER_BYTES)
    throw new CellError('ERR_HEADERS', `${headerBytes} header bytes exceed ${MAX_HEADER_BYTES}`)
  const length = PREFIX_BYTES + headerBytes + payloadBytes
  if (length > MAX_FRAME_BYTES)
    throw new CellError('ERR_LIMIT', `a frame of ${length} bytes exceeds ${MAX_FRAME_BYTES}`)
  const bytes = new Uint8Array(PREFIX_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, length)
  view.setUint16(4, headerBytes)
  view.setUint8(6, prefix.type)
  if (prefix.proven === true) view.setUint16(8, FLAG_PROVEN)
  view.setUint16(10, prefix.appId)
  view.setUint16(12, prefix.streamId)
  view.setUint16(14, prefix.sequence)
  return bytes
}
