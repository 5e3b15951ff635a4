import type { ComposeContext } from './codec.ts'
import { Datum } from './datum.ts'
import { type DatumSection, readEnvelope } from './envelope.ts'
import { FobsError } from './fobs-error.ts'
import { type FobsLimits, fobsLimits } from './fobs-limits.ts'
import { DATUM_REF_TYPE, type FobsRegistry } from './fobs-registry.ts'
import { type FobsValue, joinBytes } from './fobs-value.ts'
import { MsgpackReader } from './msgpack/msgpack-reader.ts'
import { translated } from './translated.ts'
import {
  LazyReference,
  parseReferenceTarget,
  type ReferenceTarget,
} from './types/lazy-reference.ts'
import { recordParts } from './types/record-type.ts'

export const TYPE_KEY = '__fobs_type__'
export const DATA_KEY = '__fobs_data__'
const MAX_ITEM_ID_LENGTH = 32

export interface DecodeOptions {
  readonly limits?: Partial<FobsLimits> | undefined
  /** `marked` keeps whole-number floats as `Float`, so that a relayed value is re-encoded byte for byte. */
  readonly floats?: 'plain' | 'marked' | undefined
  /** FILE datums are refused unless set; their content then stays in memory. */
  readonly allowFiles?: boolean | undefined
}

/** A pointer to items that must be fetched from another cell before the message is complete. */
export interface DownloadReference {
  /** Datum object type: 3 NumPy arrays, 6 PyTorch tensors. */
  readonly dot: number
  /** Cell to ask, as the sender claims: compare it with where the message came from. */
  readonly fqcn: string
  readonly refId: string
  /** The items that the message uses. */
  readonly itemIds: ReadonlySet<string>
}

/** A payload that was checked from end to end, with nothing downloaded yet. */
export interface Decoded {
  /** Empty when the message is complete as it is. */
  readonly references: readonly DownloadReference[]
  /** The value with a `LazyReference` in place of every item: what a cell that passes messages on needs. */
  readonly passThrough: FobsValue
  /**
   * The value with the downloaded items in place.
   * @param items what was downloaded for a DOT, by item id; asked only for DOTs in `references`
   * @throws {FobsError} `ERR_FOBS_ITEM_MISSING`, `ERR_FOBS_SHAPE` when an item does not fit its place
   */
  complete(items: (dot: number) => ReadonlyMap<string, unknown>): FobsValue
}

/**
 * Decodes and checks an envelope; downloads are left to the caller, who gets to know of them only once the whole
 * main section proved valid.
 * @param bytes borrowed for as long as the values live: byte strings are views on it. Parts are joined (a copy)
 * @throws {FobsError} for whatever is wrong with the bytes, and nothing else
 */
export function decode(
  bytes: Uint8Array | readonly Uint8Array[],
  registry: FobsRegistry,
  options: DecodeOptions = {},
): Decoded {
  if (!registry.frozen)
    throw new FobsError('ERR_FOBS_REGISTRY', 'freeze the registry before the first message')
  const limits = fobsLimits(options.limits)
  const { main, datums } = readEnvelope(inOnePiece(bytes, limits), limits)
  const pointers = readPointers(datums, registry)
  const values = ordinaryDatums(datums, limits, options.allowFiles ?? false)

  const used = new Map<number, Set<string>>()
  const check = new Composer(registry, limits, values, (dot, id) => {
    const target = pointers.get(dot)
    if (target === undefined)
      throw new FobsError('ERR_FOBS_REFERENCE', `item ${id} has no download pointer of DOT ${dot}`)
    const ids = used.get(dot)
    if (ids === undefined) used.set(dot, new Set([id]))
    else ids.add(id)
    return new LazyReference(dot, target.fqcn, target.refId, id)
  })
  const passThrough = check.read(main, options.floats)
  if (check.datumsUsed < values.size)
    throw new FobsError(
      'ERR_FOBS_DATUM',
      `${values.size - check.datumsUsed} datums are not referred to`,
    )
  const references = [...pointers].map(([dot, target]): DownloadReference => {
    const itemIds = used.get(dot)
    if (itemIds === undefined)
      throw new FobsError('ERR_FOBS_REFERENCE', `nothing uses the download pointer of DOT ${dot}`)
    return { dot, ...target, itemIds }
  })

  return {
    references,
    passThrough,
    complete(items) {
      if (references.length === 0) return passThrough
      const byDot = new Map(references.map(({ dot }) => [dot, items(dot)]))
      // Read once more, now with the items: codecs see final values only, and need not know of placeholders.
      return new Composer(registry, limits, values, (dot, id) => {
        const item = byDot.get(dot)?.get(id)
        if (item === undefined)
          throw new FobsError('ERR_FOBS_ITEM_MISSING', `the download brought no item ${id}`)
        return item as FobsValue // what the reference kind's decodeItem built
      }).read(main, options.floats)
    },
  }
}

/**
 * Decodes an envelope that must not refer to anything outside itself: files, nested envelopes, small messages.
 * @throws {FobsError} `ERR_FOBS_REFERENCE` if it does, and for whatever is wrong with the bytes
 */
export function decodeWhole(
  bytes: Uint8Array | readonly Uint8Array[],
  registry: FobsRegistry,
  options: DecodeOptions = {},
): FobsValue {
  const { references, passThrough } = decode(bytes, registry, options)
  if (references.length > 0)
    throw new FobsError(
      'ERR_FOBS_REFERENCE',
      'the payload needs a download, which is not possible here',
    )
  return passThrough
}

