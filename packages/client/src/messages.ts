import { isTensor, type Tensor } from '@hanse/tensor'
import { ClientError } from './client-error.ts'
import { encodeFrame, type Frame, type FrameLimits, frameParts } from './frame.ts'
import { anyValue, modelFromWire, modelToWire, type TrainerModel } from './trainer-model.ts'
import { fromWire, type MetaValue, readArrays, toWire } from './wire-value.ts'

/** The version that this library speaks; `docs/trainer-protocol.md`. */
export const TRAINER_PROTOCOL = 1
/** The version in which a parameter may be any value, not only an array, as Python's models have them. */
export const TRAINER_PROTOCOL_OF_VALUES = 2

/** What the site tells a trainer once, in answer to `hello`. */
export interface TrainerWelcome {
  readonly jobId: string
  readonly siteName: string
  /** The job's names for the three kinds of task. */
  readonly taskNames: {
    readonly train: string
    readonly evaluate: string
    readonly submitModel: string
  }
  /** Folders of the granted data sets, as the trainer sees them. */
  readonly datasets: Readonly<Record<string, string>>
  /** A private folder to write in; gone when the trainer is. */
  readonly scratchDirectory: string
  /** True if a train result should carry metrics of the model as it was received. */
  readonly trainWithEvaluation: boolean
  /** What the site hands on: with `DIFF`, it subtracts the received parameters from a `FULL` result. */
  readonly transferType: 'FULL' | 'DIFF'
  /** What only libraries have a use for that offer FLARE's own Client API; absent from what TypeScript trainers get. */
  readonly clientApi?: ClientApiSettings | undefined
}

/** Arguments of the job's ClientAPIExecutor that the Client API follows inside the trainer (client-api.md §5). */
export interface ClientApiSettings {
  /** What the script wants its parameters to be, e.g. `numpy`. */
  readonly exchangeFormat: string
  /** What the job's server counts with. */
  readonly serverFormat: string
  /** Collect garbage every so many rounds; 0: never. */
  readonly memoryGcRounds: number
  readonly cudaEmptyCache: boolean
}

export type SiteMessage<Parameter extends MetaValue = Tensor> =
  | ({ readonly type: 'welcome'; readonly protocol: number } & TrainerWelcome)
  | {
      readonly type: 'task'
      readonly id: number
      readonly name: string
      readonly model: TrainerModel<Parameter>
    }
  /** No more tasks: end. */
  | { readonly type: 'end' }
  /** The job was stopped: end at once. */
  | { readonly type: 'abort'; readonly reason: string }

export type TrainerMessage<Parameter extends MetaValue = Tensor> =
  | { readonly type: 'hello'; readonly protocols: readonly number[]; readonly client: string }
  | { readonly type: 'result'; readonly id: number; readonly model: TrainerModel<Parameter> }
  | {
      readonly type: 'log'
      readonly key: string
      readonly value: number
      readonly step?: number | undefined
    }

/**
 * One message as the parts of a frame; arrays are borrowed until it is written.
 * @throws {ClientError} `ERR_TRAINER_VALUE`
 */
export function encodeMessage(message: AnyMessage): Uint8Array[] {
  const { header, arrays } = toFrame(message)
  return encodeFrame(header, arrays)
}

/**
 * The same part by part: stored arrays are read in blocks. Each part is borrowed until the next is asked for.
 * @throws {ClientError} `ERR_TRAINER_VALUE`, at once
 */
export function messageParts(message: AnyMessage): Iterable<Uint8Array> {
  const { header, arrays } = toFrame(message)
  return frameParts(header, arrays)
}

type AnyMessage = SiteMessage<MetaValue> | TrainerMessage<MetaValue>

function toFrame(message: AnyMessage): {
  readonly header: Readonly<Record<string, unknown>>
  readonly arrays: readonly Tensor[]
} {
  const arrays: Tensor[] = []
  switch (message.type) {
    case 'task':
    case 'result':
      return { header: { ...message, model: modelToWire(message.model, arrays) }, arrays }
    case 'log':
      return { header: { ...message, value: toWire(message.value, []) }, arrays: [] }
    default:
      return { header: { ...message }, arrays: [] }
  }
}

