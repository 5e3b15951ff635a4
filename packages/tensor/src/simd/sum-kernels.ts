import {
  absF64,
  addF64,
  addI32,
  and,
  type Code,
  demote,
  divF64,
  doubles,
  F64,
  get,
  greaterI32,
  halves,
  I32,
  i32,
  load,
  loadHalf,
  loopWhileLess,
  ltF64,
  mulF32,
  mulF64,
  notEqualF64,
  or,
  promote,
  select,
  set,
  shiftLeft,
  splatF64,
  store,
  subF64,
  tee,
  V128,
  type WasmFunction,
  wasmModule,
  widenHigh,
  widenLow,
  words,
} from './wasm-code.ts'

/** Entries that the kernels' memory has room for. */
export const CAPACITY: number = 128 * 1024
/** Contributions that are added in one go. */
export const SLOTS = 4

// Streams that begin at the same place of a page stand in each other's way in the first cache.
const GAP = 576
const PAGE = 65_536

/** Where things are, in bytes. Sums and what they lost are float64, values float32 in slots or float64 in all of them. */
export const SUM = 0
export const LOST: number = SUM + CAPACITY * 8 + GAP
export const VALUES: number = LOST + CAPACITY * 8 + GAP
export const SLOT_BYTES: number = CAPACITY * 4 + GAP
/** What comes out: float32 or float64. */
export const OUT: number = VALUES + SLOTS * SLOT_BYTES
/** 16-bit values as they came. */
export const RAW: number = OUT + CAPACITY * 8 + GAP
const PAGES = Math.ceil((RAW + CAPACITY * 2) / PAGE)

/** 2^27 + 1, as in the plain loop. */
const SPLITTER = doubles(134_217_729)

/** What the kernels do. Ends are in bytes, multiples of 32; what lies past the values is added as well and unused. */
export interface SumKernels {
  readonly memory: WebAssembly.Memory
  /** `add1` … `add4`: sums += weight · value for so many slots; `start1` … take the sums for -0 first. */
  readonly add: readonly ((sumEnd: number, ...weights: number[]) => void)[]
  readonly start: readonly ((sumEnd: number, ...weights: number[]) => void)[]
  /** One contribution in float64, with the errors of product and sum; halves of the weight, limit of what is split. */
  addExact(sumEnd: number, weight: number, high: number, low: number, limit: number): void
  /**
   * `mean0` … `mean4`: quotients of the sums, and of what so many slots add to them, as float32; the sums stay as they
   * are. `meanStart1` … as with `start`.
   */
  readonly mean: readonly ((sumEnd: number, total: number, ...weights: number[]) => void)[]
  readonly meanStart: readonly ((sumEnd: number, total: number, ...weights: number[]) => void)[]
  /** Quotients of exact sums as float64: the divisor, its halves, and what it lost to rounding. */
  meanFloat64(sumEnd: number, divisor: number, high: number, low: number, lost: number): void
  /** Raw values as float32 into a slot: its offset, and the end of the raw values. */
  widenFloat16(slotOffset: number, rawEnd: number): void
  widenBfloat16(slotOffset: number, rawEnd: number): void
}

/** Two entries of a sum with the slots added to it. Registers of the slots' weights begin at local `vectors`. */
function total(slots: number, fresh: boolean, index: 0 | 1, locals: SumLocals): Code {
  const { sum, sumAt, valueAt, vectors } = locals
  return [
    ...set(sum, fresh ? doubles(-0) : load(get(sumAt), SUM + index * 16)),
    ...Array.from({ length: slots }, (_, slot) => {
      const values = loadHalf(get(valueAt), VALUES + slot * SLOT_BYTES + index * 8)
      return set(sum, addF64(get(sum), mulF64(get(vectors + slot), promote(values))))
    }).flat(),
  ]
}

interface SumLocals {
  readonly sum: number
  readonly sumAt: number
  readonly valueAt: number
  readonly vectors: number
}

/** Every parameter from number `first` on as a vector, in the locals from `vectors` on. */
function splatted(first: number, vectors: number, count: number): Code {
  return Array.from({ length: count }, (_, i) => set(vectors + i, splatF64(get(first + i)))).flat()
}

/** Four entries a turn: sums stay in registers while all slots are added to them. */
function addSlots(slots: number, fresh: boolean): WasmFunction {
  const [sumEnd, weights, vectors, sumAt] = [0, 1, 1 + slots, 1 + 2 * slots] as const
  const locals = { sum: sumAt + 2, sumAt, valueAt: sumAt + 1, vectors }
  const half = (index: 0 | 1): Code => [
    ...total(slots, fresh, index, locals),
    ...store(get(sumAt), SUM + index * 16, get(locals.sum)),
  ]
  return {
    name: `${fresh ? 'start' : 'add'}${slots}`,
    parameters: [I32, ...Array<number>(slots).fill(F64)],
    locals: [...Array<number>(slots).fill(V128), I32, I32, V128],
    body: [
      ...splatted(weights, vectors, slots),
      ...loopWhileLess(
        [...half(0), ...half(1), ...set(locals.valueAt, addI32(get(locals.valueAt), i32(16)))],
        tee(sumAt, addI32(get(sumAt), i32(32))),
        get(sumEnd),
      ),
    ],
  }
}

