import { PlatformError } from '@hanse/contract'

export type LearningErrorCode =
  | 'ERR_DXO'
  | 'ERR_MODEL'
  | 'ERR_TASK'
  | 'ERR_CONTRIBUTION'
  | 'ERR_ROUND'
  | 'ERR_RESULT'
  | 'ERR_VARIABLES'
  | 'ERR_APP_CONFIG'
  | 'ERR_COMPONENT_UNKNOWN'
  | 'ERR_COMPONENT_AMBIGUOUS'
  | 'ERR_COMPONENT_SIDE'
  | 'ERR_COMPONENT_ARGS'
  | 'ERR_COMPONENT_MISSING'
  | 'ERR_FILTER'
  | 'ERR_PERSISTOR'

/**
 * What can go wrong between a model and its sites. `ERR_COMPONENT_…` and `ERR_APP_CONFIG` blame a job's
 * configuration, `ERR_RESULT` and `ERR_ROUND` end a run, `ERR_CONTRIBUTION` refuses one site's result.
 */
export class LearningError extends PlatformError<LearningErrorCode> {}
