import { numberToBfloat16 } from './bfloat16.ts'
import { allocate, type DType, holdsDType, kindOf, lanesOf, type TypedArray } from './dtype.ts'
import { type NumberArray, toNumbers } from './numbers.ts'
import { type ArenaTenant, type ArenaValues, type SumArena, sumArena } from './simd/sum-arena.ts'
import { CAPACITY } from './simd/sum-kernels.ts'
import { TensorError } from './tensor-error.ts'

/** 2^27 + 1: splits a float64 into two halves whose products are exact. */
const SPLITTER = 134_217_729
/** Past this the split overflows; results that large need no last bit. */
const SPLIT_LIMIT = 2 ** 996
/** Below this, calling the vector kernels costs more than they save. */
const MIN_VECTOR_LENGTH = 256

/**
 * The weighted mean Σ w·v / Σ w of one block of elements, over as many contributions as are added.
 *
 * Sums in float64, rounded once to the result type in `mean`. For results in float64 and complex128 the
 * rounding error of every product and sum is carried along in a second float64, so that the mean is
 * within one unit in the last place of the exact one wherever Σ|w·v| < 2^50·|Σ w·v|, and for any input
 * within 2^-52 + n²·2^-104 of Σ|w·v| / Σ w for n contributions. For narrower results the error before
 * that one rounding is at most n·2^-52 of Σ|w·v| / Σ w. Where every partial sum is representable the
 * mean is exact but for its final division and rounding.
 *
 * Blocks of 256 to 131,072 entries go through the vector kernels of `simd/`, which give the same bits as the
 * plain loops here. Their memory holds the sums of one block: several that are added to in turn push each other out.
 *
 * Infinities and NaN follow IEEE 754. The bits depend on the order of `add` calls (they can differ in the
 * last place), so callers add in a fixed order.
 */
export class WeightedSum {
  /** Of the result. */
  readonly dtype: DType
  readonly #length: number
  readonly #isExact: boolean
  readonly #useVectors: boolean
  readonly #tenant: ArenaTenant
  /** Where the sums are: nowhere while they are all -0, in our own arrays, or with the vector kernels. */
  #place: 'nowhere' | 'own' | 'arena' = 'nowhere'
  #ownSum: Float64Array | undefined
  /** What the sums lost to rounding; only for results that have float64's precision. */
  #ownLost: Float64Array | undefined
  #weight = 0
  #weightLost = 0

  /**
   * @param dtype of the result: a float or complex type
   * @param length elements of the block
   * @param options.plain no vector kernels, for comparison
   */
  constructor(dtype: DType, length: number, options: { readonly plain?: boolean } = {}) {
    if (kindOf(dtype) !== 'float' && kindOf(dtype) !== 'complex')
      throw new TensorError('ERR_TENSOR_DTYPE', `a mean cannot be held in ${dtype}`)
    this.dtype = dtype
    this.#length = length * lanesOf(dtype)
    this.#isExact = dtype === 'float64' || dtype === 'complex128'
    this.#useVectors =
      options.plain !== true && this.#length >= MIN_VECTOR_LENGTH && this.#length <= CAPACITY
    this.#tenant = {
      leave: () => {
        if (this.#place === 'arena') this.#moveOut()
      },
    }
  }

  /** Σ w so far. */
  get weight(): number {
    return this.#weight + this.#weightLost
  }

