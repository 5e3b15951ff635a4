import { type BytePart, bytesOf } from '@hanse/contract'
import type { DecomposeContext, FobsCodec } from './codec.ts'
import { Datum, type DatumType } from './datum.ts'
import { DATA_KEY, TYPE_KEY } from './decode.ts'
import { datumHeader, mainHeader } from './envelope.ts'
import { FobsError } from './fobs-error.ts'
import { DEFAULT_FOBS_LIMITS } from './fobs-limits.ts'
import { DATUM_REF_TYPE, type FobsRegistry } from './fobs-registry.ts'
import { ByteParts, type FobsValue } from './fobs-value.ts'
import { hashKey } from './hashable.ts'
import { writeScalar } from './msgpack/msgpack.ts'
import { MsgpackWriter } from './msgpack/msgpack-writer.ts'
import { translated } from './translated.ts'
import {
  formatReferenceTarget,
  LazyReference,
  type ReferenceTarget,
} from './types/lazy-reference.ts'
import { OrderedDict } from './types/ordered-dict.ts'
import { DATA_CLASS_DECOMPOSER } from './types/record-type.ts'

const DECOMPOSER_KEY = '__fobs_dc__'
const DEFAULT_DATUM_THRESHOLD = 10 * 1024 * 1024
const MIN_DATUM_THRESHOLD = 1024

export interface EncodeOptions {
  /**
   * Lets the receiver download arrays instead of sending them along: the cell that will serve them, and the
   * reference it will serve them under. Absent: everything is in the message.
   */
  readonly references?:
    | { readonly fqcn: string; readonly refId: (dot: number) => string }
    | undefined
  /**
   * Texts of so many code points and byte strings of so many bytes move out of the main section; at least
   * 1,024. Default 10 MiB, which is what cell messages use.
   */
  readonly datumThreshold?: number | undefined
  /** Makes datum ids; default random UUIDs. */
  readonly createDatumId?: (() => string) | undefined
}

export interface Encoded<Part extends BytePart = Uint8Array> {
  /** The envelope in consecutive parts; large byte strings are borrowed from the value. */
  readonly parts: Part[]
  readonly byteLength: number
  /** What the sender must serve: DOT → item id → value. Empty without `references`. */
  readonly items: ReadonlyMap<number, ReadonlyMap<string, unknown>>
}

/**
 * One value as an envelope. Plain objects are written as maps.
 * @throws {FobsError} `ERR_FOBS_ENCODE` for what FOBS cannot carry, `ERR_FOBS_LIMIT` for cycles and nesting
 * past 256 levels, `ERR_FOBS_REFERENCE` for references from two sources of one kind
 */
export function encode(
  value: unknown,
  registry: FobsRegistry,
  options: EncodeOptions = {},
): Encoded {
  const { parts, ...rest } = encodeParts(value, registry, options)
  return { parts: parts.map(bytesOf), ...rest }
}

/** The same, with stored pieces of long byte strings left where they are. */
export function encodeParts(
  value: unknown,
  registry: FobsRegistry,
  options: EncodeOptions = {},
): Encoded<BytePart> {
  if (!registry.frozen)
    throw new FobsError('ERR_FOBS_REGISTRY', 'freeze the registry before the first message')
  const threshold = options.datumThreshold ?? DEFAULT_DATUM_THRESHOLD
  if (!Number.isSafeInteger(threshold) || threshold < MIN_DATUM_THRESHOLD)
    throw new FobsError(
      'ERR_FOBS_ENCODE',
      `datumThreshold must be at least ${MIN_DATUM_THRESHOLD}, got ${threshold}`,
    )
  // A message has one source per kind. If it passes on references of a kind, our own arrays of that kind go
  // natively; which kinds that concerns shows on the way.
  const native = new Set<number>()
  for (;;) {
    const encoding = new Encoding(registry, threshold, native, options)
    const encoded = encoding.run(value)
    if (encoded !== undefined) return encoded
  }
}

/** A datum's place in the main section. */
class DatumPointer {
  readonly id: string
  readonly unwrap: boolean

  constructor(id: string, unwrap: boolean) {
    this.id = id
    this.unwrap = unwrap
  }
}

/** An object taken apart before its turn; see `FobsCodec.isContainer`. */
class Decomposed {
  readonly codec: FobsCodec
  readonly data: unknown

  constructor(codec: FobsCodec, data: unknown) {
    this.codec = codec
    this.data = data
  }
}

class Encoding implements DecomposeContext {
  readonly #registry: FobsRegistry
  readonly #threshold: number
  readonly #native: Set<number>
  readonly #options: EncodeOptions
  readonly #writer = new MsgpackWriter()
  readonly #datums: BytePart[] = []
  readonly #datumIds = new Set<string>()
  readonly #targets = new Map<number, ReferenceTarget>()
  readonly #items = new Map<number, Map<string, unknown>>()
  readonly #itemIds = new Map<object, string>()
  #again = false

