import type { JsonValue } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { isTensor, toNumbers } from '@hanse/tensor'
import { scalarOf } from './numbers.ts'

/**
 * A value of a site as people's JSON: numbers of any kind as numbers, arrays flat, `null` for what JSON cannot
 * say (infinities, bytes, objects of other kinds). Objects have no prototype, since sites choose the keys.
 */
export function jsonOfValue(value: FobsValue): JsonValue {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  const number = scalarOf(value)
  if (number !== undefined) return Number.isFinite(number) ? number : null
  if (isTensor(value)) return Array.from(toNumbers(value.dtype, value.data), jsonOfValue)
  if (Array.isArray(value)) return value.map(jsonOfValue)
  if (!(value instanceof Map)) return null
  const object: Record<string, JsonValue> = Object.create(null)
  for (const [key, item] of value) object[String(key)] = jsonOfValue(item)
  return object
}
