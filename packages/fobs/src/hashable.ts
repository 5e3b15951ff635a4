import { Float, type FobsValue } from './fobs-value.ts'

/** No honest key comes near this; a datum of gigabytes inside a tuple would. */
const MAX_HASHED = 64 * 1024

/** Implemented by values that Python can use as a key of a map or a member of a set. */
export interface Hashable {
  /**
   * Equal for two values exactly when Python calls them equal.
   * @returns `undefined` when a part of the value is not hashable
   */
  hashKey(): string | undefined
}

/**
 * A text that is the same for all values that are one key in Python: `true`, `1` and `1.0` are one.
 * @returns `undefined` for what cannot be a key: arrays, maps, NaN (never equal to itself), other objects, texts
 * and byte strings past 64 KiB
 */
export function hashKey(value: FobsValue): string | undefined {
  switch (typeof value) {
    case 'string':
      return value.length > MAX_HASHED ? undefined : `s${value}`
    case 'boolean':
      return value ? 'n1' : 'n0'
    case 'bigint':
      return `n${value}`
    case 'number':
      return numberKey(value)
    default:
  }
  if (value === null) return 'z'
  if (value instanceof Float) return numberKey(value.value)
  if (value instanceof Uint8Array)
    return value.length > MAX_HASHED ? undefined : `b${value.join(',')}`
  return isHashable(value) ? value.hashKey() : undefined
}

/** The key of a sequence of hashable values. */
export function sequenceKey(values: readonly FobsValue[]): string | undefined {
  let key = 't'
  for (const value of values) {
    const part = hashKey(value)
    if (part === undefined) return undefined
    key += `${part.length}:${part}`
  }
  return key
}

function numberKey(value: number): string | undefined {
  if (Number.isNaN(value)) return undefined
  return Number.isInteger(value) ? `n${BigInt(value)}` : `n${value}`
}

function isHashable(value: object): value is Hashable {
  return 'hashKey' in value && typeof value.hashKey === 'function'
}