/** The same with a division instead of storing: the last contributions' sums never see memory. */
function meanOfSlots(slots: number, fresh: boolean): WasmFunction {
  const [sumEnd, divisor, vectors] = [0, 1, 2 + slots] as const
  const sumAt = vectors + 1 + slots
  // The first of the vectors is the divisor.
  const locals = { sum: sumAt + 2, sumAt, valueAt: sumAt + 1, vectors: vectors + 1 }
  const quotients = sumAt + 3
  const half = (index: 0 | 1): Code => [
    ...total(slots, fresh, index, locals),
    ...set(quotients + index, demote(divF64(get(locals.sum), get(vectors)))),
  ]
  return {
    name: `${fresh ? 'meanStart' : 'mean'}${slots}`,
    parameters: [I32, F64, ...Array<number>(slots).fill(F64)],
    locals: [...Array<number>(1 + slots).fill(V128), I32, I32, V128, V128, V128],
    body: [
      ...splatted(divisor, vectors, 1 + slots),
      ...loopWhileLess(
        [
          ...half(0),
          ...half(1),
          ...store(get(locals.valueAt), OUT, halves(get(quotients), get(quotients + 1))),
          ...set(locals.valueAt, addI32(get(locals.valueAt), i32(16))),
        ],
        tee(sumAt, addI32(get(sumAt), i32(32))),
        get(sumEnd),
      ),
    ],
  }
}

/** The plain loop of `WeightedSum`, two entries at once. */
function addExact(): WasmFunction {
  const [sumEnd, weight, high, low, limit] = [0, 1, 2, 3, 4]
  const [w, wHigh, wLow, limits, at, v, product, before, after, part, error, vHigh, vLow] =
    Array.from({ length: 13 }, (_, i) => 5 + i) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
  const scaled = part // in turn
  return {
    name: 'addExact',
    parameters: [I32, F64, F64, F64, F64],
    locals: [V128, V128, V128, V128, I32, ...Array<number>(8).fill(V128)],
    body: [
      ...set(w, splatF64(get(weight))),
      ...set(wHigh, splatF64(get(high))),
      ...set(wLow, splatF64(get(low))),
      ...set(limits, splatF64(get(limit))),
      ...loopWhileLess(
        [
          ...set(v, load(get(at), VALUES)),
          ...set(product, mulF64(get(w), get(v))),
          ...set(before, load(get(at), SUM)),
          ...set(after, addF64(get(before), get(product))),
          ...store(get(at), SUM, get(after)),
          ...set(part, subF64(get(after), get(before))),
          ...set(
            error,
            addF64(
              subF64(get(before), subF64(get(after), get(part))),
              subF64(get(product), get(part)),
            ),
          ),
          ...set(scaled, mulF64(SPLITTER, get(v))),
          ...set(vHigh, subF64(get(scaled), subF64(get(scaled), get(v)))),
          ...set(vLow, subF64(get(v), get(vHigh))),
          ...store(
            get(at),
            LOST,
            addF64(
              load(get(at), LOST),
              select(
                addF64(
                  get(error),
                  subF64(
                    mulF64(get(wLow), get(vLow)),
                    subF64(
                      subF64(
                        subF64(get(product), mulF64(get(wHigh), get(vHigh))),
                        mulF64(get(wLow), get(vHigh)),
                      ),
                      mulF64(get(wHigh), get(vLow)),
                    ),
                  ),
                ),
                get(error),
                ltF64(absF64(get(v)), get(limits)),
              ),
            ),
          ),
        ],
        tee(at, addI32(get(at), i32(16))),
        get(sumEnd),
      ),
    ],
  }
}