  constructor(
    registry: FobsRegistry,
    threshold: number,
    native: Set<number>,
    options: EncodeOptions,
  ) {
    this.#registry = registry
    this.#threshold = threshold
    this.#native = native
    this.#options = options
  }

  /** @returns `undefined` when it must be done again with more kinds in `native` */
  run(value: unknown): Encoded<BytePart> | undefined {
    this.#write(this.#moveOut(value, 0), 0)
    if (this.#again) return undefined
    const mainBytes = this.#writer.byteLength
    for (const [dot, target] of this.#targets) {
      const text = formatReferenceTarget(target)
      this.#addDatum(this.#newDatumId(), 'text', dot, [text], text.length)
    }
    const parts = [mainHeader(mainBytes), ...this.#writer.finish(), ...this.#datums]
    return {
      parts,
      byteLength: parts.reduce((sum, part) => sum + part.byteLength, 0),
      items: this.#items,
    }
  }

  reference(dot: number, value: object): string | undefined {
    const { references } = this.#options
    if (references === undefined || this.#native.has(dot)) return undefined
    const known = this.#itemIds.get(value)
    if (known !== undefined) return known
    let items = this.#items.get(dot)
    if (items === undefined) {
      if (this.#targets.has(dot)) {
        // References of this kind that are passed on were written already.
        this.#native.add(dot)
        return undefined
      }
      items = new Map()
      this.#items.set(dot, items)
      this.#targets.set(dot, { fqcn: references.fqcn, refId: references.refId(dot) })
    }
    const id = `T${items.size}`
    items.set(id, value)
    this.#itemIds.set(value, id)
    return id
  }

  /**
   * Replaces large values inside containers by pointers and adds their datums, before anything is written, as
   * stock does (§5.1). Returns the same object when nothing in it moves.
   */
  #moveOut(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.#movedText(value)
    if (typeof value !== 'object' || value === null) return value
    if (value instanceof Uint8Array)
      return value.byteLength < this.#threshold ? value : this.#pointTo([value], value.byteLength)
    if (value instanceof ByteParts)
      return value.byteLength < this.#threshold
        ? value
        : this.#pointTo(value.parts, value.byteLength)
    if (value instanceof Datum) return this.#pointToDatum(value)
    checkDepth(depth)
    if (Array.isArray(value)) return this.#movedArray(value, depth)
    if (value instanceof Map) return this.#movedMap(value, depth)
    if (value instanceof OrderedDict) {
      const entries = this.#movedMap(value.entries, depth)
      // Pointers stand for values until they are written.
      return entries === value.entries
        ? value
        : new OrderedDict(entries as Map<FobsValue, FobsValue>)
    }
    if (isPlainObject(value)) return this.#movedMap(new Map(Object.entries(value)), depth)
    const codec = this.#registry.codecFor(value)
    if (codec?.isContainer !== true) return value
    return new Decomposed(codec, this.#moveOut(this.#decompose(codec, value), depth + 1))
  }

  #movedText(value: string): string | DatumPointer {
    // Code points are at most as many as UTF-16 units.
    if (value.length < this.#threshold) return value
    let pairs = 0
    for (let i = 0; i < value.length; i++) if ((value.charCodeAt(i) & 0xfc00) === 0xd800) pairs++
    if (value.length - pairs < this.#threshold) return value
    return this.#pointToDatum(new Datum(this.#newDatumId(), 'text', value), true)
  }

  #movedArray(array: readonly unknown[], depth: number): readonly unknown[] {
    let moved: unknown[] | undefined
    for (let i = 0; i < array.length; i++) {
      const item = this.#moveOut(array[i], depth + 1)
      if (item === array[i]) continue
      moved ??= [...array]
      moved[i] = item
    }
    return moved ?? array
  }

  #movedMap(map: ReadonlyMap<unknown, unknown>, depth: number): ReadonlyMap<unknown, unknown> {
    let moved: Map<unknown, unknown> | undefined
    for (const [key, value] of map) {
      const item = this.#moveOut(value, depth + 1)
      if (item === value) continue
      moved ??= new Map(map)
      moved.set(key, item)
    }
    return moved ?? map
  }

  #pointTo(parts: readonly BytePart[], byteLength: number): DatumPointer {
    const id = this.#newDatumId()
    this.#addDatum(id, 'blob', 0, parts, byteLength)
    return new DatumPointer(id, true)
  }

  #pointToDatum(datum: Datum, unwrap = false): DatumPointer {
    const { id, type, value } = datum
    if (!this.#datumIds.has(id)) {
      const bytes = typeof value === 'string' ? wellFormedBytes(value) : value
      this.#addDatum(id, type, 0, [bytes], bytes.byteLength)
    }
    return new DatumPointer(id, unwrap)
  }

