import { type AnyFobsCodec, type DictValue, defineDict, type FobsCodec } from '@hanse/fobs'
import { adminMessageCodec } from './admin-message.ts'
import { clientRecordCodec } from './client-record.ts'
import {
  analyticsDataTypeEnum,
  dataKindEnum,
  dataSplitModeEnum,
  jobMetaKeyEnum,
  logWriterNameEnum,
  paramsTypeEnum,
} from './enums.ts'
import { peerContextCodec, storedContextCodec } from './fl-context.ts'
import { shareableCodec } from './shareable.ts'
import {
  contextPropertyRequirementRecord,
  eventRequirementRecord,
  eventStatisticsRecord,
  hotStateRecord,
  namespaceRecord,
  runInfoRecord,
  runSnapshotRecord,
  signalRecord,
  workspacePathsCodec,
} from './storage-records.ts'

/** Anything learned, as a dict. */
export const learnableDict: FobsCodec<DictValue> = defineDict(
  'nvflare.app_common.abstract.learnable.Learnable',
)

/** A model as a dict of `weights` and `meta`. */
export const modelLearnableDict: FobsCodec<DictValue> = defineDict(
  'nvflare.app_common.abstract.model.ModelLearnable',
)

const ENUM_CODECS: readonly AnyFobsCodec[] = [
  dataKindEnum.codec,
  paramsTypeEnum.codec,
  analyticsDataTypeEnum.codec,
  logWriterNameEnum.codec,
  jobMetaKeyEnum.codec,
]

/** What every process that talks of tasks accepts from the network, beside `coreCodecs`. */
export const platformCodecs: readonly AnyFobsCodec[] = Object.freeze([
  shareableCodec,
  peerContextCodec,
  learnableDict,
  modelLearnableDict,
  ...ENUM_CODECS,
])

/** Commands between a server's and a site's parent process. */
export const adminCodecs: readonly AnyFobsCodec[] = Object.freeze([adminMessageCodec])

/** Sites with their tokens: only between a server's parent process and its own jobs. */
export const clientCodecs: readonly AnyFobsCodec[] = Object.freeze([clientRecordCodec])

/** Only where xgboost jobs run. */
export const xgboostCodecs: readonly AnyFobsCodec[] = Object.freeze([dataSplitModeEnum.codec])

/**
 * For reading snapshots and other files of a stock installation. Takes the place of `platformCodecs`, and must not
 * be registered by a process that decodes messages.
 */
export const storageCodecs: readonly AnyFobsCodec[] = Object.freeze([
  shareableCodec,
  storedContextCodec,
  learnableDict,
  modelLearnableDict,
  ...ENUM_CODECS,
  runSnapshotRecord.codec,
  signalRecord.codec,
  namespaceRecord.codec,
  runInfoRecord.codec,
  hotStateRecord.codec,
  contextPropertyRequirementRecord.codec,
  eventRequirementRecord.codec,
  eventStatisticsRecord.codec,
  workspacePathsCodec,
])
