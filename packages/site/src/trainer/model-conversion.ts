import type { MetaValue, TrainerModel } from '@hanse/client/core'
import { Float, type FobsValue } from '@hanse/fobs'
import { type FLModel, scalarOf } from '@hanse/learning'
import { type Framework, isTensor, storedElementsOf, storedTensor, Tensor } from '@hanse/tensor'
import { TrainerError } from './trainer-error.ts'

/**
 * A model of the federation as a trainer gets it. Arrays are shared, not copied. Meta that has no form outside
 * Python is left out.
 * @throws {TrainerError} `ERR_TRAINER_MODEL` for a parameter that has none
 */
export function toTrainerModel(model: FLModel): TrainerModel<MetaValue> {
  const { params, paramsType, metrics, startRound, currentRound, totalRounds } = model
  return {
    ...(params === undefined
      ? {}
      : { params: recordOf(params, toParameter), paramsType: paramsType ?? 'FULL' }),
    ...(metrics === undefined ? {} : { metrics: recordOf(metrics, scalarOf) }),
    meta: recordOf(model.meta, toMeta),
    startRound,
    currentRound,
    totalRounds,
  }
}

/**
 * The same model for a trainer that knows arrays only: a parameter that is a number becomes one without dimensions.
 * @throws {TrainerError} `ERR_TRAINER_MODEL` for any other parameter
 */
export function toArrays(model: TrainerModel<MetaValue>): TrainerModel {
  const { params, ...rest } = model
  if (params === undefined) return rest
  return { ...rest, params: recordOf(new Map(Object.entries(params)), toArray) }
}

/**
 * A trainer's answer as a model of the federation. Arrays are shared, not copied.
 * @param framework what the parameters' arrays are to be at their peers; default NumPy's
 */
export function fromTrainerModel(model: TrainerModel<MetaValue>, framework?: Framework): FLModel {
  const { params, paramsType, metrics, meta = {} } = model
  return {
    ...(params === undefined
      ? {}
      : {
          params: mapOf(params, (value) => fromMeta(withFramework(value, framework))),
          paramsType,
        }),
    // Marked as floats: a loss of exactly 1 is still no whole number to a Python peer.
    ...(metrics === undefined ? {} : { metrics: mapOf(metrics, (value) => new Float(value)) }),
    meta: mapOf(meta, fromMeta),
    startRound: model.startRound,
    currentRound: model.currentRound,
    totalRounds: model.totalRounds,
  }
}

function toParameter(value: FobsValue, name: string): MetaValue {
  const parameter = toMeta(value)
  if (parameter !== undefined) return parameter
  throw new TrainerError(
    'ERR_TRAINER_MODEL',
    `parameter "${name.slice(0, 100)}" of the task has no form outside its platform`,
  )
}

/** An array as it is, a number as an array without dimensions; `undefined` for anything else. */
export function asArray(value: MetaValue | undefined): Tensor | undefined {
  if (isTensor(value)) return value
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
    ? new Tensor('float64', [], Float64Array.of(Number(value)))
    : undefined
}

function toArray(value: MetaValue, name: string): Tensor {
  const array = asArray(value)
  if (array !== undefined) return array
  throw new TrainerError(
    'ERR_TRAINER_MODEL',
    `parameter "${name.slice(0, 100)}" of the task is neither an array nor a number`,
  )
}

function toMeta(value: FobsValue): MetaValue | undefined {
  if (value === null || isTensor(value)) return value
  if (value instanceof Float) return value.value
  if (value instanceof Uint8Array) return new Tensor('uint8', [value.length], value)
  if (Array.isArray(value)) return value.map((item: FobsValue) => toMeta(item) ?? null)
  if (value instanceof Map) {
    for (const key of value.keys()) if (typeof key !== 'string') return undefined
    return recordOf(value as ReadonlyMap<string, FobsValue>, toMeta) // its keys were just checked
  }
  // Python's numbers that are objects of their own, as NumPy's scalars, are numbers.
  return typeof value === 'object' ? scalarOf(value) : value
}

function withFramework(value: MetaValue, framework: Framework | undefined): MetaValue {
  if (framework === undefined || !isTensor(value)) return value
  const { dtype, shape } = value
  const stored = storedElementsOf(value)
  return stored === undefined
    ? new Tensor(dtype, shape, value.data, framework)
    : storedTensor(dtype, shape, stored, framework)
}

function fromMeta(value: MetaValue): FobsValue {
  if (typeof value !== 'object' || value === null || isTensor(value)) return value
  if (Array.isArray(value)) return value.map(fromMeta)
  return mapOf(value as Readonly<Record<string, MetaValue>>, fromMeta) // no list and no tensor: an object
}

function recordOf<Value, Result>(
  map: ReadonlyMap<string, Value>,
  convert: (value: Value, key: string) => Result | undefined,
): Record<string, Result> {
  // Without a prototype, since keys come from the wire.
  const record = Object.create(null) as Record<string, Result> // Object.create is typed as any
  for (const [key, value] of map) {
    const converted = convert(value, key)
    if (converted !== undefined) record[key] = converted
  }
  return record
}

function mapOf<Value, Result>(
  record: Readonly<Record<string, Value>>,
  convert: (value: Value) => Result,
): Map<string, Result> {
  return new Map(Object.entries(record).map(([key, value]) => [key, convert(value)]))
}
