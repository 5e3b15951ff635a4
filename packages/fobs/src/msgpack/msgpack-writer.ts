import { type BytePart, bytesOf } from '@hanse/contract'
import { FobsError } from '../fobs-error.ts'

const FIRST_CHUNK_BYTES = 1024
const MAX_CHUNK_BYTES = 64 * 1024
const SLAB_BYTES = 64 * 1024
/** From here on a byte string becomes a part of its own instead of being copied. */
const BORROW_BYTES = 4096
const MAX_LENGTH = 0xffffffff
/** UTF-8 bytes per UTF-16 unit at most. */
const MAX_UTF8_BYTES = 3
const MIN_INT64 = -(2n ** 63n)
const MAX_UINT64 = 2n ** 64n - 1n

const encoder = new TextEncoder()

/** Memory that short messages share: making some for each costs more than writing it. */
class Slab {
  readonly bytes = new Uint8Array(SLAB_BYTES)
  readonly view = new DataView(this.bytes.buffer)
  used = 0
}

let slab = new Slab()

/** Writes MessagePack, always in the shortest form. Large byte strings are borrowed, not copied. */
export class MsgpackWriter {
  readonly #parts: Uint8Array[] = []
  readonly #slab: Slab
  #chunk: Uint8Array<ArrayBuffer>
  #view: DataView
  /** Of the chunk: from where on it is not handed out, where writing goes on, and where it ends for us. */
  #start: number
  #at: number
  #end: number
  #flushed = 0
  #chunkBytes = FIRST_CHUNK_BYTES

  constructor() {
    if (slab.used + FIRST_CHUNK_BYTES > SLAB_BYTES) slab = new Slab()
    this.#slab = slab
    this.#chunk = slab.bytes
    this.#view = slab.view
    this.#start = slab.used
    this.#at = this.#start
    this.#end = this.#start + FIRST_CHUNK_BYTES
    slab.used = this.#end
  }

  /** Bytes written so far. */
  get byteLength(): number {
    return this.#flushed + this.#at - this.#start
  }

  nil(): void {
    this.#step(0xc0, 0)
  }

  boolean(value: boolean): void {
    this.#step(value ? 0xc3 : 0xc2, 0)
  }

  /** @param value a safe integer */
  integer(value: number): void {
    if (value >= 0) this.#unsigned(value)
    else this.#negative(value)
  }

