import { readFileSync } from 'node:fs'
import { type JsonObject, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { isTensor, Tensor } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { modelToShareable, shareableToModel } from '../model/fl-model.ts'
import { scalarOf } from '../model/numbers.ts'
import { KMeansAssembler } from './k-means-assembler.ts'
import { nearestCenters } from './nearest-centers.ts'

const f64 = (rows: readonly (readonly number[])[]): Tensor =>
  new Tensor('float64', [rows.length, rows[0]?.length ?? 0], Float64Array.from(rows.flat()))
const counts = (...values: number[]): Tensor =>
  new Tensor('int64', [values.length], BigInt64Array.from(values.map(BigInt)))
const found = (center: FobsValue, count: FobsValue) =>
  new Map([
    ['center', center],
    ['count', count],
  ])
const rowsOf = (value: FobsValue | undefined): number[][] => {
  if (!isTensor(value)) throw new Error('no array')
  const [rows = 0, columns = 0] = value.shape
  const numbers = Array.from(value.data, Number)
  return Array.from({ length: rows }, (_, r) => numbers.slice(r * columns, (r + 1) * columns))
}
/** Uniform numbers that can be had again (a multiplicative generator of Lehmer's). */
function uniform(seed: number): () => number {
  let state = (Math.abs(seed) % 2147483646) + 1
  return () => {
    state = (state * 48271) % 2147483647
    return (state - 1) / 2147483646
  }
}
const sorted = (rows: readonly number[][]): number[][] =>
  rows.toSorted((a, b) => a[0]! - b[0]! || a[1]! - b[1]!)

describe('nearestCenters', () => {
  it('finds clusters that lie apart, wherever it begins', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const points = [0, 10, 50].flatMap((x) => [-0.1, 0, 0.1].flatMap((y) => [x + y, x - y]))
        const centers = nearestCenters(
          { data: Float64Array.from(points), dimensions: 2 },
          { clusters: 3, random: uniform(seed) },
        )
        const rows = sorted([0, 1, 2].map((c) => [...centers.slice(c * 2, c * 2 + 2)]))
        for (const [i, x] of [0, 10, 50].entries()) expect(rows[i]![0]).toBeCloseTo(x, 9)
      }),
      { numRuns: 30 },
    )
  })

  it('ends when there are fewer different points than clusters', () => {
    const centers = nearestCenters(
      { data: Float64Array.of(1, 1, 1, 1), dimensions: 1 },
      { clusters: 3, random: () => 0.5 },
    )
    expect([...centers]).toEqual([1, 1, 1])
  })
})

describe('KMeansAssembler', () => {
  const assemble = (assembler: KMeansAssembler, ...sites: ReturnType<typeof found>[]) =>
    rowsOf(
      assembler
        .assemble(new Map(sites.map((data, i) => [`site-${i}`, assembler.read(data)])))
        .get('center'),
    )

  it('clusters the centers of all sites first, then moves each by what sites count', () => {
    const assembler = new KMeansAssembler(() => 0.3)
    const first = assemble(
      assembler,
      found(
        f64([
          [0, 0],
          [10, 10],
        ]),
        counts(5, 5),
      ),
      found(
        f64([
          [12, 12],
          [2, 2],
        ]),
        counts(1, 1),
      ),
    )
    expect(sorted(first)).toEqual([
      [1, 1],
      [11, 11],
    ])
    // The counts of the first round do not count, as in stock.
    const second = assemble(
      assembler,
      found(
        f64([
          [4, 4],
          [8, 8],
        ]),
        counts(1, 2),
      ),
      found(
        f64([
          [8, 8],
          [0, 0],
        ]),
        counts(3, 0),
      ),
    )
    expect(second).toEqual([
      [7, 7],
      [8, 8],
    ])
    const third = assemble(
      assembler,
      found(
        f64([
          [0, 0],
          [20, 20],
        ]),
        counts(4, 1),
      ),
    )
    expect(third).toEqual([
      [3.5, 3.5],
      [12, 12],
    ])
  })

  it('leaves a center that nobody has a point for where it is', () => {
    const assembler = new KMeansAssembler(() => 0.3)
    const [a] = assemble(assembler, found(f64([[1, 2]]), counts(3)))
    expect(assemble(assembler, found(f64([[9, 9]]), counts(0)))).toEqual([a])
  })

  it.each<[string, Map<string, FobsValue>, string]>([
    ['without centers', new Map(), 'no array "center"'],
    ['without counts', new Map([['center', f64([[1, 2]])]]), 'no array "count"'],
    ['of one dimension', found(counts(1, 2), counts(1)), 'two dimensions'],
    ['without points', found(f64([]), counts()), 'two dimensions'],
    ['with a count too many', found(f64([[1, 2]]), counts(1, 2)), 'one number for each'],
    ['with an endless center', found(f64([[Infinity, 2]]), counts(1)), 'is no number'],
    ['with a count below 0', found(f64([[1, 2]]), counts(-1)), 'is no count'],
    ['of another shape', found(f64([[1, 2, 3]]), counts(1)), 'shape (1, 3), the clusters (1, 2)'],
  ])('refuses a contribution %s', (_, data, message) => {
    const assembler = new KMeansAssembler(() => 0.3)
    assemble(assembler, found(f64([[1, 2]]), counts(3)))
    expect(() => assembler.read(data)).toThrow(message)
  })

  it('takes the shape that most sites have when it begins', () => {
    const assembler = new KMeansAssembler(() => 0.3)
    const odd = found(f64([[1, 2, 3]]), counts(1))
    const usual = found(f64([[1, 2]]), counts(1))
    expect(assemble(assembler, odd, usual, usual)).toEqual([[1, 2]])
  })
})