/** One pass over the main section. */
class Composer implements ComposeContext {
  readonly limits: FobsLimits
  readonly #registry: FobsRegistry
  readonly #datums: ReadonlyMap<string, Datum>
  readonly #item: (dot: number, id: string) => FobsValue
  readonly #used = new Set<string>()

  constructor(
    registry: FobsRegistry,
    limits: FobsLimits,
    datums: ReadonlyMap<string, Datum>,
    item: (dot: number, id: string) => FobsValue,
  ) {
    this.#registry = registry
    this.limits = limits
    this.#datums = datums
    this.#item = item
  }

  /** Number of datums that the main section referred to. */
  get datumsUsed(): number {
    return this.#used.size
  }

  read(main: Uint8Array, floats: DecodeOptions['floats']): FobsValue {
    const reader = new MsgpackReader(main, {
      limits: this.limits,
      floats,
      onMap: (map) => (map.has(TYPE_KEY) ? this.#object(map) : map),
    })
    return reader.readWhole()
  }

  reference(dot: number, id: string): FobsValue {
    if (this.#registry.referenceKind(dot) === undefined)
      throw new FobsError('ERR_FOBS_REFERENCE', `DOT ${dot} is no kind of download known here`)
    if (id === '' || id.length > MAX_ITEM_ID_LENGTH)
      throw new FobsError(
        'ERR_FOBS_REFERENCE',
        `an item id must have 1 to ${MAX_ITEM_ID_LENGTH} characters, got ${id.length}`,
      )
    return this.#item(dot, id)
  }

  /** Resolves an object map; the decomposer's name in it is never looked at. */
  #object(map: Map<FobsValue, FobsValue>): FobsValue {
    const typeName = map.get(TYPE_KEY)
    const data = map.get(DATA_KEY)
    if (typeof typeName !== 'string')
      throw new FobsError('ERR_FOBS_TYPE_UNKNOWN', 'a type name is no text')
    if (typeName === DATUM_REF_TYPE) return this.#datum(data)
    const codec = this.#registry.codecNamed(typeName)
    if (codec === undefined)
      throw new FobsError('ERR_FOBS_TYPE_UNKNOWN', 'an object has a type that is not registered', {
        typeName: typeName.slice(0, 200),
      })
    if (data === undefined)
      throw new FobsError('ERR_FOBS_SHAPE', `an object of type ${codec.typeName} has no data`)
    return translated('ERR_FOBS_SHAPE', `the data of ${codec.typeName} cannot be read`, () =>
      codec.compose(data, this),
    )
  }

  #datum(data: FobsValue | undefined): FobsValue {
    const { attributes } = recordParts('DatumRef', data ?? null)
    const id = attributes.get('datum_id')
    const unwrap = attributes.get('unwrap')
    if (typeof id !== 'string' || typeof unwrap !== 'boolean' || attributes.size !== 2)
      throw new FobsError('ERR_FOBS_DATUM', 'a datum reference must have datum_id and unwrap')
    const datum = this.#datums.get(id)
    if (datum === undefined)
      throw new FobsError('ERR_FOBS_DATUM', 'a datum reference names no datum of the payload')
    this.#used.add(id)
    return unwrap && datum.type !== 'file' ? datum.value : datum
  }
}

function inOnePiece(bytes: Uint8Array | readonly Uint8Array[], limits: FobsLimits): Uint8Array {
  const parts = bytes instanceof Uint8Array ? [bytes] : bytes
  const byteLength = parts.reduce((sum, part) => sum + part.byteLength, 0)
  if (byteLength > limits.maxPayloadBytes)
    throw new FobsError(
      'ERR_FOBS_LIMIT',
      `a payload of ${byteLength} bytes is over maxPayloadBytes ${limits.maxPayloadBytes}`,
    )
  return joinBytes(parts)
}

function ordinaryDatums(
  sections: readonly DatumSection[],
  limits: FobsLimits,
  allowFiles: boolean,
): ReadonlyMap<string, Datum> {
  const datums = new Map<string, Datum>()
  for (const { id, type, dot, bytes } of sections) {
    if (dot !== 0) continue
    if (type === 'file' && !allowFiles)
      throw new FobsError('ERR_FOBS_DATUM', 'FILE datums are not accepted')
    datums.set(id, new Datum(id, type, type === 'text' ? datumText(bytes, limits) : bytes))
  }
  return datums
}

function datumText(bytes: Uint8Array, limits: FobsLimits): string {
  if (bytes.length > limits.maxTextBytes)
    throw new FobsError(
      'ERR_FOBS_LIMIT',
      `a TEXT datum of ${bytes.length} bytes is over maxTextBytes ${limits.maxTextBytes}`,
    )
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new FobsError('ERR_FOBS_DATUM', 'a TEXT datum is not UTF-8', {}, { cause })
  }
}

function readPointers(
  sections: readonly DatumSection[],
  registry: FobsRegistry,
): ReadonlyMap<number, ReferenceTarget> {
  const pointers = new Map<number, ReferenceTarget>()
  for (const { type, dot, bytes } of sections) {
    if (dot === 0) continue
    if (registry.referenceKind(dot) === undefined)
      throw new FobsError('ERR_FOBS_REFERENCE', `DOT ${dot} is no kind of download known here`)
    if (type !== 'text')
      throw new FobsError('ERR_FOBS_REFERENCE', `a download pointer of DOT ${dot} is no text`)
    if (pointers.has(dot))
      throw new FobsError('ERR_FOBS_REFERENCE', `two download pointers have DOT ${dot}`)
    pointers.set(dot, parseReferenceTarget(bytes))
  }
  return pointers
}
