export { CkksVector } from './ckks-vector.ts'
export {
  heCodecs,
  learningCodecs,
  modelObjectCodecs,
  numpyCodecs,
  relayedNumpyCodecs,
  torchCodecs,
} from './codec-lists.ts'
export { edgeCodecs } from './edge-records.ts'
export { DxoObject, FLModelObject } from './model-objects.ts'
export { numpyReference } from './ndarray.ts'
export { NumpyScalar } from './numpy-scalar.ts'
export { RawArray } from './raw-array.ts'
export {
  Bin,
  BinRange,
  Feature,
  Histogram,
  StatisticConfig,
  statisticsCodecs,
} from './statistics.ts'
export { torchReference } from './torch-tensor.ts'
