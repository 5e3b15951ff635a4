import { type BytePart, bytesOf } from '@hanse/contract'

/**
 * What a payload decodes to. Maps are `Map`, whatever their keys; integers are `number` where exact, else
 * `bigint`; objects are instances of what the registered codecs build.
 */
export type FobsValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | FobsValue[]
  | Map<FobsValue, FobsValue>
  | object

/**
 * A float, said explicitly: Python tells `2` from `2.0`, JavaScript does not. Needed for whole numbers only;
 * any other number is written as a float anyway.
 */
export class Float {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }

  valueOf(): number {
    return this.value
  }
}

/** The number in a value that may be a `Float`; `undefined` for anything that is no number. */
export function numberIn(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return value instanceof Float ? value.value : undefined
}

/**
 * One `bytes` value in pieces, so that large data need not be joined, or be in memory, before it is written. Pieces are
 * borrowed.
 */
export class ByteParts {
  readonly parts: readonly BytePart[]
  readonly byteLength: number

  constructor(parts: readonly BytePart[]) {
    this.parts = parts
    this.byteLength = parts.reduce((sum, part) => sum + part.byteLength, 0)
  }
}

/** Copies consecutive pieces into one array; a single piece in memory is returned as it is. */
export function joinBytes(parts: readonly BytePart[]): Uint8Array {
  if (parts.length === 1) return bytesOf(parts[0]!)
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    out.set(bytesOf(part), at)
    at += part.byteLength
  }
  return out
}
