import type { JsonObject, JsonValue } from '@hanse/contract'
import { roundBins } from './global-statistics.ts'
import { roundTo } from './round-to.ts'
import type { Bin, ByFeature, Statistics } from './site-statistics.ts'

/** The name under which the statistics of all sites together stand. */
const GLOBAL = 'Global'

type Level<Value> = Map<string, Value>
type Report = Level<Level<Level<Level<JsonValue>>>>

/**
 * Everything in stock's layout: feature → statistic → site or `Global` → data set → value.
 * @param wanted the statistics of the job; what was asked for to compute these is left out
 */
export function statisticsReport(
  sites: ReadonlyMap<string, Statistics>,
  all: Statistics,
  { wanted, digits }: { readonly wanted: ReadonlySet<string>; readonly digits: number },
): JsonObject {
  const report: Report = new Map()
  for (const [name, { numbers, histograms }] of [...sites, [GLOBAL, all] as const]) {
    for (const [statistic, values] of numbers)
      if (wanted.has(statistic)) add(report, [statistic, name], values, (v) => roundTo(v, digits))
    if (wanted.has('histogram') && histograms !== undefined)
      add(report, ['histogram', name], histograms, (bins) => plainBins(roundBins(bins, digits)))
  }
  return plain(report)
}

function add<Value>(
  report: Report,
  [statistic, name]: readonly [string, string],
  values: ByFeature<Value>,
  write: (value: Value) => JsonValue,
): void {
  for (const [dataset, features] of values)
    for (const [feature, value] of features) {
      const ofName = below(below(below(report, feature), statistic), name)
      ofName.set(dataset, write(value))
    }
}

function below<Value>(level: Level<Level<Value>>, key: string): Level<Value> {
  const next = level.get(key) ?? new Map<string, Value>()
  level.set(key, next)
  return next
}

function plainBins(bins: readonly Bin[]): JsonValue {
  return bins.map(({ low, high, count }) => [low, high, count])
}

/** Without prototypes, since sites choose the names. */
function plain(level: ReadonlyMap<string, unknown>): JsonObject {
  const object: Record<string, JsonValue> = Object.create(null)
  for (const [key, value] of level)
    object[key] = value instanceof Map ? plain(value) : (value as JsonValue) // what add() has set
  return object
}
