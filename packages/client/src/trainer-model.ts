import type { Tensor } from '@hanse/tensor'
import { ClientError } from './client-error.ts'
import { dictionary, fromWire, type MetaValue, toWire } from './wire-value.ts'

/** `FULL`: the parameters themselves; `DIFF`: what to add to the ones received. */
export type ParamsType = 'FULL' | 'DIFF'

/**
 * What a task brings and what a trainer answers; `spec/client-api.md` §2, the Client API's FLModel. Parameters are
 * arrays, or with `TrainerModel<MetaValue>` whatever a Python model holds (protocol 2).
 */
export interface TrainerModel<Parameter extends MetaValue = Tensor> {
  /** Parameters by name. Received arrays are views on one buffer that the receiver owns. */
  readonly params?: Readonly<Record<string, Parameter>> | undefined
  /** Default `FULL` where there are params. */
  readonly paramsType?: ParamsType | undefined
  readonly metrics?: Readonly<Record<string, number>> | undefined
  /** E.g. `NUM_STEPS_CURRENT_ROUND`, the weight of a result in the mean. */
  readonly meta?: Readonly<Record<string, MetaValue>> | undefined
  readonly startRound?: number | undefined
  readonly currentRound?: number | undefined
  readonly totalRounds?: number | undefined
}

const ROUNDS = ['startRound', 'currentRound', 'totalRounds'] as const

/**
 * A model as a header's JSON; its arrays are appended to `arrays`.
 * @throws {ClientError} `ERR_TRAINER_VALUE`
 */
export function modelToWire(
  model: TrainerModel<MetaValue>,
  arrays: Tensor[],
): Record<string, unknown> {
  const { params, metrics = {}, meta } = model
  if (params === undefined && model.paramsType !== undefined)
    throw new ClientError('ERR_TRAINER_VALUE', 'paramsType is given without params')
  for (const [name, value] of Object.entries(metrics))
    if (typeof value !== 'number')
      throw new ClientError('ERR_TRAINER_VALUE', `metric "${name}" is not a number`)
  for (const field of ROUNDS) {
    const round = model[field]
    if (round !== undefined && !isRound(round))
      throw new ClientError('ERR_TRAINER_VALUE', `${field} is not a count: ${round}`)
  }
  const { startRound, currentRound, totalRounds } = model
  return {
    ...(params === undefined
      ? {}
      : { params: toWire(params, arrays), paramsType: model.paramsType ?? 'FULL' }),
    ...(model.metrics === undefined ? {} : { metrics: toWire(metrics, arrays) }),
    ...(meta === undefined ? {} : { meta: toWire(meta, arrays) }),
    startRound,
    currentRound,
    totalRounds,
  }
}

/** A check of {@link modelFromWire} that lets every value be a parameter. */
export const anyValue = (_value: MetaValue): _value is MetaValue => true

/**
 * The reverse of {@link modelToWire}.
 * @param isParameter what may be a parameter: arrays (`isTensor`), or {@link anyValue}
 * @throws {ClientError} `ERR_TRAINER_PROTOCOL`
 */
export function modelFromWire<Parameter extends MetaValue>(
  json: unknown,
  arrays: readonly Tensor[],
  isParameter: (value: MetaValue) => value is Parameter,
): TrainerModel<Parameter> {
  const wire = asDictionary(fromWire(json, arrays), 'model')
  const model: {
    -readonly [Field in keyof TrainerModel<Parameter>]: TrainerModel<Parameter>[Field]
  } = {}
  for (const [field, value] of Object.entries(wire)) {
    switch (field) {
      case 'params':
        model.params = allOf(value, field, isParameter)
        break
      case 'paramsType':
        if (value !== 'FULL' && value !== 'DIFF') throw invalid('paramsType is not FULL or DIFF')
        model.paramsType = value
        break
      case 'metrics':
        model.metrics = allOf(value, field, (item) => typeof item === 'number')
        break
      case 'meta':
        model.meta = asDictionary(value, field)
        break
      case 'startRound':
      case 'currentRound':
      case 'totalRounds':
        if (!isRound(value)) throw invalid(`${field} is not a count`)
        model[field] = value
        break
      default:
        throw invalid('a model has a field that is not known')
    }
  }
  if ((model.params === undefined) !== (model.paramsType === undefined))
    throw invalid('params and paramsType come together or not at all')
  return model
}

function asDictionary(value: MetaValue, field: string): Record<string, MetaValue> {
  // Without a prototype: the object was made by fromWire, so it is neither a list nor a tensor.
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null)
    return value as Record<string, MetaValue>
  throw invalid(`${field} is not an object`)
}

function allOf<Item extends MetaValue>(
  value: MetaValue,
  field: string,
  fits: (item: MetaValue) => item is Item,
): Record<string, Item> {
  const checked = dictionary<Item>()
  for (const [name, item] of Object.entries(asDictionary(value, field))) {
    if (!fits(item)) throw invalid(`an entry of ${field} has the wrong type`)
    checked[name] = item
  }
  return checked
}

function isRound(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function invalid(message: string): ClientError {
  return new ClientError('ERR_TRAINER_PROTOCOL', message)
}