describe('a job of k-means', () => {
  const read = (path: string) =>
    JSON.parse(readFileSync(new URL(`../../../../vectors/${path}`, import.meta.url), 'utf8'))

  /** `custom/train_kmeans.py`: five steps of Lloyd from the centers that it gets. */
  const { x, first } = read('kmeans-data.json') as {
    x: Record<string, number[][]>
    first: Record<string, number[][]>
  }
  const distance = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0)
  const train: Trainer = ({ data }, site) => {
    const { params } = shareableToModel(data)
    const received = params?.get('center')
    let centers = received === undefined ? first[site]! : rowsOf(received)
    if (received === undefined) expect(scalarOf(params?.get('n_clusters'))).toBe(3)
    const labels = () =>
      x[site]!.map((point) => {
        const distances = centers.map((center) => distance(point, center))
        return distances.indexOf(Math.min(...distances))
      })
    for (let step = 0; step < 5; step++) {
      const own = labels()
      centers = centers.map((center, c) => {
        const inside = x[site]!.filter((_, i) => own[i] === c)
        if (inside.length === 0) return center
        return center.map((_, d) => inside.reduce((sum, p) => sum + p[d]!, 0) / inside.length)
      })
    }
    const own = labels()
    return modelToShareable({
      paramsType: 'FULL',
      params: found(
        f64(centers),
        counts(...centers.map((_, c) => own.filter((l) => l === c).length)),
      ),
      meta: new Map([['NUM_STEPS_CURRENT_ROUND', x[site]!.length]]),
    })
  }

  it('finds the centers that stock finds', async () => {
    const server = read('jobs/kmeans/app/config/config_fed_server.json') as JsonObject
    const { files, state } = await runInMemory({
      config: server,
      sites: ['site-1', 'site-2'],
      trainer: train,
    })
    const { shape, data } = read('jobs/expected/kmeans.json').final_params[
      'app_server/model_param.joblib'
    ].center
    const expected = sorted(rowsOf(new Tensor('float64', shape, Float64Array.from(data))))
    const centers = sorted(rowsOf(state.globalModel.weights.get('center')))
    for (const [r, row] of expected.entries())
      for (const [c, value] of row.entries()) expect(centers[r]![c]).toBeCloseTo(value, 9)
    expect(files.content.has('app_server/model_param.joblib')).toBe(true)
  })

  it('works with ScatterAndGather too', async () => {
    const { state } = await runInMemory({
      config: {
        format_version: 2,
        workflows: [
          {
            id: 'sag',
            name: 'ScatterAndGather',
            args: { min_clients: 2, num_rounds: 2, persistor_id: 'p' },
          },
        ],
        components: [
          {
            id: 'p',
            name: 'JoblibModelParamPersistor',
            args: { initial_params: { n_clusters: 3 } },
          },
          { id: 'shareable_generator', name: 'FullModelShareableGenerator' },
          { id: 'aggregator', name: 'CollectAndAssembleAggregator', args: { assembler_id: 'k' } },
          { id: 'k', name: 'KMeansAssembler' },
        ],
      },
      sites: ['site-1', 'site-2'],
      trainer: train,
    })
    expect(rowsOf(state.globalModel.weights.get('center'))).toHaveLength(3)
  })

  it.each<[string, JsonObject, string]>([
    ['a pickle to begin with', { model_path: '/models/a.joblib' }, 'pickles are never read'],
    [
      'one among the parameters',
      { initial_params: { model_path: '/a' } },
      'pickles are never read',
    ],
    ['nothing to begin with', {}, 'nothing to begin with'],
  ])('is refused with %s', async (_, args, message) => {
    const config = read('jobs/kmeans/app/config/config_fed_server.json')
    for (const component of config.components)
      if (component.id === 'persistor') component.args = args
    const run = runInMemory({ config, sites: ['site-1', 'site-2'], trainer: train })
    expect(await run.then(() => 'no failure', messageOf)).toContain(message)
  })
})
