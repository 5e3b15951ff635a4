import {
  Float,
  type FobsCodec,
  type FobsValue,
  type Hashable,
  hashKey,
  numberData,
  shapeError,
} from '@hanse/fobs'

/** The NumPy scalars that can travel; all others cannot (fobs.md §10.4). */
type NumpyScalarType = 'float32' | 'float64' | 'int32' | 'int64'

/** One NumPy number. In Python it behaves as the number it holds. */
export class NumpyScalar implements Hashable {
  readonly dtype: NumpyScalarType
  /** `bigint` only for an int64 past 2^53. */
  readonly value: number | bigint

  constructor(dtype: NumpyScalarType, value: number | bigint) {
    this.dtype = dtype
    this.value = value
  }

  hashKey(): string | undefined {
    return hashKey(this.value)
  }
}

const INT_BITS = { int32: 32, int64: 64 } as const

function floatCodec(dtype: 'float32' | 'float64', name: string): FobsCodec<NumpyScalar> {
  const typeName = `numpy.${dtype}`
  return {
    ...scalarCodec(dtype, name),
    compose(data) {
      const value = numberData(typeName, data)
      if (dtype === 'float32' && !Object.is(Math.fround(value), value))
        throw shapeError(typeName, 'a float that 32 bits can hold')
      return new NumpyScalar(dtype, value)
    },
    decompose: ({ value }) => new Float(Number(value)),
  }
}

function intCodec(dtype: 'int32' | 'int64', name: string): FobsCodec<NumpyScalar> {
  const typeName = `numpy.${dtype}`
  return {
    ...scalarCodec(dtype, name),
    compose(data) {
      if (!isIntegerOf(INT_BITS[dtype], data))
        throw shapeError(typeName, `an integer of ${INT_BITS[dtype]} bits`)
      return new NumpyScalar(dtype, data)
    },
    decompose({ value }) {
      if (!isIntegerOf(INT_BITS[dtype], value))
        throw shapeError(typeName, `an integer of ${INT_BITS[dtype]} bits`)
      return value
    },
  }
}

function scalarCodec(
  dtype: NumpyScalarType,
  name: string,
): Pick<FobsCodec<NumpyScalar>, 'typeName' | 'decomposer' | 'class' | 'handles'> {
  return {
    typeName: `numpy.${dtype}`,
    decomposer: `nvflare.app_common.decomposers.numpy_decomposers.${name}ScalarDecomposer`,
    class: NumpyScalar,
    handles: (value) => value.dtype === dtype,
  }
}

function isIntegerOf(bits: 32 | 64, value: FobsValue): value is number | bigint {
  if (typeof value === 'number' ? !Number.isSafeInteger(value) : typeof value !== 'bigint')
    return false
  const whole = BigInt(value as number | bigint) // one of the two, by the line above
  return BigInt.asIntN(bits, whole) === whole
}

export const numpyScalarCodecs: readonly FobsCodec<NumpyScalar>[] = [
  floatCodec('float32', 'Float32'),
  floatCodec('float64', 'Float64'),
  intCodec('int32', 'Int32'),
  intCodec('int64', 'Int64'),
]
