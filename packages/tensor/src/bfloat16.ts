const scratch = new Float32Array(1)
const bits = new Uint32Array(scratch.buffer)

/** The number that 16 bits of bfloat16 stand for. */
export function bfloat16ToNumber(value: number): number {
  bits[0] = value << 16
  return scratch[0]!
}

/**
 * The bits of the nearest bfloat16, ties to even, rounded once: going through float32 first would round
 * twice and land on the wrong side of a tie.
 */
export function numberToBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0
  scratch[0] = value
  let word = bits[0]!
  // A tie in float32 that is none in float64: step to the side where the real value lies.
  if ((word & 0xffff) === 0x8000 && scratch[0] !== value)
    word = Math.abs(value) > Math.abs(scratch[0]!) ? word + 1 : word - 1
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff
}
