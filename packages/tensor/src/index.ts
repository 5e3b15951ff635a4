export {
  addTensors,
  castTensor,
  sameShape,
  subtractTensors,
  weightedMean,
} from './arithmetic.ts'
export { bfloat16ToNumber, numberToBfloat16 } from './bfloat16.ts'
export {
  allocate,
  arrayOver,
  DTYPES,
  type DType,
  holdsDType,
  isDType,
  itemSize,
  kindOf,
  lanesOf,
  type TypedArray,
} from './dtype.ts'
export {
  encodeNpy,
  type NpyHeader,
  npyHeaderBytes,
  parseNpy,
  parseNpyHeader,
  writeNpy,
} from './npy.ts'
export { encodeNpz, type NpzLimits, type NpzOptions, parseNpz } from './npz.ts'
export { fromNumbers, type NumberArray, toNumbers } from './numbers.ts'
export { type PythonLiteral, parsePythonLiteral } from './python-literal.ts'
export { commonDType, meanDType } from './result-dtype.ts'
export {
  encodeSafetensors,
  parseSafetensors,
  type Safetensors,
  type SafetensorsLimits,
  writeSafetensors,
} from './safetensors.ts'
export {
  elementBlocks,
  elementsOf,
  storedElementsOf,
  storedTensor,
  storeTensor,
  tensorByteLength,
} from './stored-tensor.ts'
export {
  elementCount,
  type Framework,
  isTensor,
  type NestedNumbers,
  Tensor,
  tensorBytes,
  tensorFromBytes,
  tensorFromNested,
  zeros,
} from './tensor.ts'
export { TensorError, type TensorErrorCode } from './tensor-error.ts'
export { WeightedSum } from './weighted-sum.ts'
