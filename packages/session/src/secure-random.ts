/** Uniform in [0, 1) with 53 random bits from the platform's secure source, for noise on which privacy depends. */
export function secureRandom(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2))
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53
}
