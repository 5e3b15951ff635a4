import { WeightedSum } from '@hanse/tensor'
import type { ValueMap } from '../model/dxo.ts'
import { scalarOf } from '../model/numbers.ts'

/** The metrics that are numbers. */
export function numericMetrics(metrics: ValueMap): Map<string, number> {
  const numbers = new Map<string, number>()
  for (const [name, value] of metrics) {
    const number = scalarOf(value)
    if (number !== undefined) numbers.set(name, number)
  }
  return numbers
}

/** Weighted mean per metric, over the sites that sent it, in the order given. */
export function meanMetrics(
  contributions: readonly {
    readonly metrics: ReadonlyMap<string, number>
    readonly weight: number
  }[],
): Map<string, number> {
  const sums = new Map<string, WeightedSum>()
  for (const { metrics, weight } of contributions)
    for (const [name, value] of metrics) {
      const sum = sums.get(name) ?? new WeightedSum('float64', 1)
      if (weight > 0) sum.add('float64', Float64Array.of(value), weight)
      sums.set(name, sum)
    }
  const means = new Map<string, number>()
  for (const [name, sum] of sums) if (sum.weight > 0) means.set(name, Number(sum.mean()[0]))
  return means
}
