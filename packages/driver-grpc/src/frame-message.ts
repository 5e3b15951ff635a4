import { TransportError } from '@hanse/contract'
import { ChunkQueue, type FrameReader } from '@hanse/driver-socket'

/*
 * A frame as it lies in the stream of a call (`spec/transport.md` §2.6):
 *
 *     compressed flag 0 | length, 4 bytes | message Frame { int32 seq = 1; bytes data = 2; }
 *
 * where `data` is a whole SFM frame.
 */
const HEAD_BYTES = 5
const SEQ_TAG = 0x08
const DATA_TAG = 0x12
/** What a message may have beside its data: our two fields need at most 18 bytes; the rest is for fields to come. */
const MESSAGE_OVERHEAD_BYTES = 64
/** The shortest SFM frame is the bare prefix, whose first four bytes are the frame's length. */
const PREFIX_BYTES = 16

const WIRE_VARINT = 0
const WIRE_64_BIT = 1
const WIRE_BYTES = 2
const WIRE_32_BIT = 5

const SEQ_FIELD = 1
const DATA_FIELD = 2
const MAX_SEQ = 2 ** 31 - 1
const MAX_TAG = 2 ** 32 - 1

/** The number after `seq`; wraps, since receivers only log it. */
export function nextSeq(seq: number): number {
  return seq === MAX_SEQ ? 1 : seq + 1
}

/** Puts the head of a message before the parts of a frame; the parts are not copied. */
export function wrapFrame(frame: readonly Uint8Array[], seq: number): readonly Uint8Array[] {
  const length = frame.reduce((sum, part) => sum + part.length, 0)
  const fields: number[] = [SEQ_TAG]
  pushVarint(fields, seq)
  fields.push(DATA_TAG)
  pushVarint(fields, length)
  const head = new Uint8Array(HEAD_BYTES + fields.length)
  new DataView(head.buffer).setUint32(1, fields.length + length)
  head.set(fields, HEAD_BYTES)
  return [head, ...frame]
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
}

/**
 * Cuts the stream of a call into frames. Lengths are checked before anything is kept for them: that of the message
 * with room for its other fields, then that of the data in it.
 */
export class MessageSplitter implements FrameReader {
  maxFrameBytes: number
  readonly chunks = new ChunkQueue()
  /** Length of the message at the front; `undefined` while unknown. */
  #length: number | undefined

  constructor(maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes
  }

  get isEmpty(): boolean {
    return this.chunks.length === 0 && this.#length === undefined
  }

  next(): Uint8Array | undefined {
    if (this.#length === undefined) {
      if (this.chunks.length < HEAD_BYTES) return undefined
      this.#length = this.#readHead()
    }
    if (this.chunks.length < this.#length) return undefined
    const message = this.chunks.take(this.#length)
    this.#length = undefined
    return this.#frameIn(message)
  }

  #readHead(): number {
    const head = this.chunks.take(HEAD_BYTES)
    const length = new DataView(head.buffer, head.byteOffset).getUint32(1)
    if (head[0] !== 0)
      throw new TransportError(
        'ERR_PROTOCOL',
        'the peer sent a compressed message; no compression was agreed on',
        { reason: 'compressed' },
      )
    const most = this.maxFrameBytes + MESSAGE_OVERHEAD_BYTES
    if (length > most)
      throw new TransportError(
        'ERR_FRAME_LENGTH',
        `a message of ${length} bytes is longer than the ${most} allowed`,
        { length, maxFrameBytes: this.maxFrameBytes },
      )
    return length
  }

  #frameIn(message: Uint8Array): Uint8Array {
    const frame = dataOf(message)
    const isTooShort = frame.length < PREFIX_BYTES
    const length = isTooShort
      ? 0
      : new DataView(frame.buffer, frame.byteOffset, frame.length).getUint32(0)
    if (isTooShort || length !== frame.length || length > this.maxFrameBytes)
      throw new TransportError(
        'ERR_FRAME_LENGTH',
        `a message holds ${frame.length} bytes for a frame that says it has ${length}; ${PREFIX_BYTES}…${this.maxFrameBytes} are allowed`,
        { length, dataBytes: frame.length, maxFrameBytes: this.maxFrameBytes },
      )
    return frame
  }
}

/** Reads the fields of one message; as in all of protobuf, the last of a kind counts and unknown ones do not. */
function dataOf(message: Uint8Array): Uint8Array {
  let data: Uint8Array = new Uint8Array(0)
  let at = 0
  const broken = (): TransportError =>
    new TransportError('ERR_PROTOCOL', 'a message is no Frame as the service defines it', {
      reason: 'encoding',
    })
  const varint = (): number => {
    let value = 0
    for (let i = 0; i < 10; i++) {
      const byte = message[at]
      if (byte === undefined) break
      at += 1
      // Inexact above 53 bits: too long for a length or a tag anyway, and other numbers only get skipped.
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    throw broken()
  }
  const skip = (bytes: number): void => {
    if (bytes > message.length - at) throw broken()
    at += bytes
  }
  while (at < message.length) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    const wire = tag % 8
    if (field === 0 || tag > MAX_TAG) throw broken()
    if (field === SEQ_FIELD && wire !== WIRE_VARINT) throw broken()
    if (field === DATA_FIELD && wire !== WIRE_BYTES) throw broken()
    if (wire === WIRE_VARINT) varint()
    else if (wire === WIRE_64_BIT) skip(8)
    else if (wire === WIRE_32_BIT) skip(4)
    else if (wire === WIRE_BYTES) {
      const length = varint()
      const start = at
      skip(length)
      if (field === DATA_FIELD) data = message.subarray(start, at)
    } else throw broken()
  }
  return data
}
