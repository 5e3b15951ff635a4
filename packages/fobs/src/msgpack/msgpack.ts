import { FobsError } from '../fobs-error.ts'
import { type FobsLimits, fobsLimits } from '../fobs-limits.ts'
import { ByteParts, Float, type FobsValue } from '../fobs-value.ts'
import { MsgpackReader } from './msgpack-reader.ts'
import { MsgpackWriter } from './msgpack-writer.ts'

/** MessagePack without objects: maps have text keys only. */
export type MsgpackValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | MsgpackValue[]
  | Map<string, MsgpackValue>

/** What can be written as plain MessagePack; `new Float(2)` says a float where a number would be an integer. */
export type MsgpackInput =
  | null
  | boolean
  | number
  | bigint
  | string
  | Float
  | Uint8Array
  | readonly MsgpackInput[]
  | ReadonlyMap<string, MsgpackInput>

const MAX_DEPTH = 256

/**
 * One value as MessagePack in its shortest form, e.g. the headers of a cell message.
 * @returns consecutive parts; large byte strings are borrowed from `value`
 * @throws {FobsError} `ERR_FOBS_ENCODE`, `ERR_FOBS_LIMIT` on cycles and nesting past 256 levels
 */
export function encodeMsgpack(value: MsgpackInput): Uint8Array[] {
  const writer = new MsgpackWriter()
  write(writer, value, 0)
  return writer.finish()
}

/**
 * Reads one value and nothing after it. Keys must be text and unique; byte strings are views on `bytes`.
 * @throws {FobsError} `ERR_FOBS_MSGPACK`, `ERR_FOBS_LIMIT`
 */
export function decodeMsgpack(bytes: Uint8Array, limits: Partial<FobsLimits> = {}): MsgpackValue {
  const reader = new MsgpackReader(bytes, { limits: fobsLimits(limits), keys: 'text' })
  // With text keys, plain floats and no object hook the reader yields nothing else.
  return reader.readWhole() as Exclude<FobsValue, object> & MsgpackValue
}

/**
 * Writes what has no parts: texts, numbers, booleans, null, byte strings.
 * @returns false, with nothing written, for any other value
 */
export function writeScalar(writer: MsgpackWriter, value: unknown): boolean {
  if (typeof value === 'string') writer.text(value)
  else if (typeof value === 'number') writeNumber(writer, value)
  else if (typeof value === 'bigint') writer.bigint(value)
  else if (typeof value === 'boolean') writer.boolean(value)
  else if (value === null) writer.nil()
  else if (value instanceof Float) writer.float(value.value)
  else if (value instanceof Uint8Array) writer.binary([value], value.byteLength)
  else if (value instanceof ByteParts) writer.binary(value.parts, value.byteLength)
  else return false
  return true
}

function writeNumber(writer: MsgpackWriter, value: number): void {
  // Integers past 2^53 arrive as bigint, so such a number was a float; so was −0.
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) writer.integer(value)
  else writer.float(value)
}

function write(writer: MsgpackWriter, value: MsgpackInput, depth: number): void {
  if (writeScalar(writer, value)) return
  if (depth >= MAX_DEPTH)
    throw new FobsError('ERR_FOBS_LIMIT', `nesting is over ${MAX_DEPTH} levels, or cyclic`)
  if (Array.isArray(value)) {
    writer.array(value.length)
    for (const item of value as readonly MsgpackInput[]) write(writer, item, depth + 1)
    return
  }
  if (!(value instanceof Map))
    throw new FobsError('ERR_FOBS_ENCODE', 'only values that MessagePack has can be written')
  writer.map(value.size)
  for (const [key, item] of value as ReadonlyMap<unknown, MsgpackInput>) {
    if (typeof key !== 'string')
      throw new FobsError('ERR_FOBS_ENCODE', 'a map has a key that is no text')
    writer.text(key)
    write(writer, item, depth + 1)
  }
}
