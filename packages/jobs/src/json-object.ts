import type { JsonObject } from '@hanse/contract'

/** True for what a JSON text `{…}` became. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member of an object that came from outside: own keys only, so that `constructor` is not there. */
export function memberOfObject(value: unknown, key: string): JsonObject[string] | undefined {
  return isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

/** One text for equal values, whatever the order of their keys. */
export function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`
  if (isJsonObject(value))
    return `{${Object.keys(value)
      .toSorted()
      .map((key) => `${JSON.stringify(key)}:${canonicalText(value[key])}`)
      .join(',')}}`
  return JSON.stringify(value) ?? 'null'
}
