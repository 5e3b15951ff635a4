import type { FobsValue } from '@hanse/fobs'
import { decodeObjectFile } from '../codecs/object-file.ts'
import { Histogram } from '../codecs/statistics.ts'
import { LearningError } from '../learning-error.ts'
import { type Dxo, isValueMap, mapOf } from '../model/dxo.ts'
import { scalarOf } from '../model/numbers.ts'

/** Data set → feature → value. */
export type ByFeature<Value> = Map<string, Map<string, Value>>

/** How many values lie between two ends. */
export interface Bin {
  readonly low: number
  readonly high: number
  readonly count: number
}

/** Statistics that are one number for each feature (workflows.md §10). */
export const NUMBER_STATISTICS = [
  'count',
  'failure_count',
  'sum',
  'mean',
  'min',
  'max',
  'var',
  'stddev',
] as const

export type NumberStatistic = (typeof NUMBER_STATISTICS)[number]

/** What is known of one site's data, or of all together. */
export class Statistics {
  readonly numbers = new Map<NumberStatistic, ByFeature<number>>()
  histograms: ByFeature<readonly Bin[]> | undefined

  /** Replaces what `other` knows anew. */
  update(other: Statistics): void {
    for (const [name, values] of other.numbers) this.numbers.set(name, values)
    this.histograms = other.histograms ?? this.histograms
  }
}

/** Keys of the messages. */
export const STATISTICS_KEY = {
  task: 'fed_stats_task_key',
  first: 'fed_stats_1st_statistics',
  second: 'fed_stats_2nd_statistics',
  targets: 'statistics',
  globalCount: 'global_count',
  globalMean: 'global_mean',
} as const

const KNOWN: ReadonlySet<string> = new Set(NUMBER_STATISTICS)

/**
 * A site's answer to a pass. Values that the site could not compute are absent; statistics that we do not know
 * are left out.
 * @throws {LearningError} `ERR_DXO` when it is none
 * @throws {FobsError} when what it holds cannot be decoded
 */
export function readSiteStatistics(dxo: Dxo, pass: 'first' | 'second'): Statistics {
  const bytes = mapOf(dxo).get(STATISTICS_KEY[pass])
  if (dxo.kind !== 'STATISTICS' || !(bytes instanceof Uint8Array))
    throw new LearningError('ERR_DXO', `the ${dxo.kind} holds no statistics of the ${pass} pass`)
  const content = decodeObjectFile(bytes)
  if (!isValueMap(content)) throw broken('the statistics are no map')
  const statistics = new Statistics()
  for (const [name, values] of content)
    if (name === 'histogram') statistics.histograms = byFeature(name, values, binsOf)
    else if (isNumberStatistic(name))
      statistics.numbers.set(name, byFeature(name, values, scalarOf))
  return statistics
}

function isNumberStatistic(name: string): name is NumberStatistic {
  return KNOWN.has(name)
}

function byFeature<Value>(
  statistic: string,
  datasets: FobsValue,
  read: (value: FobsValue) => Value | undefined,
): ByFeature<Value> {
  if (!isValueMap(datasets)) throw broken(`${statistic} is no map of data sets`)
  const result: ByFeature<Value> = new Map()
  for (const [dataset, features] of datasets) {
    if (!isValueMap(features))
      throw broken(`${statistic} has a data set that is no map of features`)
    const values = new Map<string, Value>()
    for (const [feature, value] of features) {
      const known = value === null ? undefined : read(value)
      if (known !== undefined) values.set(feature, known)
      else if (value !== null) throw broken(`${statistic} has a value of the wrong type`)
    }
    result.set(dataset, values)
  }
  return result
}

function binsOf(value: FobsValue): readonly Bin[] | undefined {
  if (!(value instanceof Histogram)) return undefined
  return value.bins.map(({ low, high, count }) => {
    // The codec takes nothing but numbers.
    return { low: scalarOf(low) ?? 0, high: scalarOf(high) ?? 0, count: scalarOf(count) ?? 0 }
  })
}

function broken(what: string): LearningError {
  return new LearningError('ERR_DXO', what)
}
