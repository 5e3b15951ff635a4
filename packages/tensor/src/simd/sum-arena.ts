import {
  CAPACITY,
  createSumKernels,
  LOST,
  OUT,
  RAW,
  SLOT_BYTES,
  SLOTS,
  SUM,
  type SumKernels,
  VALUES,
} from './sum-kernels.ts'

/** Types whose values the kernels take. */
export type ArenaValues =
  | { readonly dtype: 'float32'; readonly values: Float32Array }
  | { readonly dtype: 'float16' | 'bfloat16'; readonly values: Uint16Array }

/** Whose sums are in the arena. */
export interface ArenaTenant {
  /** Takes its sums out: somebody else comes. */
  leave(): void
}

/** Kernels read and write whole vectors. */
const STEP = 4

/**
 * Memory of the vector kernels, for the sums of one block at a time: values must be copied to where the kernels see
 * them, sums should stay there. Contributions are kept and added four at once, in the order they came.
 */
export class SumArena {
  readonly #kernels: SumKernels
  readonly #sums: Float64Array
  readonly #lost: Float64Array
  readonly #slots: readonly Float32Array[]
  readonly #doubles: Float64Array
  readonly #raw: Uint16Array
  readonly #out: { readonly float32: Float32Array; readonly float64: Float64Array }
  readonly #weights: number[] = []
  #tenant: ArenaTenant | undefined
  #length = 0
  #isFresh = true

  constructor(kernels: SumKernels) {
    this.#kernels = kernels
    const { buffer } = kernels.memory
    this.#sums = new Float64Array(buffer, SUM, CAPACITY)
    this.#lost = new Float64Array(buffer, LOST, CAPACITY)
    this.#slots = Array.from(
      { length: SLOTS },
      (_, slot) => new Float32Array(buffer, VALUES + slot * SLOT_BYTES, CAPACITY),
    )
    this.#doubles = new Float64Array(buffer, VALUES, CAPACITY)
    this.#raw = new Uint16Array(buffer, RAW, CAPACITY)
    this.#out = {
      float32: new Float32Array(buffer, OUT, CAPACITY),
      float64: new Float64Array(buffer, OUT, CAPACITY),
    }
  }

  /** Makes room for a tenant with sums of -0. Who was there leaves; the tenant itself just begins anew. */
  enter(tenant: ArenaTenant, length: number): void {
    if (this.#tenant !== tenant) this.#tenant?.leave()
    this.#tenant = tenant
    this.#length = length
    this.#isFresh = true
    this.#weights.length = 0
  }

  /** Brings sums along. */
  load(sums: Float64Array, lost: Float64Array | undefined): void {
    this.#sums.set(sums)
    if (lost !== undefined) this.#lost.set(lost)
    this.#isFresh = false
  }

  /** Adds to sums without `lost`. */
  add({ dtype, values }: ArenaValues, weight: number): void {
    if (this.#weights.length === SLOTS) this.#flush()
    const slot = this.#weights.length
    if (dtype === 'float32') this.#slots[slot]!.set(values)
    else {
      this.#raw.set(values)
      const end = padded(values.length, STEP * 2) * 2
      const { widenFloat16, widenBfloat16 } = this.#kernels
      const widen = dtype === 'float16' ? widenFloat16 : widenBfloat16
      widen(slot * SLOT_BYTES, end)
    }
    this.#weights.push(weight)
  }

  /** Adds to sums with `lost`. The halves of the weight and the limit are those of `WeightedSum`. */
  addExact(
    values: Float64Array,
    weight: number,
    high: number,
    low: number,
    splitLimit: number,
  ): void {
    if (this.#isFresh) {
      this.#sums.fill(-0, 0, this.#length)
      this.#lost.fill(0, 0, this.#length)
      this.#isFresh = false
    }
    this.#doubles.set(values)
    this.#kernels.addExact(this.#end(), weight, high, low, splitLimit)
  }

  /** The sums so far: a view that holds until the next call of anybody. */
  sums(): Float64Array {
    this.#flush()
    return this.#sums.subarray(0, this.#length)
  }

  /** What they lost, likewise. */
  lost(): Float64Array {
    return this.#lost.subarray(0, this.#length)
  }

  /** Writes every sum over `divisor` into `target`, rounded once; for sums without `lost`. */
  meanInto(target: Float32Array, divisor: number): void {
    const count = this.#weights.length
    const kernel = this.#isFresh
      ? this.#kernels.meanStart[count - 1]! // a tenant with nothing added asks for no mean
      : this.#kernels.mean[count]!
    kernel(this.#end(), divisor, ...this.#weights)
    target.set(this.#out.float32.subarray(0, this.#length))
  }

  /** The same for sums with `lost`; the divisor's halves are those of `WeightedSum`. */
  exactMeanInto(
    target: Float64Array,
    divisor: number,
    high: number,
    low: number,
    divisorLost: number,
  ): void {
    this.#kernels.meanFloat64(this.#end(), divisor, high, low, divisorLost)
    target.set(this.#out.float64.subarray(0, this.#length))
  }

  #flush(): void {
    const count = this.#weights.length
    if (count === 0) return
    const kernels = this.#isFresh ? this.#kernels.start : this.#kernels.add
    kernels[count - 1]!(this.#end(), ...this.#weights)
    this.#isFresh = false
    this.#weights.length = 0
  }

  #end(): number {
    return padded(this.#length, STEP) * 8
  }
}

function padded(length: number, step: number): number {
  return Math.ceil(length / step) * step
}

let arena: SumArena | undefined
let isTried = false

/** The arena of this thread; `undefined` where there is no WebAssembly with vectors. */
export function sumArena(): SumArena | undefined {
  if (!isTried) {
    isTried = true
    try {
      arena = new SumArena(createSumKernels())
    } catch {
      // E.g. a page that forbids compiling code: the plain loops give the same bits.
    }
  }
  return arena
}