/**
 * Reads a frame that a trainer sent. Its parameters may be any value.
 * @throws {ClientError} `ERR_TRAINER_PROTOCOL`
 */
export function parseTrainerMessage(
  frame: Frame,
  limits?: Pick<FrameLimits, 'maxArrays'>,
): TrainerMessage<MetaValue> {
  const { fields, arrays } = open(frame, limits)
  switch (fields.get('type')) {
    case 'hello': {
      const protocols = fields.get('protocols')
      if (!Array.isArray(protocols) || protocols.length > 16 || !protocols.every(isCount))
        throw invalid('"protocols" is not a short list of numbers')
      return { type: 'hello', protocols, client: text(fields, 'client', 200) }
    }
    case 'result':
      return {
        type: 'result',
        id: count(fields, 'id'),
        model: modelFromWire(fields.get('model'), arrays, anyValue),
      }
    case 'log': {
      const value = fromWire(fields.get('value'), [])
      if (typeof value !== 'number') throw invalid('the value of a log is not a number')
      const key = text(fields, 'key', 200)
      return fields.has('step')
        ? { type: 'log', key, value, step: count(fields, 'step') }
        : { type: 'log', key, value }
    }
    default:
      throw invalid('a message of a type that trainers do not send')
  }
}

/**
 * Reads a frame that a site sent to a trainer of protocol 1.
 * @throws {ClientError} `ERR_TRAINER_PROTOCOL`
 */
export function parseSiteMessage(
  frame: Frame,
  limits?: Pick<FrameLimits, 'maxArrays'>,
): SiteMessage {
  const { fields, arrays } = open(frame, limits)
  switch (fields.get('type')) {
    case 'welcome': {
      const names = record(fields.get('taskNames'), 'taskNames')
      const transferType = fields.get('transferType')
      if (transferType !== 'FULL' && transferType !== 'DIFF')
        throw invalid('transferType is not FULL or DIFF')
      return {
        type: 'welcome',
        protocol: count(fields, 'protocol'),
        jobId: text(fields, 'jobId'),
        siteName: text(fields, 'siteName'),
        taskNames: {
          train: text(names, 'train'),
          evaluate: text(names, 'evaluate'),
          submitModel: text(names, 'submitModel'),
        },
        datasets: Object.fromEntries(
          [...record(fields.get('datasets'), 'datasets').keys()].map((name) => [
            name,
            text(record(fields.get('datasets'), 'datasets'), name),
          ]),
        ),
        scratchDirectory: text(fields, 'scratchDirectory'),
        trainWithEvaluation: fields.get('trainWithEvaluation') === true,
        transferType,
      }
    }
    case 'task':
      return {
        type: 'task',
        id: count(fields, 'id'),
        name: text(fields, 'name'),
        model: modelFromWire(fields.get('model'), arrays, isTensor),
      }
    case 'end':
      return { type: 'end' }
    case 'abort':
      return { type: 'abort', reason: text(fields, 'reason') }
    default:
      throw invalid('a message of a type that sites do not send')
  }
}

type Fields = ReadonlyMap<string, unknown>

function open(
  frame: Frame,
  limits?: Pick<FrameLimits, 'maxArrays'>,
): { fields: Fields; arrays: Tensor[] } {
  const fields = record(frame.header, 'a header')
  return { fields, arrays: readArrays(fields.get('arrays'), frame.body, limits) }
}

function record(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is not an object`)
  return new Map(Object.entries(value))
}

function text(fields: Fields, key: string, maxLength = 4096): string {
  const value = fields.get(key)
  if (typeof value !== 'string' || value.length > maxLength)
    throw invalid(`"${key}" is not a string of at most ${maxLength} characters`)
  return value
}

function count(fields: Fields, key: string): number {
  const value = fields.get(key)
  if (!isCount(value)) throw invalid(`"${key}" is not a count`)
  return value
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function invalid(message: string): ClientError {
  return new ClientError('ERR_TRAINER_PROTOCOL', message)
}
