import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { firstPass, secondPass } from './global-statistics.ts'
import {
  type Bin,
  type ByFeature,
  NUMBER_STATISTICS,
  type NumberStatistic,
  Statistics,
} from './site-statistics.ts'
import { statisticsReport } from './statistics-report.ts'

const one = <Value>(value: Value, dataset = 'train', feature = 'age'): ByFeature<Value> =>
  new Map([[dataset, new Map([[feature, value]])]])
function site(numbers: Partial<Record<NumberStatistic, ByFeature<number>>>, bins?: Bin[]) {
  const statistics = new Statistics()
  for (const name of NUMBER_STATISTICS)
    if (numbers[name] !== undefined) statistics.numbers.set(name, numbers[name])
  statistics.histograms = bins && one<readonly Bin[]>(bins)
  return statistics
}
const ageOf = (values: ByFeature<number> | undefined) => values?.get('train')?.get('age')

type Expected = Record<string, Record<string, Record<string, Record<string, unknown>>>>

describe('statistics of all sites', () => {
  it("are stock's for the sites of a stock run", () => {
    const url = new URL('../../../../vectors/jobs/expected/fed-statistics.json', import.meta.url)
    const { statistics: expected } = JSON.parse(readFileSync(url, 'utf8')) as {
      statistics: Expected
    }
    const sites = new Map<string, Statistics>()
    for (const [feature, statistics] of Object.entries(expected))
      for (const [statistic, bySite] of Object.entries(statistics))
        for (const [name, datasets] of Object.entries(bySite)) {
          if (name === 'Global') continue
          const own = sites.get(name) ?? new Statistics()
          sites.set(name, own)
          for (const [dataset, value] of Object.entries(datasets)) {
            const put = <Value>(all: ByFeature<Value>, item: Value) =>
              all.set(dataset, (all.get(dataset) ?? new Map<string, Value>()).set(feature, item))
            if (statistic === 'histogram') {
              const bins = (value as [number, number, number][]).map(([low, high, count]) => {
                return { low, high, count }
              })
              own.histograms = put<readonly Bin[]>(own.histograms ?? new Map(), bins)
            } else {
              const key = statistic as NumberStatistic
              own.numbers.set(key, put(own.numbers.get(key) ?? new Map(), value as number))
            }
          }
        }
    const parts = [...sites.values()]
    const all = firstPass(parts, 4)
    all.update(secondPass(parts, 4))
    const wanted = new Set(Object.values(expected).flatMap((feature) => Object.keys(feature)))
    const report = statisticsReport(sites, all, { wanted, digits: 4 })
    expect(JSON.parse(JSON.stringify(report))).toEqual(expected)
  })

  it('give both data sets of a feature the same ends', () => {
    const of = (train: number, test: number): ByFeature<number> =>
      new Map([
        ['train', new Map([['age', train]])],
        ['test', new Map([['age', test]])],
      ])
    const { numbers } = firstPass(
      [site({ min: of(3, 5), max: of(8, 6) }), site({ min: of(2, 9), max: of(7, 9.00006) })],
      4,
    )
    expect(numbers.get('min')).toEqual(of(2, 2))
    expect(numbers.get('max')).toEqual(of(9.0001, 9.0001))
  })

  it('make means of sums, or of means when no sums were asked for', () => {
    const bySums = firstPass(
      [
        site({ count: one(2), sum: one(3), mean: one(1.5) }),
        site({ count: one(4), sum: one(9), mean: one(2.25) }),
      ],
      4,
    )
    expect(ageOf(bySums.numbers.get('mean'))).toBe(2)
    const byMeans = firstPass(
      [site({ count: one(2), mean: one(1.5) }), site({ count: one(4), mean: one(2.25) })],
      4,
    )
    expect(ageOf(byMeans.numbers.get('mean'))).toBe(2)
    const empty = firstPass([site({ count: one(0), sum: one(0), mean: one(0) })], 4)
    expect(ageOf(empty.numbers.get('mean'))).toBeUndefined()
  })

  it('add variances, and take deviations from them', () => {
    const { numbers } = secondPass(
      [site({ var: one(1.2), stddev: one(9) }), site({ var: one(1.05), stddev: one(9) })],
      4,
    )
    expect(ageOf(numbers.get('var'))).toBe(2.25)
    expect(ageOf(numbers.get('stddev'))).toBe(1.5)
  })

  it('add histograms by the ends of their bins', () => {
    const bins = (...counts: number[]): Bin[] =>
      counts.map((count, i) => ({ low: i / 3, high: (i + 1) / 3, count }))
    const other = [...bins(5, 6), { low: 50, high: 60, count: 7 }]
    const { histograms } = secondPass([site({}, []), site({}, bins(1, 2)), site({}, other)], 4)
    expect(histograms?.get('train')?.get('age')).toEqual([
      { low: 0, high: 0.3333, count: 6 },
      { low: 0.3333, high: 0.6667, count: 8 },
    ])
  })

  it('add up to the sum of all, whoever has what', () => {
    const counts = fc.dictionary(
      fc.constantFrom('train', 'test', '__proto__'),
      fc.dictionary(fc.constantFrom('age', 'constructor'), fc.nat(1000)),
    )
    fc.assert(
      fc.property(fc.array(counts, { minLength: 1, maxLength: 5 }), (sites) => {
        const maps = sites.map(
          (site): ByFeature<number> =>
            new Map(
              Object.entries(site).map(([name, items]) => [name, new Map(Object.entries(items))]),
            ),
        )
        const all = firstPass(
          maps.map((count) => site({ count })),
          4,
        ).numbers.get('count')
        for (const dataset of ['train', 'test', '__proto__'])
          for (const feature of ['age', 'constructor']) {
            const own = maps.flatMap((map) => map.get(dataset)?.get(feature) ?? [])
            const sum = own.reduce((a, b) => a + b, 0)
            expect(all?.get(dataset)?.get(feature)).toBe(own.length === 0 ? undefined : sum)
          }
      }),
    )
  })
})
