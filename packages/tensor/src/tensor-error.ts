import { PlatformError } from '@hanse/contract'

export type TensorErrorCode =
  | 'ERR_TENSOR_SHAPE'
  | 'ERR_TENSOR_DTYPE'
  | 'ERR_NPY_FORMAT'
  | 'ERR_NPY_DTYPE'
  | 'ERR_NPZ_FORMAT'
  | 'ERR_NPZ_COMPRESSED'
  | 'ERR_SAFETENSORS_FORMAT'
  | 'ERR_SAFETENSORS_DTYPE'
  | 'ERR_TENSOR_LIMIT'

/**
 * An array or a file of arrays that cannot be what it claims. `…_FORMAT`: the bytes break the format's
 * rules; `…_DTYPE`: well formed, but a type we do not hold; `ERR_TENSOR_LIMIT`: larger than allowed.
 */
export class TensorError extends PlatformError<TensorErrorCode> {}
