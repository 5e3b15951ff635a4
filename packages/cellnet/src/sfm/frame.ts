import { CellError } from '../cell-error.ts'

/** Frame types in use; `spec/transport.md` §3.1. */
export const FRAME = { data: 1, hello: 4, ready: 5, ping: 6, pong: 7 } as const

/** `app_id` of every cell message. */
export const CELL_APP_ID = 1

export const PREFIX_BYTES = 16
/** Longest header section: its length field has 16 bits. */
export const MAX_HEADER_BYTES = 65_535
/** Longest frame that stock peers accept: 2 GiB − 2 MiB. */
export const MAX_FRAME_BYTES = 2_145_386_496

export interface FramePrefix {
  readonly type: number
  readonly appId: number
  readonly streamId: number
  readonly sequence: number
}

export interface Frame extends FramePrefix {
  /** Views on the frame's bytes. */
  readonly headers: Uint8Array
  readonly payload: Uint8Array
}

/**
 * Splits a whole frame; nothing is copied. `reserved` and `flags` are not looked at.
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
  return {
    type: view.getUint8(6),
    appId: view.getUint16(10),
    streamId: view.getUint16(12),
    sequence: view.getUint16(14),
    headers: bytes.subarray(PREFIX_BYTES, end),
    payload: bytes.subarray(end),
  }
}

/**
 * The 16 bytes in front of headers and payload.
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
  view.setUint16(10, prefix.appId)
  view.setUint16(12, prefix.streamId)
  view.setUint16(14, prefix.sequence)
  return bytes
}
