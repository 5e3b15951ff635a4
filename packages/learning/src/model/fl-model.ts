import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import { LearningError } from '../learning-error.ts'
import { isValueMap, mapOf, readDxo, type ValueMap, withDxo } from './dxo.ts'

/** A whole model, or what training changed in one. */
export type ParamsType = 'FULL' | 'DIFF'

/** A model on its way between server and trainer (client-api.md §2). Immutable. */
export interface FLModel {
  /** Absent exactly when `params` is. */
  readonly paramsType?: ParamsType | undefined
  /** Parameter name → tensor, number or another value that only the application understands. */
  readonly params?: ValueMap | undefined
  readonly metrics?: ValueMap | undefined
  readonly startRound?: number | undefined
  readonly currentRound?: number | undefined
  readonly totalRounds?: number | undefined
  readonly meta: ValueMap
}

/** Names in a model's meta (workflows.md §1.2). */
export const META = {
  steps: 'NUM_STEPS_CURRENT_ROUND',
  processedAlgorithm: 'PROCESSED_ALGORITHM',
  initialMetrics: 'initial_metrics',
  filterHistory: 'filter_history',
  validateType: 'validate_type',
  currentRound: 'current_round',
  jobId: 'job_id',
  siteName: 'site_name',
  submitModelName: 'submit_model_name',
  clientName: 'client_name',
  fedProxMu: 'fedprox_mu',
} as const

/** Names of headers and cookies of workflows (workflows.md §1.3). */
export const HEADER = {
  startRound: 'start_round',
  currentRound: 'current_round',
  totalRounds: 'num_rounds',
  contributionRound: 'contribution_round',
  submitModelName: 'submit_model_name',
  validateType: '_validate_type',
  modelOwner: '_model_owner_',
  jobId: 'job_id',
  siteName: 'site_name',
  cookieJar: '__cookie_jar__',
  returnCode: '__rc__',
  replyIsLate: '__reply_is_late__',
  /** Ours: why a site has no result, in words that may leave it. */
  reason: 'hanse_reason',
  peerProps: '__peer_props__',
} as const

/**
 * The model as a message (workflows.md §4). A model without params whose meta names a model to submit has
 * only that header.
 * @throws {LearningError} `ERR_MODEL` without params and metrics
 */
export function modelToShareable(model: FLModel): Shareable {
  const { params, metrics, meta } = model
  const shareable = withDxo(
    params !== undefined
      ? {
          kind: model.paramsType === 'DIFF' ? 'WEIGHT_DIFF' : 'WEIGHTS',
          data: new Map(params),
          meta: new Map([
            ...(metrics === undefined
              ? []
              : [[META.initialMetrics, new Map(metrics)] as [string, FobsValue]]),
            ...meta,
          ]),
        }
      : { kind: 'METRICS', data: new Map(needMetrics(metrics)), meta },
  )
  const { headers } = shareable
  if (model.startRound !== undefined) headers.set(HEADER.startRound, model.startRound)
  if (model.currentRound !== undefined) headers.set(HEADER.currentRound, model.currentRound)
  if (model.totalRounds !== undefined) headers.set(HEADER.totalRounds, model.totalRounds)
  const validateType = meta.get(META.validateType)
  if (validateType !== undefined) headers.set(HEADER.validateType, validateType)
  return shareable
}

/**
 * The model in a message (workflows.md §4). Values are borrowed from it.
 * @throws {LearningError} `ERR_DXO` or `ERR_MODEL` when it carries none
 */
export function shareableToModel(shareable: Shareable): FLModel {
  const { headers } = shareable
  const submitName = headers.get(HEADER.submitModelName)
  const dxo = submitName ? undefined : readDxo(shareable)
  const meta = new Map<string, FobsValue>(dxo?.meta ?? [[META.submitModelName, submitName ?? '']])
  for (const [header, name] of [
    [HEADER.validateType, META.validateType],
    [HEADER.jobId, META.jobId],
    [HEADER.siteName, META.siteName],
  ] as const) {
    const value = headers.get(header)
    if (value !== undefined && value !== null) meta.set(name, value)
  }
  const rounds = {
    startRound: readRound(headers.get(HEADER.startRound)),
    currentRound: readRound(headers.get(HEADER.currentRound)),
    totalRounds: readRound(headers.get(HEADER.totalRounds)),
  }
  if (dxo === undefined) return { meta, ...rounds }
  if (dxo.kind === 'METRICS') return { metrics: mapOf(dxo), meta, ...rounds }
  const metrics = meta.get(META.initialMetrics) ?? undefined
  if (metrics !== undefined && !isValueMap(metrics))
    throw new LearningError('ERR_MODEL', 'the metrics of a model are no map')
  return {
    paramsType: dxo.kind === 'WEIGHT_DIFF' ? 'DIFF' : 'FULL',
    params: mapOf(dxo),
    metrics,
    meta,
    ...rounds,
  }
}

function needMetrics(metrics: ValueMap | undefined): ValueMap {
  if (metrics !== undefined) return metrics
  throw new LearningError('ERR_MODEL', 'a model needs params or metrics')
}

function readRound(value: FobsValue | undefined): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new LearningError('ERR_MODEL', 'a round number must be a whole number, 0 or more')
}
