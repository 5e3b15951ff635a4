import { roundTo } from './round-to.ts'
import { type Bin, type ByFeature, type NumberStatistic, Statistics } from './site-statistics.ts'

// The sums of stock (workflows.md §10): it rounds after every site, so that is part of the result. Here the sites
// come in the order of their names, there in that of their answers.

/** Digits of histograms' ends, whatever the job's precision. */
const HISTOGRAM_DIGITS = 4

/** What the first pass says of all sites together: count, sum, mean and the ends of the values. */
export function firstPass(sites: readonly Statistics[], digits: number): Statistics {
  const all = new Statistics()
  for (const name of ['count', 'sum'] as const) addUp(all, sites, name, digits)
  if (sites.some(({ numbers }) => numbers.has('mean')))
    all.numbers.set('mean', means(all, sites, digits))
  for (const [name, choose] of [
    ['min', Math.min],
    ['max', Math.max],
  ] as const)
    if (sites.some(({ numbers }) => numbers.has(name)))
      all.numbers.set(name, extremes(sites, name, choose, digits))
  return all
}

/** What the second pass adds: failures, variances, deviations and histograms. */
export function secondPass(sites: readonly Statistics[], digits: number): Statistics {
  const all = new Statistics()
  addUp(all, sites, 'failure_count', digits)
  addUp(all, sites, 'var', digits)
  const variances = all.numbers.get('var')
  if (variances !== undefined && sites.some(({ numbers }) => numbers.has('stddev')))
    all.numbers.set(
      'stddev',
      mapValues(variances, (value) => roundTo(Math.sqrt(value), digits)),
    )
  if (sites.some(({ histograms }) => histograms !== undefined)) all.histograms = histograms(sites)
  return all
}

function addUp(
  all: Statistics,
  sites: readonly Statistics[],
  name: NumberStatistic,
  digits: number,
): void {
  const parts = sites.flatMap(({ numbers }) => numbers.get(name) ?? [])
  if (parts.length === 0) return
  const sums: ByFeature<number> = new Map()
  for (const part of parts)
    forEach(part, (dataset, feature, value) =>
      set(sums, dataset, feature, (sum = 0) => roundTo(sum + value, digits)),
    )
  all.numbers.set(name, sums)
}

/** Sums by counts; without sums, the sites' means by their counts, where stock fails. */
function means(all: Statistics, sites: readonly Statistics[], digits: number): ByFeature<number> {
  const counts = all.numbers.get('count')
  let sums = all.numbers.get('sum')
  if (sums === undefined) {
    sums = new Map()
    for (const { numbers } of sites)
      forEach(
        numbers.get('mean') ?? new Map<string, Map<string, number>>(),
        (dataset, feature, mean) => {
          const count = numbers.get('count')?.get(dataset)?.get(feature) ?? 0
          if (count > 0) set(sums!, dataset, feature, (sum = 0) => sum + mean * count)
        },
      )
  }
  const result: ByFeature<number> = new Map()
  forEach(sums, (dataset, feature, sum) => {
    const count = counts?.get(dataset)?.get(feature) ?? 0
    if (count > 0) set(result, dataset, feature, () => roundTo(sum / count, digits))
  })
  return result
}

/** Over all data sets of a feature, so that their histograms have the same ends. */
function extremes(
  sites: readonly Statistics[],
  name: 'min' | 'max',
  choose: (a: number, b: number) => number,
  digits: number,
): ByFeature<number> {
  const parts = sites.flatMap(({ numbers }) => numbers.get(name) ?? [])
  const ofFeature = new Map<string, number>()
  for (const part of parts)
    forEach(part, (_, feature, value) => {
      const known = ofFeature.get(feature)
      ofFeature.set(feature, known === undefined ? value : choose(known, value))
    })
  const result: ByFeature<number> = new Map()
  for (const part of parts)
    forEach(part, (dataset, feature, value) =>
      set(result, dataset, feature, () => roundTo(ofFeature.get(feature) ?? value, digits)),
    )
  return result
}

/** The bins of the first site that has some, with what the others have between the same ends. */
function histograms(sites: readonly Statistics[]): ByFeature<readonly Bin[]> {
  const result: ByFeature<readonly Bin[]> = new Map()
  for (const { histograms: own } of sites)
    forEach(own ?? new Map<string, Map<string, readonly Bin[]>>(), (dataset, feature, bins) => {
      const rounded = roundBins(bins, HISTOGRAM_DIGITS)
      set(result, dataset, feature, (sum) => {
        if (sum === undefined || sum.length === 0) return rounded
        const counts = new Map<string, number>()
        for (const { low, high, count } of rounded)
          counts.set(`${low}:${high}`, (counts.get(`${low}:${high}`) ?? 0) + count)
        return sum.map(({ low, high, count }) => ({
          low,
          high,
          count: count + (counts.get(`${low}:${high}`) ?? 0),
        }))
      })
    })
  return result
}

/** The same bins with ends of so many digits. */
export function roundBins(bins: readonly Bin[], digits: number): readonly Bin[] {
  return bins.map(({ low, high, count }) => ({
    low: roundTo(low, digits),
    high: roundTo(high, digits),
    count,
  }))
}

function forEach<Value>(
  values: ByFeature<Value>,
  visit: (dataset: string, feature: string, value: Value) => void,
): void {
  for (const [dataset, features] of values)
    for (const [feature, value] of features) visit(dataset, feature, value)
}

function mapValues<Value>(
  values: ByFeature<Value>,
  change: (value: Value) => Value,
): ByFeature<Value> {
  const result: ByFeature<Value> = new Map()
  forEach(values, (dataset, feature, value) => set(result, dataset, feature, () => change(value)))
  return result
}

function set<Value>(
  values: ByFeature<Value>,
  dataset: string,
  feature: string,
  next: (value: Value | undefined) => Value,
): void {
  const features = values.get(dataset) ?? new Map<string, Value>()
  values.set(dataset, features.set(feature, next(features.get(feature))))
}
