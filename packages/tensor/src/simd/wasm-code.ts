// As much of WebAssembly's binary format as our kernels need: each function gives the bytes of one expression.
// Numbers of instructions are those of the specification (WebAssembly 2.0, binary format, §5.4).

/** Bytes of instructions. */
export type Code = readonly number[]

export const I32 = 0x7f
export const F64 = 0x7c
export const V128 = 0x7b

/** Unsigned LEB128. */
function unsigned(value: number): Code {
  const low = value % 128
  const rest = Math.floor(value / 128)
  return rest === 0 ? [low] : [low + 128, ...unsigned(rest)]
}

/** Signed LEB128 of a number from 0 to 2^31 - 1. */
function signed(value: number): Code {
  const low = value % 128
  const rest = Math.floor(value / 128)
  return rest === 0 && low < 64 ? [low] : [low + 128, ...signed(rest)]
}

function simd(instruction: number, ...immediates: number[]): Code {
  return [0xfd, ...unsigned(instruction), ...immediates]
}

function vector(instruction: number): (...operands: readonly Code[]) => Code {
  return (...operands) => [...operands.flat(), ...simd(instruction)]
}

function memory(instruction: number) {
  // Alignment is a hint: 2^3 bytes.
  return (address: Code, offset: number): Code => [
    ...address,
    ...simd(instruction, 3, ...unsigned(offset)),
  ]
}

export const get = (local: number): Code => [0x20, local]
export const set = (local: number, value: Code): Code => [...value, 0x21, local]
export const tee = (local: number, value: Code): Code => [...value, 0x22, local]
export const i32 = (value: number): Code => [0x41, ...signed(value)]
export const addI32 = (a: Code, b: Code): Code => [...a, ...b, 0x6a]

/** Runs `body` and then again, as long as `a < b`, both unsigned. */
export const loopWhileLess = (body: Code, a: Code, b: Code): Code => [
  0x03,
  0x40,
  ...body,
  ...a,
  ...b,
  0x49,
  0x0d,
  0,
  0x0b,
]

export const load: (address: Code, offset: number) => Code = memory(0)
/** Eight bytes, and eight of zero. */
export const loadHalf: (address: Code, offset: number) => Code = memory(93)
export const store = (address: Code, offset: number, value: Code): Code => [
  ...address,
  ...value,
  ...simd(11, 3, ...unsigned(offset)),
]

/** The same 32 bits four times. */
export const words = (word: number): Code => {
  const bytes = [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24]
  return simd(12, ...bytes, ...bytes, ...bytes, ...bytes)
}
/** The same float64 twice. */
export const doubles = (value: number): Code => {
  const bytes = [...new Uint8Array(Float64Array.of(value).buffer)]
  return simd(12, ...bytes, ...bytes)
}
export const splatF64: (value: Code) => Code = vector(20)
export const addF64: (a: Code, b: Code) => Code = vector(240)
export const subF64: (a: Code, b: Code) => Code = vector(241)
export const mulF64: (a: Code, b: Code) => Code = vector(242)
export const divF64: (a: Code, b: Code) => Code = vector(243)
export const absF64: (a: Code) => Code = vector(236)
export const ltF64: (a: Code, b: Code) => Code = vector(73)
export const notEqualF64: (a: Code, b: Code) => Code = vector(72)
/** The bits of `a` where `mask` has ones, else those of `b`. */
export const select: (a: Code, b: Code, mask: Code) => Code = vector(82)
/** The first two float32 as float64. */
export const promote: (a: Code) => Code = vector(95)
/** Two float64 as float32, and two zeros. */
export const demote: (a: Code) => Code = vector(94)
export const mulF32: (a: Code, b: Code) => Code = vector(230)
export const and: (a: Code, b: Code) => Code = vector(78)
export const or: (a: Code, b: Code) => Code = vector(80)
export const greaterI32: (a: Code, b: Code) => Code = vector(59)
export const shiftLeft = (a: Code, bits: number): Code => [...a, ...i32(bits), ...simd(171)]
/** The first or last four of eight unsigned 16-bit numbers, as 32 bits. */
export const widenLow: (a: Code) => Code = vector(169)
export const widenHigh: (a: Code) => Code = vector(170)
/** The first eight bytes of `a`, then those of `b`. */
export const halves = (a: Code, b: Code): Code => [
  ...a,
  ...b,
  ...simd(13, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
]

/** A function without results. */
export interface WasmFunction {
  readonly name: string
  readonly parameters: readonly number[]
  /** Types of further locals, numbered after the parameters. */
  readonly locals: readonly number[]
  readonly body: Code
}

/** The bytes of a module that exports `functions`, and its own memory under the name `memory`. */
export function wasmModule(
  functions: readonly WasmFunction[],
  pages: number,
): Uint8Array<ArrayBuffer> {
  const text = (name: string): Code => {
    const bytes = new TextEncoder().encode(name)
    return [...unsigned(bytes.length), ...bytes]
  }
  const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()]
  const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes]
  const section = (id: number, items: readonly Code[]): Code => [id, ...sized(list(items))]
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      functions.map(({ parameters }) => [0x60, ...list(parameters.map((type) => [type])), 0]),
    ),
    ...section(
      3,
      functions.map((_, index) => unsigned(index)),
    ),
    ...section(5, [[1, ...unsigned(pages), ...unsigned(pages)]]),
    ...section(7, [
      [...text('memory'), 2, 0],
      ...functions.map(({ name }, index) => [...text(name), 0, ...unsigned(index)]),
    ]),
    ...section(
      10,
      functions.map(({ locals, body }) =>
        sized([...list(locals.map((type) => [1, type])), ...body, 0x0b]),
      ),
    ),
  ])
}
