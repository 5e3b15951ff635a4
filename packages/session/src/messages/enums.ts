import { defineEnum, type EnumType } from '@hanse/fobs'

/** What a DXO holds. Equal to its text in Python: accept both, write the member (fobs.md §10.3). */
export const dataKindEnum = defineEnum(
  'nvflare.apis.dxo.DataKind',
  sameAsName(
    'FL_MODEL',
    'WEIGHTS',
    'WEIGHT_DIFF',
    'METRICS',
    'ANALYTIC',
    'COLLECTION',
    'STATISTICS',
    'PSI',
    'APP_DEFINED',
  ),
  { strBased: true },
)

/** Whole parameters, or what training changed. */
export const paramsTypeEnum = defineEnum(
  'nvflare.app_common.abstract.fl_model.ParamsType',
  sameAsName('FULL', 'DIFF'),
  { strBased: true },
)

/** Kinds of analytics records. */
export const analyticsDataTypeEnum = defineEnum(
  'nvflare.apis.analytix.AnalyticsDataType',
  sameAsName(
    'SCALARS',
    'SCALAR',
    'IMAGE',
    'TEXT',
    'LOG_RECORD',
    'PARAMETER',
    'PARAMETERS',
    'METRIC',
    'METRICS',
    'MODEL',
    'TAG',
    'TAGS',
    'INIT_DATA',
  ),
)

/** What wrote an analytics record. */
export const logWriterNameEnum = defineEnum('nvflare.apis.analytix.LogWriterName', {
  TORCH_TB: 'TORCH_TENSORBOARD',
  MLFLOW: 'MLFLOW',
  WANDB: 'WEIGHTS_AND_BIASES',
})

/** Keys of a job's meta: as keys of a map they are equal to their texts. */
export const jobMetaKeyEnum = defineEnum(
  'nvflare.apis.job_def.JobMetaKey',
  {
    JOB_ID: 'job_id',
    JOB_NAME: 'name',
    JOB_FOLDER_NAME: 'job_folder_name',
    SUBMITTER_NAME: 'submitter_name',
    SUBMITTER_ORG: 'submitter_org',
    SUBMITTER_ROLE: 'submitter_role',
    STATUS: 'status',
    DATA_STORAGE_FORMAT: 'data_storage_format',
    DEPLOY_MAP: 'deploy_map',
    RESOURCE_SPEC: 'resource_spec',
    CONTENT_LOCATION: 'content_location',
    RESULT_LOCATION: 'result_location',
    APPROVALS: 'approvals',
    MIN_CLIENTS: 'min_clients',
    MANDATORY_CLIENTS: 'mandatory_clients',
    SUBMIT_TIME: 'submit_time',
    SUBMIT_TIME_ISO: 'submit_time_iso',
    START_TIME: 'start_time',
    DURATION: 'duration',
    JOB_DEPLOY_DETAIL: 'job_deploy_detail',
    SCHEDULE_COUNT: 'schedule_count',
    SCOPE: 'scope',
    CLONED_FROM: 'cloned_from',
    LAST_SCHEDULE_TIME: 'last_schedule_time',
    SCHEDULE_HISTORY: 'schedule_history',
    STATS_POOL_CONFIG: 'stats_pool_config',
    CUSTOM_PROPS: 'custom_props',
    EDGE_METHOD: 'edge_method',
    JOB_CLIENTS: 'job_clients',
    STUDY: 'study',
    JOB_LAUNCHER_SPEC: 'launcher_spec',
  },
  { strBased: true },
)

/** How XGBoost's data is split; sent only where xgboost is installed. */
export const dataSplitModeEnum: EnumType<'ROW' | 'COL'> = defineEnum('xgboost.core.DataSplitMode', {
  ROW: 0,
  COL: 1,
})

function sameAsName<const Name extends string>(...names: readonly Name[]): { [Key in Name]: Key } {
  return Object.fromEntries(names.map((name) => [name, name])) as { [Key in Name]: Key } // built from the same names
}
