import {
  DateTime,
  Datum,
  EnumMember,
  Float,
  type FobsValue,
  LazyReference,
  OrderedDict,
  RecordValue,
  Tuple,
  ValueSet,
} from '../src/index.ts'

/** Says how objects of other packages read in the notation of the vectors; `undefined` for what it does not know. */
export type DescribeObject = (value: object, describe: (value: FobsValue) => unknown) => unknown

/** A value decoded with marked floats in the notation of the vectors (`vectors/README.md`). */
export function jsonLike(
  value: FobsValue,
  describeObject: DescribeObject = () => undefined,
): unknown {
  const describe = (inner: FobsValue): unknown => jsonLike(inner, describeObject)
  const pairs = (map: ReadonlyMap<FobsValue, FobsValue>): unknown[] =>
    Array.from(map, ([key, item]) => [describe(key), describe(item)])
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint') return { $int: `${value}` }
  if (typeof value === 'number') return isInteger(value) ? value : floatLike(value)
  if (value instanceof Float) return floatLike(value.value)
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(describe)
  if (value instanceof Map) return { $map: pairs(value) }
  if (value instanceof Tuple) return { $tuple: value.items.map(describe) }
  if (value instanceof ValueSet) return { $set: value.members.map(describe) }
  if (value instanceof OrderedDict) return { $odict: pairs(value.entries) }
  if (value instanceof DateTime) return { $datetime: value.text }
  if (value instanceof EnumMember)
    return { $enum: value.typeName, name: value.name, value: value.value }
  if (value instanceof Datum)
    return {
      $datum: {
        datum_id: value.id,
        datum_type: value.type.toUpperCase(),
        dot: 0,
        value:
          value.type === 'file'
            ? { $file_bytes: Buffer.from(value.value as Uint8Array).toString('hex') }
            : describe(value.value),
      },
    }
  if (value instanceof LazyReference)
    return {
      $lazyref: {
        fqcn: value.fqcn,
        ref_id: value.refId,
        item_id: value.itemId,
        dot: value.dot,
      },
    }
  if (value instanceof RecordValue)
    return {
      $object: value.typeName,
      attrs: pairs(value.attributes),
      ...(value.content instanceof Map ? { dict: pairs(value.content) } : {}),
      ...(Array.isArray(value.content) ? { list: value.content.map(describe) } : {}),
    }
  return describeObject(value, describe)
}

/** A float in the notation of the vectors, by its bits. */
export function floatLike(value: number): unknown {
  const bits = Buffer.alloc(8)
  bits.writeDoubleBE(value)
  return { $float: bits.toString('hex') }
}

/** The notation with only what a decoder must get right: floats by their bits, sets in any order. */
export function normalized(like: unknown): unknown {
  if (Array.isArray(like)) return like.map(normalized)
  if (typeof like !== 'object' || like === null) return like
  if ('$float' in like && 'bits' in like) return { $float: like.bits }
  const entries = Object.entries(like)
    .filter(([key]) => key !== 'values_c_order')
    .map(([key, inner]) => [
      key,
      key === '$set' && Array.isArray(inner)
        ? inner.map((member) => JSON.stringify(normalized(member))).sort()
        : normalized(inner),
    ])
  return Object.fromEntries(entries)
}

function isInteger(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0)
}