/** `WeightedSum`'s division of exact sums, two entries at once. */
function meanFloat64(): WasmFunction {
  const [sumEnd, divisor, high, low, divisorLost] = [0, 1, 2, 3, 4] as const
  const [d, dHigh, dLow, dLost, at, sum, quotient, product, scaled, qHigh, qLow, rest, corrected] =
    [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17] as const
  return {
    name: 'meanFloat64',
    parameters: [I32, F64, F64, F64, F64],
    locals: [V128, V128, V128, V128, I32, ...Array<number>(8).fill(V128)],
    body: [
      ...set(d, splatF64(get(divisor))),
      ...set(dHigh, splatF64(get(high))),
      ...set(dLow, splatF64(get(low))),
      ...set(dLost, splatF64(get(divisorLost))),
      ...loopWhileLess(
        [
          ...set(sum, load(get(at), SUM)),
          ...set(quotient, divF64(get(sum), get(d))),
          ...set(product, mulF64(get(quotient), get(d))),
          ...set(scaled, mulF64(SPLITTER, get(quotient))),
          ...set(qHigh, subF64(get(scaled), subF64(get(scaled), get(quotient)))),
          ...set(qLow, subF64(get(quotient), get(qHigh))),
          ...set(
            rest,
            subF64(
              subF64(get(sum), get(product)),
              subF64(
                mulF64(get(qLow), get(dLow)),
                subF64(
                  subF64(
                    subF64(get(product), mulF64(get(qHigh), get(dHigh))),
                    mulF64(get(qLow), get(dHigh)),
                  ),
                  mulF64(get(qHigh), get(dLow)),
                ),
              ),
            ),
          ),
          ...set(
            rest,
            subF64(addF64(get(rest), load(get(at), LOST)), mulF64(get(quotient), get(dLost))),
          ),
          ...set(corrected, addF64(get(quotient), divF64(get(rest), get(d)))),
          ...store(
            get(at),
            OUT,
            select(
              get(corrected),
              get(quotient),
              and(
                notEqualF64(get(rest), doubles(0)),
                ltF64(absF64(get(corrected)), doubles(Infinity)),
              ),
            ),
          ),
        ],
        tee(at, addI32(get(at), i32(16))),
        get(sumEnd),
      ),
    ],
  }
}

/** Eight 16-bit values a turn. */
function widen(name: string, toFloat32: (local: number, words: Code) => Code): WasmFunction {
  const [slotOffset, rawEnd, rawAt, outAt, raw, scratch] = [0, 1, 2, 3, 4, 5]
  return {
    name,
    parameters: [I32, I32],
    locals: [I32, I32, V128, V128],
    body: [
      ...set(outAt, get(slotOffset)),
      ...loopWhileLess(
        [
          ...set(raw, load(get(rawAt), RAW)),
          ...store(get(outAt), VALUES, toFloat32(scratch, widenLow(get(raw)))),
          ...store(get(outAt), VALUES + 16, toFloat32(scratch, widenHigh(get(raw)))),
          ...set(outAt, addI32(get(outAt), i32(32))),
        ],
        tee(rawAt, addI32(get(rawAt), i32(16))),
        get(rawEnd),
      ),
    ],
  }
}

/** A bfloat16 is the first half of a float32. */
const bfloat16 = (_local: number, bits: Code): Code => shiftLeft(bits, 16)

/**
 * Exponent and fraction at their place in a float32 are the number over 2^112, subnormal ones too; what was
 * infinite or NaN gets the highest exponent.
 */
const float16 = (local: number, bits: Code): Code => [
  ...set(local, bits),
  ...or(
    or(
      mulF32(magnitude(local), words(0x7780_0000)), // 2^112
      and(greaterI32(magnitude(local), words(0x0f7f_ffff)), words(0x7f80_0000)),
    ),
    shiftLeft(and(get(local), words(0x8000)), 16),
  ),
]

function magnitude(local: number): Code {
  return shiftLeft(and(get(local), words(0x7fff)), 13)
}

/**
 * Compiles the kernels.
 * @throws whatever keeps WebAssembly or its vectors from being used here
 */
export function createSumKernels(): SumKernels {
  const counts = Array.from({ length: SLOTS }, (_, i) => i + 1)
  const functions = [
    ...counts.map((slots) => addSlots(slots, false)),
    ...counts.map((slots) => addSlots(slots, true)),
    addExact(),
    ...counts.map((slots) => meanOfSlots(slots, true)),
    ...[0, ...counts].map((slots) => meanOfSlots(slots, false)),
    meanFloat64(),
    widen('widenFloat16', float16),
    widen('widenBfloat16', bfloat16),
  ]
  const module = new WebAssembly.Module(wasmModule(functions, PAGES))
  // The module's exports are those that are listed above.
  const exports = new WebAssembly.Instance(module).exports as unknown as Omit<
    SumKernels,
    'add' | 'start' | 'mean' | 'meanStart'
  > &
    Record<string, SumKernels['add'][number]>
  return {
    memory: exports.memory,
    add: counts.map((slots) => exports[`add${slots}`]!),
    start: counts.map((slots) => exports[`start${slots}`]!),
    addExact: exports.addExact,
    mean: [0, ...counts].map((slots) => exports[`mean${slots}`]!),
    meanStart: counts.map((slots) => exports[`meanStart${slots}`]!),
    meanFloat64: exports.meanFloat64,
    widenFloat16: exports.widenFloat16,
    widenBfloat16: exports.widenBfloat16,
  }
}
