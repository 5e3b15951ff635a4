import type { Logger } from '@hanse/contract'
import { Float, type FobsValue } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { isTensor } from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import { carriesDxo, isValueMap, mapOf, readDxo, type ValueMap, withDxo } from '../model/dxo.ts'
import { HEADER, META } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'

/** Numbers that say how good a model is; more are data. */
const MAX_METRICS = 100
/** Parameters without dimensions or elements, which filters leave as they are; e.g. counters of layers. */
const MAX_SCALARS = 256
const MAX_META = 50
const MAX_PARAMETER_CHARS = 256
const MAX_TEXT_CHARS = 64
const MAX_REASON_CHARS = 500

const CONTENT_TYPE = '__content_type__'
const HEADERS: ReadonlySet<string> = new Set([
  HEADER.startRound,
  HEADER.currentRound,
  HEADER.totalRounds,
  HEADER.contributionRound,
  HEADER.submitModelName,
  HEADER.validateType,
  HEADER.modelOwner,
])

/**
 * Takes from a result what could carry data past filters, which look at a model's arrays only: content beside the DXO,
 * headers that no workflow reads, long or nested values of meta. Of a result that is none only the code and its reason
 * are left. What is taken away is in the log, by name.
 * @throws {LearningError} `ERR_FILTER` for a result that carries no DXO, or more numbers beside the arrays than a model
 * has; `ERR_DXO`
 */
export function limitResult(result: Shareable, log: Logger): Shareable {
  if (taskReturnCode(result) !== 'OK') return onlyTheCode(result)
  if (!carriesDxo(result))
    throw new LearningError('ERR_FILTER', 'the result carries nothing that could be filtered')
  const dxo = readDxo(result)
  if (dxo.kind === 'METRICS') needMetrics(mapOf(dxo))
  if (dxo.kind === 'WEIGHTS' || dxo.kind === 'WEIGHT_DIFF') needArrays(mapOf(dxo))
  const base = new Shareable()
  const dropped: string[] = []
  for (const [key, value] of result.headers)
    if (HEADERS.has(key) && isShort(value)) base.headers.set(key, value)
    else if (key !== CONTENT_TYPE && key !== HEADER.returnCode) dropped.push(key)
  const meta = new Map<string, FobsValue>()
  for (const [key, value] of dxo.meta) {
    if (key === META.initialMetrics && isValueMap(value)) needMetrics(value)
    else if (key.length > MAX_TEXT_CHARS || !isShort(value) || meta.size >= MAX_META) {
      dropped.push(key)
      continue
    }
    meta.set(key, value)
  }
  if (dropped.length > 0)
    log.warn('the privacy scope keeps parts of a result here: only short facts go beside a model', {
      parts: dropped
        .slice(0, MAX_META)
        .map((key) => key.slice(0, MAX_TEXT_CHARS))
        .join(', '),
      count: dropped.length,
    })
  return withDxo({ ...dxo, meta }, base)
}

function onlyTheCode(result: Shareable): Shareable {
  const bare = new Shareable()
  bare.headers.set(HEADER.returnCode, taskReturnCode(result))
  const reason = result.headers.get(HEADER.reason)
  if (typeof reason === 'string') bare.headers.set(HEADER.reason, reason.slice(0, MAX_REASON_CHARS))
  return bare
}

function needMetrics(metrics: ValueMap): void {
  if (metrics.size > MAX_METRICS)
    throw new LearningError(
      'ERR_FILTER',
      `${metrics.size} metrics are more than the ${MAX_METRICS} that may leave a place with a privacy scope`,
    )
  for (const [name, value] of metrics)
    if (name.length > MAX_TEXT_CHARS || !isNumber(value))
      throw new LearningError(
        'ERR_FILTER',
        `metric "${name.slice(0, MAX_TEXT_CHARS)}" is no number with a short name`,
      )
}

function needArrays(parameters: ValueMap): void {
  let scalars = 0
  for (const [name, value] of parameters) {
    if (name.length > MAX_PARAMETER_CHARS)
      throw new LearningError(
        'ERR_FILTER',
        `a parameter's name has ${name.length} characters, more than the ${MAX_PARAMETER_CHARS} that may leave a place with a privacy scope`,
      )
    if (!isTensor(value) || value.shape.length === 0 || value.shape.includes(0)) scalars++
  }
  if (scalars > MAX_SCALARS)
    throw new LearningError(
      'ERR_FILTER',
      `${scalars} parameters without dimensions or elements are more than the ${MAX_SCALARS} that may leave a place with a privacy scope`,
    )
}

/** Eight octets at most: whole numbers of any size are not among them. */
function isNumber(value: FobsValue): boolean {
  return typeof value === 'number' || typeof value === 'boolean' || value instanceof Float
}

/** A number, a truth value or a short text. */
function isShort(value: FobsValue): boolean {
  if (typeof value === 'string') return value.length <= MAX_TEXT_CHARS
  return value === null || isNumber(value)
}
