import { FobsError } from '../fobs-error.ts'
import type { FobsLimits } from '../fobs-limits.ts'
import { Float, type FobsValue } from '../fobs-value.ts'
import { hashKey } from '../hashable.ts'

export interface MsgpackReaderOptions {
  readonly limits: FobsLimits
  /** `marked` keeps whole-number floats as `Float`. */
  readonly floats?: 'plain' | 'marked' | undefined
  /** `text` refuses every key that is no text. */
  readonly keys?: 'any' | 'text' | undefined
  /** Called for every finished map, innermost first; what it returns takes the map's place. */
  readonly onMap?: ((map: Map<FobsValue, FobsValue>) => FobsValue) | undefined
}

const CONTAINER_COST = 8
// Up to here, reading byte by byte is faster than a call of the decoder.
const SHORT_TEXT_BYTES = 16

/**
 * Reads MessagePack strictly: no ext types, no byte 0xc1, valid UTF-8 only, no key twice (as Python compares
 * keys), nothing after the value. Byte strings are views on the input.
 */
export class MsgpackReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #limits: FobsLimits
  readonly #marked: boolean
  readonly #textKeys: boolean
  readonly #onMap: ((map: Map<FobsValue, FobsValue>) => FobsValue) | undefined
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  #at = 0
  #budget: number

  constructor(bytes: Uint8Array, options: MsgpackReaderOptions) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#limits = options.limits
    this.#marked = options.floats === 'marked'
    this.#textKeys = options.keys === 'text'
    this.#onMap = options.onMap
    this.#budget = options.limits.maxElements
  }

  /**
   * The one value that the input holds.
   * @throws {FobsError} `ERR_FOBS_MSGPACK`, `ERR_FOBS_LIMIT`
   */
  readWhole(): FobsValue {
    const value = this.#value(0)
    if (this.#at !== this.#bytes.length)
      throw malformed(`${this.#bytes.length - this.#at} bytes follow the value`)
    return value
  }

  #value(depth: number): FobsValue {
    const code = this.#uint8()
    if (code < 0x80) return this.#scalar(code)
    if (code >= 0xe0) return this.#scalar(code - 0x100)
    if (code < 0x90) return this.#map(code & 0x0f, depth)
    if (code < 0xa0) return this.#array(code & 0x0f, depth)
    if (code < 0xc0) return this.#text(code & 0x1f)
    switch (code) {
      case 0xc0:
        return this.#scalar(null)
      case 0xc2:
        return this.#scalar(false)
      case 0xc3:
        return this.#scalar(true)
      case 0xc4:
        return this.#binary(this.#uint8())
      case 0xc5:
        return this.#binary(this.#uint16())
      case 0xc6:
        return this.#binary(this.#uint32())
      case 0xca:
        return this.#float(this.#view.getFloat32(this.#advance(4)))
      case 0xcb:
        return this.#float(this.#view.getFloat64(this.#advance(8)))
      case 0xcc:
        return this.#scalar(this.#uint8())
      case 0xcd:
        return this.#scalar(this.#uint16())
      case 0xce:
        return this.#scalar(this.#uint32())
      case 0xcf:
        return this.#scalar(exact(this.#view.getBigUint64(this.#advance(8))))
      case 0xd0:
        return this.#scalar(this.#view.getInt8(this.#advance(1)))
      case 0xd1:
        return this.#scalar(this.#view.getInt16(this.#advance(2)))
      case 0xd2:
        return this.#scalar(this.#view.getInt32(this.#advance(4)))
      case 0xd3:
        return this.#scalar(exact(this.#view.getBigInt64(this.#advance(8))))
      case 0xd9:
        return this.#text(this.#uint8())
      case 0xda:
        return this.#text(this.#uint16())
      case 0xdb:
        return this.#text(this.#uint32())
      case 0xdc:
        return this.#array(this.#uint16(), depth)
      case 0xdd:
        return this.#array(this.#uint32(), depth)
      case 0xde:
        return this.#map(this.#uint16(), depth)
      case 0xdf:
        return this.#map(this.#uint32(), depth)
      default:
        throw malformed(
          `byte 0x${code.toString(16)} is ${code === 0xc1 ? 'reserved' : 'an ext type'}, which is not allowed`,
        )
    }
  }

  #scalar<Value>(value: Value): Value {
    this.#spend(1)
    return value
  }

  #float(value: number): number | Float {
    this.#spend(1)
    // −0 and numbers past 2^53 are written as floats anyway.
    return this.#marked && Number.isSafeInteger(value) && !Object.is(value, -0)
      ? new Float(value)
      : value
  }

  #array(count: number, depth: number): FobsValue[] {
    this.#enter(count, 1, depth)
    const array: FobsValue[] = []
    for (let i = 0; i < count; i++) array.push(this.#value(depth + 1))
    return array
  }

  #map(count: number, depth: number): FobsValue {
    this.#enter(count, 2, depth)
    const map = new Map<FobsValue, FobsValue>()
    // Text keys, the usual case, are compared by the map itself; other kinds need Python's equality.
    let seen: Set<string> | undefined
    for (let i = 0; i < count; i++) {
      const key = this.#key(depth + 1)
      if (typeof key !== 'string' && seen === undefined)
        seen = new Set([...map.keys()].map((earlier) => `s${String(earlier)}`))
      if (seen === undefined) {
        if (map.has(key)) throw malformed('a map has the same key twice')
      } else {
        const hash = hashKey(key)
        if (hash === undefined) throw malformed('a map has a key that cannot be compared')
        if (seen.has(hash)) throw malformed('a map has the same key twice')
        seen.add(hash)
      }
      map.set(key, this.#value(depth + 1))
    }
    return this.#onMap === undefined ? map : this.#onMap(map)
  }

  #key(depth: number): FobsValue {
    const start = this.#at
    const code = this.#bytes[start]
    const key = this.#value(depth)
    if (typeof key === 'string' && isTextCode(code)) {
      if (this.#at - start > this.#limits.maxKeyBytes + 5) throw this.#keyTooLong()
      return key
    }
    if (this.#textKeys) throw malformed('a map has a key that is no text')
    if (key instanceof Uint8Array && key.length > this.#limits.maxKeyBytes) throw this.#keyTooLong()
    // An object may stand for a bare value (a datum); the platform never puts one into a key.
    const isObject = typeof key === 'object' && key !== null && !(key instanceof Uint8Array)
    if (isMapCode(code) && (!isObject || key instanceof Float))
      throw malformed('a map has an object as key that is no key')
    return key
  }

  #keyTooLong(): FobsError {
    return new FobsError(
      'ERR_FOBS_LIMIT',
      `a map key is over maxKeyBytes ${this.#limits.maxKeyBytes}`,
    )
  }

  #enter(count: number, valuesEach: number, depth: number): void {
    if (depth >= this.#limits.maxDepth)
      throw new FobsError('ERR_FOBS_LIMIT', `nesting is over maxDepth ${this.#limits.maxDepth}`)
    const left = this.#bytes.length - this.#at
    // Every value takes a byte at least.
    if (count * valuesEach > left)
      throw malformed(`${count} entries are announced, but only ${left} bytes follow`)
    this.#spend(CONTAINER_COST)
    // Refuse at the announcement what the contents would exceed anyway.
    if (count * valuesEach > this.#budget) throw this.#overBudget()
  }

  #spend(cost: number): void {
    this.#budget -= cost
    if (this.#budget < 0) throw this.#overBudget()
  }

  #overBudget(): FobsError {
    return new FobsError(
      'ERR_FOBS_LIMIT',
      `the number of values is over maxElements ${this.#limits.maxElements}`,
    )
  }

  #binary(length: number): Uint8Array {
    this.#spend(1)
    const start = this.#advance(length)
    return this.#bytes.subarray(start, start + length)
  }

  #text(length: number): string {
    this.#spend(1)
    if (length > this.#limits.maxTextBytes)
      throw new FobsError(
        'ERR_FOBS_LIMIT',
        `a text of ${length} bytes is over maxTextBytes ${this.#limits.maxTextBytes}`,
      )
    const start = this.#advance(length)
    if (length <= SHORT_TEXT_BYTES) {
      const short = this.#ascii(start, length)
      if (short !== undefined) return short
    }
    try {
      return this.#decoder.decode(this.#bytes.subarray(start, start + length))
    } catch (cause) {
      throw new FobsError('ERR_FOBS_MSGPACK', 'a text is not UTF-8', {}, { cause })
    }
  }

  #ascii(start: number, length: number): string | undefined {
    let text = ''
    for (let i = start; i < start + length; i++) {
      const code = this.#bytes[i]!
      if (code >= 0x80) return undefined
      text += String.fromCharCode(code)
    }
    return text
  }

  #uint8(): number {
    return this.#bytes[this.#advance(1)]!
  }

  #uint16(): number {
    return this.#view.getUint16(this.#advance(2))
  }

  #uint32(): number {
    return this.#view.getUint32(this.#advance(4))
  }

  /** Steps over `count` bytes that must be there; returns where they begin. */
  #advance(count: number): number {
    const start = this.#at
    if (count > this.#bytes.length - start)
      throw malformed(`the input ends ${count - (this.#bytes.length - start)} bytes too early`)
    this.#at = start + count
    return start
  }
}

function malformed(what: string): FobsError {
  return new FobsError('ERR_FOBS_MSGPACK', what)
}

function exact(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : value
}

function isTextCode(code: number | undefined): boolean {
  return code !== undefined && ((code >= 0xa0 && code < 0xc0) || (code >= 0xd9 && code <= 0xdb))
}

function isMapCode(code: number | undefined): boolean {
  return code !== undefined && ((code >= 0x80 && code < 0x90) || code === 0xde || code === 0xdf)
}
