import { League } from '../test/support/league.ts'
import { withEachPair } from './cells/cell-pair.ts'
import type { RequestTimes } from './cells/latencies.ts'
import { BARE_TLS, STOCK } from './harness/baselines.ts'
import { type Benchmark, count } from './harness/benchmark.ts'
import { type Figure, figure, ratioAtLeast } from './harness/figure.ts'

const BODY = { round: 3, name: 'site-1', values: [1, 2, 3, 4] }
const REPETITIONS = 5
/** As many as the compiler of the runtime needs to settle. */
const WARM_UP_REQUESTS = 20_000
const TARGETS: ReadonlyMap<number, number> = new Map([
  [1, 3.5],
  [32, 10],
])

/** Small requests and replies between two cells. */
export const messages: Benchmark = {
  name: 'messages',
  summary: 'requests and replies between two cells over TCP with mutual TLS',
  options: { requests: { default: '8000' } },
  full: [{ requests: '20000' }],
  async run(options, { stock, note }) {
    await using league = await League.provision()
    const figures: Figure[] = []
    for (const outstanding of TARGETS.keys()) {
      const command = { measure: 'requests', outstanding, body: BODY } as const
      const requests = count(options, 'requests')
      const times = await withEachPair(league, stock, async (pair, kind) => {
        note(`${kind}: ${outstanding} outstanding`)
        await pair.measure({ ...command, requests: WARM_UP_REQUESTS })
        const runs: RequestTimes[] = []
        for (let i = 0; i < REPETITIONS; i++)
          runs.push(await pair.measure<RequestTimes>({ ...command, requests }))
        return runs
      })
      const of = (key: 'perSecond' | 'p50Ms' | 'p99Ms') => ({
        values: times.hanse.map((run) => run[key]),
        baselines: {
          [STOCK]: times.stock?.map((run) => run[key]),
          [BARE_TLS]: times.bare.map((run) => run[key]),
        },
      })
      const limit = TARGETS.get(outstanding)
      figures.push(
        figure(`requests, ${outstanding} outstanding`, {
          unit: '1/s',
          ...of('perSecond'),
          ...(limit === undefined ? {} : { target: ratioAtLeast(limit) }),
        }),
        figure(`p50, ${outstanding} outstanding`, { unit: 'ms', ...of('p50Ms') }),
        figure(`p99, ${outstanding} outstanding`, { unit: 'ms', ...of('p99Ms') }),
      )
    }
    return figures
  },
}
