import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { roundTo } from './round-to.ts'

/** The same in whole numbers: a double is `mantissa / 2^shift`. */
function slow(value: number, digits: number): number {
  let shift = 0n
  let mantissa = value
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2
    shift += 1n
  }
  const scaled = BigInt(mantissa) * 10n ** BigInt(digits)
  const unit = 1n << shift
  const sign = scaled < 0n ? -1n : 1n
  const size = scaled * sign
  const floor = size / unit
  const rest = (size % unit) * 2n
  const up = rest > unit || (rest === unit && floor % 2n === 1n)
  return Number(`${sign * (floor + (up ? 1n : 0n))}e-${digits}`)
}

describe('roundTo', () => {
  it.each([
    // As Python's round gives them.
    [2.675, 2, 2.67],
    [0.5, 0, 0],
    [1.5, 0, 2],
    [2.5, 0, 2],
    [-2.5, 0, -2],
    [0.03125, 4, 0.0312],
    [0.09375, 4, 0.0938],
    [5013, 4, 5013],
    [1e22, 4, 1e22],
    [1.00005, 4, 1.0001],
  ])('rounds %d to %d digits: %d', (value, digits, wanted) => {
    expect(roundTo(value, digits) + 0).toBe(wanted)
  })

  it('gives back what is no number', () => {
    expect(roundTo(Number.NaN, 4)).toBeNaN()
    expect(roundTo(-Infinity, 4)).toBe(-Infinity)
  })

  it('agrees with exact arithmetic, halves included', () => {
    const halves = fc
      .tuple(fc.integer({ min: -1_000_000, max: 1_000_000 }), fc.integer({ min: 0, max: 20 }))
      .map(([n, bits]) => n / 2 ** bits)
    const values = fc.oneof(halves, fc.double({ min: -1e6, max: 1e6, noNaN: true }))
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 12 }), (value, digits) => {
        fc.pre(value === 0 || Math.abs(value) > 1e-9)
        expect(roundTo(value, digits) + 0).toBe(slow(value, digits) + 0)
      }),
    )
  })
})
