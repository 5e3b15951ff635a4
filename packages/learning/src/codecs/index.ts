export { CkksVector } from './ckks-vector.ts'
export {
  createLearningCodecs,
  heCodecs,
  learningCodecs,
  modelObjectCodecs,
  numpyCodecs,
  relayedNumpyCodecs,
  torchCodecs,
} from './codec-lists.ts'
export { edgeCodecs, edgeRecords } from './edge-records.ts'
export { DxoObject, type FLModelFields, FLModelObject } from './model-objects.ts'
export { numpyReference } from './ndarray.ts'
export { NumpyScalar, type NumpyScalarType } from './numpy-scalar.ts'
export { RawArray } from './raw-array.ts'
export {
  Bin,
  BinRange,
  Feature,
  featureTypeEnum,
  Histogram,
  histogramTypeEnum,
  StatisticConfig,
  statisticsCodecs,
} from './statistics.ts'
export { torchReference } from './torch-tensor.ts'
