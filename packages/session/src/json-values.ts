import type { JsonObject, JsonValue } from '@hanse/contract'
import { EnumMember, type FobsValue } from '@hanse/fobs'

/** JSON as values for the wire: objects become maps. */
export function fobsOfJson(value: JsonValue): FobsValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => fobsOfJson(item))
  if (typeof value !== 'object' || value === null) return value as FobsValue
  return new Map(Object.entries(value).map(([key, item]) => [key, fobsOfJson(item)]))
}

/**
 * Values from the wire as JSON; objects have no prototype, so that no key of a peer means anything.
 * Members of stock's text enumerations are their texts, as they are in Python: a stock server mixes both in a job's meta.
 * @returns `undefined` for what JSON cannot say: bytes, big integers, other keys than texts, a key twice, other types
 */
export function jsonOfFobs(value: FobsValue): JsonValue | undefined {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (value instanceof EnumMember) return textOfEnum(value)
  if (Array.isArray(value)) {
    const items: JsonValue[] = []
    for (const item of value) {
      const json = jsonOfFobs(item)
      if (json === undefined) return undefined
      items.push(json)
    }
    return items
  }
  if (!(value instanceof Map)) return undefined
  const object: Record<string, JsonValue> = Object.create(null)
  for (const [key, item] of value) {
    const name = key instanceof EnumMember ? textOfEnum(key) : key
    const json = jsonOfFobs(item)
    if (typeof name !== 'string' || json === undefined || name in object) return undefined
    object[name] = json
  }
  return object
}

function textOfEnum({ value }: EnumMember): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** The text under `key`; empty if there is none, or something else. */
export function textIn(object: JsonObject, key: string): string {
  const value = Object.hasOwn(object, key) ? object[key] : undefined
  return typeof value === 'string' ? value : ''
}
