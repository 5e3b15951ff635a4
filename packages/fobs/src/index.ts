export type {
  AnyFobsCodec,
  ComposeContext,
  DecomposeContext,
  FobsClass,
  FobsCodec,
  ItemOptions,
  ReferenceKind,
} from './codec.ts'
export { Datum, type DatumType } from './datum.ts'
export {
  type Decoded,
  type DecodeOptions,
  type DownloadReference,
  decode,
  decodeWhole,
} from './decode.ts'
export { type Encoded, type EncodeOptions, encode, encodeParts } from './encode.ts'
export {
  firstDatumOffset,
  type HollowEnvelope,
  hollowEnvelope,
  mainSectionBytes,
} from './envelope.ts'
export { FobsError, type FobsErrorCode } from './fobs-error.ts'
export { DEFAULT_FOBS_LIMITS, type FobsLimits } from './fobs-limits.ts'
export { createFobsRegistry, FobsRegistry } from './fobs-registry.ts'
export { ByteParts, Float, type FobsValue, joinBytes, numberIn } from './fobs-value.ts'
export { type Hashable, hashKey } from './hashable.ts'
export {
  decodeMsgpack,
  encodeMsgpack,
  type MsgpackInput,
  type MsgpackValue,
} from './msgpack/msgpack.ts'
export {
  arrayData,
  mapData,
  numberData,
  shapeError,
  textData,
  textMapData,
} from './shape.ts'
export { coreCodecs } from './types/core-codecs.ts'
export { DateTime } from './types/date-time.ts'
export { DictValue, defineDict, dictCodec } from './types/dict-type.ts'
export { defineEnum, EnumMember, type EnumOptions, type EnumType } from './types/enum-type.ts'
export { LazyReference } from './types/lazy-reference.ts'
export { OrderedDict } from './types/ordered-dict.ts'
export {
  DATA_CLASS_DECOMPOSER,
  defineRecord,
  type RecordOptions,
  type RecordType,
  RecordValue,
  recordParts,
} from './types/record-type.ts'
export { Tuple } from './types/tuple.ts'
export { ValueSet } from './types/value-set.ts'