  /** @throws {FobsError} `ERR_FOBS_ENCODE` outside −2^63 … 2^64−1 */
  bigint(value: bigint): void {
    if (value < MIN_INT64 || value > MAX_UINT64)
      throw new FobsError('ERR_FOBS_ENCODE', 'an integer is outside −2^63 … 2^64−1')
    if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER)
      this.integer(Number(value))
    else {
      const at = this.#step(value < 0n ? 0xd3 : 0xcf, 8)
      if (value < 0n) this.#view.setBigInt64(at, value)
      else this.#view.setBigUint64(at, value)
    }
  }

  float(value: number): void {
    const at = this.#step(0xcb, 8)
    this.#view.setFloat64(at, value)
  }

  /** @throws {FobsError} `ERR_FOBS_ENCODE` on a lone surrogate */
  text(value: string): void {
    if (value.length < 32 && this.#shortAscii(value)) return
    if (!value.isWellFormed())
      throw new FobsError(
        'ERR_FOBS_ENCODE',
        'a text has a lone surrogate, which UTF-8 cannot carry',
      )
    if (value.length >= 32 && value.length * MAX_UTF8_BYTES <= 0xff) {
      // At least 32 and at most 255 bytes: the form of the length is known before the text is encoded.
      this.#reserve(2 + value.length * MAX_UTF8_BYTES)
      const { written } = encoder.encodeInto(value, this.#chunk.subarray(this.#at + 2, this.#end))
      this.#number(0xd9, 1, written)
      this.#at += written
      return
    }
    const bytes = encoder.encode(value)
    this.#length(bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb])
    this.#raw(bytes)
  }

  /** @param parts consecutive pieces of one byte string; large ones are borrowed */
  binary(parts: readonly BytePart[], byteLength: number): void {
    this.#length(byteLength, 0, -1, [0xc4, 0xc5, 0xc6])
    for (const part of parts) this.#raw(bytesOf(part))
  }

  /** Announces `count` values. */
  array(count: number): void {
    this.#length(count, 0x90, 15, [undefined, 0xdc, 0xdd])
  }

  /** Announces `count` pairs of key and value. */
  map(count: number): void {
    this.#length(count, 0x80, 15, [undefined, 0xde, 0xdf])
  }

  /** What was written, in consecutive parts; the writer must not be used afterwards. */
  finish(): Uint8Array[] {
    this.#flush()
    // What was not needed is for the next writer, unless one has begun already.
    if (this.#chunk === this.#slab.bytes && this.#slab.used === this.#end)
      this.#slab.used = this.#at
    return this.#parts
  }

  #shortAscii(value: string): boolean {
    const { length } = value
    this.#reserve(length + 1)
    const at = this.#at
    const chunk = this.#chunk
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code >= 0x80) return false
      chunk[at + 1 + i] = code
    }
    chunk[at] = 0xa0 | length
    this.#at = at + 1 + length
    return true
  }

  /** A length in its shortest form: inside the first byte up to `fixMax`, else after one of `codes` (8, 16, 32 bits). */
  #length(
    length: number,
    fix: number,
    fixMax: number,
    [code8, code16, code32]: readonly [number | undefined, number, number],
  ): void {
    if (length > MAX_LENGTH)
      throw new FobsError('ERR_FOBS_ENCODE', `a length of ${length} is over MessagePack's 2^32−1`)
    if (length <= fixMax) this.#step(fix | length, 0)
    else if (code8 !== undefined && length <= 0xff) this.#number(code8, 1, length)
    else if (length <= 0xffff) this.#number(code16, 2, length)
    else this.#number(code32, 4, length)
  }

  #unsigned(value: number): void {
    if (value < 0x80) this.#step(value, 0)
    else if (value <= 0xff) this.#number(0xcc, 1, value)
    else if (value <= 0xffff) this.#number(0xcd, 2, value)
    else if (value <= 0xffffffff) this.#number(0xce, 4, value)
    else {
      const at = this.#step(0xcf, 8)
      this.#view.setBigUint64(at, BigInt(value))
    }
  }

  #negative(value: number): void {
    if (value >= -32) this.#step(value & 0xff, 0)
    else if (value >= -0x80) this.#number(0xd0, 1, value)
    else if (value >= -0x8000) this.#number(0xd1, 2, value)
    else if (value >= -0x80000000) this.#number(0xd2, 4, value)
    else {
      const at = this.#step(0xd3, 8)
      this.#view.setBigInt64(at, BigInt(value))
    }
  }

  /** `code` and a number of 1, 2 or 4 bytes; a negative one in two's complement. */
  #number(code: number, size: 1 | 2 | 4, value: number): void {
    const at = this.#step(code, size)
    if (size === 1) this.#view.setUint8(at, value)
    else if (size === 2) this.#view.setUint16(at, value)
    else this.#view.setUint32(at, value)
  }

  /** Writes `code`, makes room for `size` more bytes and returns where they go. */
  #step(code: number, size: number): number {
    this.#reserve(1 + size)
    this.#chunk[this.#at] = code
    const start = this.#at + 1
    this.#at = start + size
    return start
  }

  #raw(bytes: Uint8Array): void {
    if (bytes.byteLength >= BORROW_BYTES) {
      this.#flush()
      this.#parts.push(bytes)
      this.#flushed += bytes.byteLength
      return
    }
    this.#reserve(bytes.byteLength)
    this.#chunk.set(bytes, this.#at)
    this.#at += bytes.byteLength
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#end) return
    this.#flush()
    this.#chunkBytes = Math.min(MAX_CHUNK_BYTES, this.#chunkBytes * 2)
    this.#chunk = new Uint8Array(Math.max(count, this.#chunkBytes))
    this.#view = new DataView(this.#chunk.buffer)
    this.#start = 0
    this.#at = 0
    this.#end = this.#chunk.length
  }

  #flush(): void {
    if (this.#at === this.#start) return
    this.#parts.push(this.#chunk.subarray(this.#start, this.#at))
    this.#flushed += this.#at - this.#start
    // The rest of the chunk stays usable: the part handed out ends where the next one begins.
    this.#start = this.#at
  }
}