  #newDatumId(): string {
    return this.#options.createDatumId?.() ?? crypto.randomUUID()
  }

  #addDatum(
    id: string,
    type: DatumType,
    dot: number,
    parts: readonly BytePart[],
    byteLength: number,
  ): void {
    this.#datumIds.add(id)
    this.#datums.push(datumHeader(id, type, dot, byteLength), ...parts)
  }

  #write(value: unknown, depth: number): void {
    const writer = this.#writer
    if (writeScalar(writer, value)) return
    if (typeof value !== 'object' || value === null)
      throw new FobsError('ERR_FOBS_ENCODE', `a value of kind ${typeof value} cannot be sent`)
    checkDepth(depth)
    if (Array.isArray(value)) {
      writer.array(value.length)
      for (const item of value) this.#write(item, depth + 1)
    } else if (value instanceof Map) this.#writeMap(value, depth)
    else if (value instanceof DatumPointer) this.#writePointer(value, depth)
    else if (value instanceof Decomposed) this.#writeTyped(value.codec, value.data, depth)
    else if (isPlainObject(value)) this.#writeMap(new Map(Object.entries(value)), depth)
    else this.#writeObject(value, depth)
  }

  #writeObject(value: object, depth: number): void {
    const codec = this.#registry.codecFor(value)
    if (codec === undefined)
      throw new FobsError(
        'ERR_FOBS_ENCODE',
        `objects of class ${className(value)} cannot be sent: register a codec for their type`,
      )
    if (value instanceof LazyReference) this.#passOn(value)
    this.#writeTyped(codec, this.#moveOut(this.#decompose(codec, value), depth + 1), depth)
  }

  #decompose(codec: FobsCodec, value: object): unknown {
    return translated('ERR_FOBS_ENCODE', `a ${codec.typeName} cannot be written`, () =>
      codec.decompose(value, this),
    )
  }

  #writeTyped({ typeName, decomposer }: FobsCodec, data: unknown, depth: number): void {
    const writer = this.#writer
    writer.map(3)
    writer.text(TYPE_KEY)
    writer.text(typeName)
    writer.text(DATA_KEY)
    this.#write(data, depth + 1)
    writer.text(DECOMPOSER_KEY)
    writer.text(decomposer)
  }

  #writePointer({ id, unwrap }: DatumPointer, depth: number): void {
    const attributes = new Map<string, unknown>([
      ['datum_id', id],
      ['unwrap', unwrap],
    ])
    const data = new Map([['data', attributes]])
    this.#writeTyped(
      { typeName: DATUM_REF_TYPE, decomposer: DATA_CLASS_DECOMPOSER } as FobsCodec, // only the names are read
      data,
      depth,
    )
  }

  #writeMap(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    this.#writer.map(map.size)
    const keys = hasOnlyTextKeys(map) ? undefined : new Set<string>()
    for (const [key, value] of map) {
      if (key === TYPE_KEY)
        throw new FobsError(
          'ERR_FOBS_ENCODE',
          `a map has the key ${TYPE_KEY}, which the receiver would take for an object`,
        )
      if (keys !== undefined) checkKey(key, keys)
      this.#write(key, depth + 1)
      this.#write(value, depth + 1)
    }
  }

  /** Notes where the items of a reference that is passed on come from. */
  #passOn({ dot, fqcn, refId }: LazyReference): void {
    if (this.#items.has(dot)) {
      this.#native.add(dot)
      this.#again = true
      return
    }
    const target = this.#targets.get(dot)
    if (target === undefined) this.#targets.set(dot, { fqcn, refId })
    else if (target.fqcn !== fqcn || target.refId !== refId)
      throw new FobsError(
        'ERR_FOBS_REFERENCE',
        `references of DOT ${dot} from two sources cannot go into one message`,
      )
  }
}

function checkDepth(depth: number): void {
  if (depth >= DEFAULT_FOBS_LIMITS.maxDepth)
    throw new FobsError(
      'ERR_FOBS_LIMIT',
      `nesting is over ${DEFAULT_FOBS_LIMITS.maxDepth} levels, or cyclic`,
    )
}

function hasOnlyTextKeys(map: ReadonlyMap<unknown, unknown>): boolean {
  for (const key of map.keys()) if (typeof key !== 'string') return false
  return true
}

function checkKey(key: unknown, seen: Set<string>): void {
  const hash = hashKey(key as FobsValue) // anything else has no hash
  if (hash === undefined)
    throw new FobsError('ERR_FOBS_ENCODE', 'a map has a key that Python cannot use as one')
  if (seen.has(hash))
    throw new FobsError('ERR_FOBS_ENCODE', 'a map has two keys that are equal in Python')
  seen.add(hash)
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function wellFormedBytes(text: string): Uint8Array {
  if (!text.isWellFormed())
    throw new FobsError('ERR_FOBS_ENCODE', 'a text has a lone surrogate, which UTF-8 cannot carry')
  return new TextEncoder().encode(text)
}

function className(value: object): string {
  return typeof value.constructor === 'function' ? value.constructor.name : 'unknown'
}
