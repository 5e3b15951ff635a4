/** What repetitions of one measurement gave. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly repetitions: number
}

/** @throws {RangeError} without a value, or with one that is not a number */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('a spread needs at least one value')
  if (!values.every(Number.isFinite)) throw new RangeError(`not all are numbers: ${values}`)
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]!
  const median = sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)!, repetitions: sorted.length }
}

/** Values of `work`, which gives one measurement, after `warmUp` that are thrown away. */
export async function repeated(
  work: () => number | Promise<number>,
  { repetitions = 3, warmUp = 1 }: { repetitions?: number; warmUp?: number } = {},
): Promise<number[]> {
  for (let i = 0; i < warmUp; i++) await work()
  const values: number[] = []
  for (let i = 0; i < repetitions; i++) values.push(await work())
  return values
}

/** Seconds that `work` takes. */
export async function secondsOf(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}
