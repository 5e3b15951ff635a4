import { messageOf, type StoredBytes, stretchesOf } from '@hanse/contract'
import {
  elementCount,
  isDType,
  isTensor,
  itemSize,
  storedElementsOf,
  storedTensor,
  Tensor,
  tensorFromBytes,
} from '@hanse/tensor'
import { ClientError } from './client-error.ts'
import { aligned, DEFAULT_FRAME_LIMITS, type FrameLimits } from './frame.ts'

/** What `meta` may hold. Objects come back without a prototype, so any key is just a key. */
export type MetaValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Tensor
  | readonly MetaValue[]
  | { readonly [key: string]: MetaValue }

const MAX_DEPTH = 32
const NON_FINITE = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
])

/**
 * A value as JSON for a header; tensors go to `arrays` and leave `{"$array": index}` behind
 * (`docs/trainer-protocol.md` §3). Maps with string keys become objects, bytes become uint8 arrays.
 * @throws {ClientError} `ERR_TRAINER_VALUE`
 */
export function toWire(value: unknown, arrays: Tensor[], depth = 0): unknown {
  if (depth > MAX_DEPTH)
    throw new ClientError('ERR_TRAINER_VALUE', `values nest deeper than ${MAX_DEPTH}`)
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : { $number: String(value) }
    case 'bigint':
      return { $int: String(value) }
    case 'object':
      break
    default:
      throw new ClientError('ERR_TRAINER_VALUE', `a ${typeof value} cannot be sent`)
  }
  if (value === null) return null
  if (isTensor(value)) return { $array: arrays.push(checked(value)) - 1 }
  if (value instanceof Uint8Array)
    return { $array: arrays.push(new Tensor('uint8', [value.length], value)) - 1 }
  if (Array.isArray(value)) return value.map((item: unknown) => toWire(item, arrays, depth + 1))
  const entries: [unknown, unknown][] = value instanceof Map ? [...value] : Object.entries(value)
  const object = dictionary<unknown>()
  for (const [key, item] of entries) {
    if (typeof key !== 'string')
      throw new ClientError('ERR_TRAINER_VALUE', `a key of type ${typeof key} cannot be sent`)
    if (item !== undefined)
      object[key.startsWith('$') ? `$${key}` : key] = toWire(item, arrays, depth + 1)
  }
  return object
}

/** A trainer may have made the object by hand: its shape and data must fit before anything is written. */
function checked(tensor: Tensor): Tensor {
  if (storedElementsOf(tensor) !== undefined) return tensor
  const { dtype, shape, data } = tensor
  try {
    return new Tensor(dtype, shape, data)
  } catch (cause) {
    throw new ClientError('ERR_TRAINER_VALUE', messageOf(cause), {}, { cause })
  }
}

/**
 * The reverse of {@link toWire}.
 * @throws {ClientError} `ERR_TRAINER_PROTOCOL`
 */
export function fromWire(json: unknown, arrays: readonly Tensor[], depth = 0): MetaValue {
  if (depth > MAX_DEPTH) throw invalid(`values nest deeper than ${MAX_DEPTH}`)
  if (json === null || typeof json === 'boolean' || typeof json === 'string') return json
  if (typeof json === 'number') return json
  if (Array.isArray(json)) return json.map((item: unknown) => fromWire(item, arrays, depth + 1))
  if (typeof json !== 'object') throw invalid(`a ${typeof json} is no JSON value`)

  const object = dictionary<MetaValue>()
  for (const [key, item] of Object.entries(json)) {
    if (!key.startsWith('$')) object[key] = fromWire(item, arrays, depth + 1)
    else if (key.startsWith('$$')) object[key.slice(1)] = fromWire(item, arrays, depth + 1)
    else return special(json, key, item, arrays)
  }
  return object
}

function special(
  object: object,
  key: string,
  item: unknown,
  arrays: readonly Tensor[],
): number | bigint | Tensor {
  if (Object.keys(object).length === 1) {
    if (key === '$array' && typeof item === 'number') {
      const tensor = arrays[item]
      if (tensor !== undefined) return tensor
      throw invalid(`array ${item} is not in the frame`)
    }
    if (key === '$number' && typeof item === 'string') {
      const number = NON_FINITE.get(item)
      if (number !== undefined) return number
    }
    if (key === '$int' && typeof item === 'string' && /^-?\d{1,40}$/.test(item)) return BigInt(item)
  }
  throw invalid('an object has a key with "$" that means nothing')
}

/**
 * The tensors that a header's `arrays` describes: views on `body`.
 * @throws {ClientError} `ERR_TRAINER_PROTOCOL` unless they fill the body exactly
 */
export function readArrays(
  descriptions: unknown,
  body: Uint8Array | StoredBytes,
  limits: Pick<FrameLimits, 'maxArrays'> = DEFAULT_FRAME_LIMITS,
): Tensor[] {
  if (descriptions !== undefined && !Array.isArray(descriptions))
    throw invalid('"arrays" is not a list')
  const list: readonly unknown[] = descriptions ?? []
  if (list.length > limits.maxArrays)
    throw invalid(`${list.length} arrays are more than ${limits.maxArrays}`)
  const { byteLength } = body
  let end = 0
  const arrays = list.map((description) => {
    const { dtype, shape } = parseDescription(description)
    const start = aligned(end)
    try {
      end = start + elementCount(shape) * itemSize(dtype)
    } catch (error) {
      throw invalid(messageOf(error), error)
    }
    if (end > byteLength) throw invalid(`arrays need ${end} bytes and the body has ${byteLength}`)
    return { dtype, shape, start, byteLength: end - start }
  })
  if (end !== byteLength) throw invalid(`arrays fill ${end} of ${byteLength} bytes`)
  if (body instanceof Uint8Array)
    return arrays.map(({ dtype, shape, start, byteLength }) =>
      tensorFromBytes(dtype, shape, body.subarray(start, start + byteLength)),
    )
  const elements = stretchesOf(body, arrays)
  return arrays.map(({ dtype, shape }, i) => storedTensor(dtype, shape, elements[i]!))
}

function parseDescription(description: unknown): {
  dtype: Tensor['dtype']
  shape: readonly number[]
} {
  if (typeof description === 'object' && description !== null && 'dtype' in description) {
    const { dtype } = description
    const shape = 'shape' in description ? description.shape : undefined
    if (
      isDType(dtype) &&
      Array.isArray(shape) &&
      shape.every((size): size is number => typeof size === 'number')
    )
      return { dtype, shape }
  }
  throw invalid('an array is described by other things than a known dtype and a shape')
}

/** An object that keys from the wire may index: it has no prototype. */
export function dictionary<Value>(): Record<string, Value> {
  return Object.create(null) as Record<string, Value> // Object.create is typed as any
}

function invalid(message: string, cause?: unknown): ClientError {
  return new ClientError('ERR_TRAINER_PROTOCOL', message, {}, { cause })
}
