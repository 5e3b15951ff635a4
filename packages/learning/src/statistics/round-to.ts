/** Digits after the point that `toFixed` can give; doubles of usual size have no more that matter. */
const ALL_DIGITS = 100

/**
 * The decimal number of `digits` places next to `value`, as Python's `round` finds it: of two equally near ones
 * the even one. NaN, infinities and numbers too large for places are given back.
 * @param digits 0 to 50
 */
export function roundTo(value: number, digits: number): number {
  if (!Number.isFinite(value) || Math.abs(value) >= 1e21) return value
  const rounded = value.toFixed(digits)
  const exact = value.toFixed(ALL_DIGITS)
  const point = exact.indexOf('.')
  // `toFixed` takes the larger of two equally near numbers; they are rare, so this is looked at afterwards.
  if (!/^50*$/.test(exact.slice(point + 1 + digits))) return Number(rounded)
  const cut = digits === 0 ? exact.slice(0, point) : exact.slice(0, point + 1 + digits)
  return Number(/[02468]$/.test(cut) ? cut : rounded)
}