  /**
   * Adds one contribution's block. `dtype` may be narrower than the result's, or integer.
   * @param values borrowed for the call, never kept or changed
   * @param weight finite and > 0, usually the number of training examples
   * @param options.preweighted the values were multiplied by their weight before: they are summed as they
   * are, and the weight only counts in the division
   * @throws {RangeError} on a wrong weight or length, before anything is added
   * @throws {TensorError} `ERR_TENSOR_DTYPE` when the values do not fit the result
   */
  add(
    dtype: DType,
    values: TypedArray,
    weight: number,
    options: { readonly preweighted?: boolean } = {},
  ): void {
    if (!(weight > 0 && weight < Infinity))
      throw new RangeError(`weight must be finite and > 0, got ${weight}`)
    if (!holdsDType(dtype, values))
      throw new TensorError('ERR_TENSOR_DTYPE', `the values are not those of ${dtype}`)
    const lanes = lanesOf(this.dtype)
    if (lanesOf(dtype) > lanes)
      throw new TensorError(
        'ERR_TENSOR_DTYPE',
        `${dtype} cannot be added to a sum of ${this.dtype}`,
      )
    const stride = lanes / lanesOf(dtype)
    if (values.length * stride !== this.#length)
      throw new RangeError(`expected ${this.#length / stride} values, got ${values.length}`)
    const factor = options.preweighted === true ? 1 : weight
    const numbers = toVectors(dtype, values, this.#isExact)
    const arena = numbers !== undefined && stride === 1 ? this.#moveIn() : undefined
    if (arena === undefined) this.#addHere(toNumbers(dtype, values), factor, stride)
    else if (numbers instanceof Float64Array) {
      const { high, low, limit } = splitWeight(factor)
      arena.addExact(numbers, factor, high, low, limit)
    } else arena.add(numbers!, factor)
    const total = this.#weight + weight
    this.#weightLost += sumError(this.#weight, weight, total)
    this.#weight = total
  }

  /**
   * The mean so far, in a new array of the result's type.
   * @throws {RangeError} before the first `add`
   */
  mean(): TypedArray {
    return this.#divided(this.#weight, this.#weightLost, this.#newArray())
  }

  /**
   * Writes the mean so far into `target`, an array of the result's type that is as long as the block.
   * @throws {RangeError} before the first `add` or on a wrong length, before anything is written
   * @throws {TensorError} `ERR_TENSOR_DTYPE`
   */
  meanInto(target: TypedArray): void {
    if (!holdsDType(this.dtype, target))
      throw new TensorError('ERR_TENSOR_DTYPE', `the target is no array of ${this.dtype} elements`)
    if (target.length !== this.#length)
      throw new RangeError(`expected room for ${this.#length} values, got ${target.length}`)
    this.#divided(this.#weight, this.#weightLost, target)
  }

  /** The sum Σ w·v so far, without the division, in a new array of the result's type. */
  sum(): TypedArray {
    return this.#divided(1, 0, this.#newArray())
  }

  /** Forgets everything added, to use the same memory for the next block. */
  reset(): void {
    this.#place = 'nowhere'
    this.#weight = 0
    this.#weightLost = 0
  }

  /** The vector kernels with our sums in them, where there are any. */
  #moveIn(): SumArena | undefined {
    const arena = this.#useVectors ? sumArena() : undefined
    if (arena === undefined || this.#place === 'arena') return arena
    arena.enter(this.#tenant, this.#length)
    if (this.#place === 'own') arena.load(this.#ownSum!, this.#ownLost)
    this.#place = 'arena'
    return arena
  }

  #moveOut(): void {
    const sums = this.#sums()
    const own = this.#own()
    if (this.#place === 'own') return
    // Negative zero is what adding leaves untouched: a mean of -0 is -0, as in NumPy.
    if (sums === undefined) own.sum.fill(-0)
    else own.sum.set(sums.sum)
    if (sums?.lost === undefined) own.lost?.fill(0)
    else own.lost?.set(sums.lost)
    this.#place = 'own'
  }

  /** Own arrays: made when they are first needed. */
  #own(): Sums {
    this.#ownSum ??= new Float64Array(this.#length)
    if (this.#isExact) this.#ownLost ??= new Float64Array(this.#length)
    return { sum: this.#ownSum, lost: this.#ownLost }
  }

  /** Where the sums are now; `undefined` while they are all -0. */
  #sums(): Sums | undefined {
    if (this.#place === 'nowhere') return undefined
    if (this.#place === 'own') return this.#own()
    const arena = sumArena()! // it holds our sums
    return { sum: arena.sums(), lost: this.#isExact ? arena.lost() : undefined }
  }

  #addHere(values: NumberArray, weight: number, stride: number): void {
    this.#moveOut()
    const { sum, lost } = this.#own()
    if (lost !== undefined) this.#addExact(sum, lost, values, weight, stride)
    else if (stride === 1) for (let i = 0; i < sum.length; i++) sum[i]! += weight * values[i]!
    else for (let i = 0; i < values.length; i++) sum[i * stride]! += weight * values[i]!
  }

  #addExact(
    sum: Float64Array,
    lost: Float64Array,
    values: NumberArray,
    weight: number,
    stride: number,
  ): void {
    const { high: weightHigh, low: weightLow, limit } = splitWeight(weight)
    for (let i = 0; i < values.length; i++) {
      const at = i * stride
      const value = values[i]!
      const product = weight * value
      const before = sum[at]!
      const after = before + product
      sum[at] = after
      // Dekker's product and Knuth's sum: both errors are exact float64 numbers.
      const part = after - before
      let error = before - (after - part) + (product - part)
      if (value < limit && value > -limit) {
        const valueScaled = SPLITTER * value
        const high = valueScaled - (valueScaled - value)
        const low = value - high
        error +=
          weightLow * low - (product - weightHigh * high - weightLow * high - weightHigh * low)
      }
      lost[at]! += error
    }
  }

  #newArray(): TypedArray {
    return allocate(this.dtype, this.#length / lanesOf(this.dtype))
  }

  #divided(weight: number, weightLost: number, out: TypedArray): TypedArray {
    if (this.#weight === 0) throw new RangeError('nothing was added')
    if (this.#place === 'arena') {
      const arena = sumArena()! // it holds our sums
      if (!this.#isExact && out instanceof Float32Array) {
        arena.meanInto(out, weight + weightLost)
        return out
      }
      if (out instanceof Float64Array) {
        const { high, low } = splitWeight(weight)
        arena.exactMeanInto(out, weight, high, low, weightLost)
        return out
      }
    }
    const { sum, lost } = this.#sums()! // something was added
    if (lost === undefined) {
      const total = weight + weightLost
      if (this.dtype === 'bfloat16')
        for (let i = 0; i < sum.length; i++) out[i] = numberToBfloat16(sum[i]! / total)
      else for (let i = 0; i < sum.length; i++) out[i] = sum[i]! / total
      return out
    }
    for (let i = 0; i < sum.length; i++) {
      const quotient = sum[i]! / weight
      // What the first quotient leaves over, divided again.
      const rest = remainder(sum[i]!, quotient, weight) + lost[i]! - quotient * weightLost
      const corrected = quotient + rest / weight
      // A zero rest must not turn -0 into 0; an overflow on the way must not turn infinity into NaN.
      out[i] = rest !== 0 && Number.isFinite(corrected) ? corrected : quotient
    }
    return out
  }
}

interface Sums {
  readonly sum: Float64Array
  readonly lost: Float64Array | undefined
}

/** What the vector kernels take as it is; the values of other types go through the plain loops. */
function toVectors(
  dtype: DType,
  values: TypedArray,
  isExact: boolean,
): ArenaValues | Float64Array | undefined {
  if (isExact) return values instanceof Float64Array ? values : undefined
  if (values instanceof Float32Array) return { dtype: 'float32', values }
  if (dtype === 'bfloat16' && values instanceof Uint16Array) return { dtype, values }
  if (dtype !== 'float16') return undefined
  return { dtype, values: new Uint16Array(values.buffer, values.byteOffset, values.length) }
}

/** The weight's halves, the same for all values, and the size below which values may be split too. */
function splitWeight(weight: number): {
  readonly high: number
  readonly low: number
  readonly limit: number
} {
  const scaled = SPLITTER * weight
  const high = scaled - (scaled - weight)
  return { high, low: weight - high, limit: weight < SPLIT_LIMIT ? SPLIT_LIMIT : 0 }
}

/** `dividend - quotient * divisor`, exact unless something overflows (then NaN or infinite). */
function remainder(dividend: number, quotient: number, divisor: number): number {
  const product = quotient * divisor
  const scaledQ = SPLITTER * quotient
  const highQ = scaledQ - (scaledQ - quotient)
  const lowQ = quotient - highQ
  const scaledD = SPLITTER * divisor
  const highD = scaledD - (scaledD - divisor)
  const lowD = divisor - highD
  const error = lowQ * lowD - (product - highQ * highD - lowQ * highD - highQ * lowD)
  return dividend - product - error
}

/** What `total = a + b` lost to rounding (Knuth). */
function sumError(a: number, b: number, total: number): number {
  const part = total - a
  return a - (total - part) + (b - part)
}
