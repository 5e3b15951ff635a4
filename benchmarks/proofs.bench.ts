import { League } from '../test/support/league.ts'
import { CellPair, type Command } from './cells/cell-pair.ts'
import { NO_PROOFS } from './harness/baselines.ts'
import { type Benchmark, count } from './harness/benchmark.ts'
import { type Figure, figure, ratioAtMost } from './harness/figure.ts'
import { ProcessWatch } from './harness/process-watch.ts'

const BODY = { round: 3, name: 'site-1', values: [1, 2, 3, 4] }
const REPETITIONS = 7
const OUTSTANDING = 32

/** CPU of both processes of a pair, one value a repetition. */
interface Costs {
  /** Microseconds for a request and its reply. */
  readonly request: number[]
  /** Milliseconds for a MB of a long body. */
  readonly mb: number[]
}

/** What the code on every message costs, over headers alone and over bodies too. */
export const proofs: Benchmark = {
  name: 'proofs',
  summary:
    'CPU of requests and long bodies between two cells, with and without a code on every message',
  options: { mb: { default: '64' }, requests: { default: '6000' } },
  full: [{ mb: '256', requests: '20000' }],
  async run(options, { note }) {
    await using league = await League.provision()
    await using none = await CellPair.hanse(league)
    await using headers = await CellPair.hanse(league, 'headers')
    await using all = await CellPair.hanse(league, 'all')
    const mb = count(options, 'mb')
    const requests = count(options, 'requests')
    const asking = { measure: 'requests', outstanding: OUTSTANDING, body: BODY, requests } as const
    const sending = { measure: 'blob', mb } as const
    const measured = new Map<CellPair, Costs>(
      [none, headers, all].map((pair) => [pair, { request: [], mb: [] }]),
    )
    for (let i = 0; i <= REPETITIONS; i++) {
      note(i === 0 ? 'warming up' : `repetition ${i} of ${REPETITIONS}`)
      for (const [pair, costs] of measured) {
        const request = ((await cpuSecondsOf(pair, asking)) * 1e6) / requests
        const ofMb = ((await cpuSecondsOf(pair, sending)) * 1e3) / mb
        if (i === 0) continue
        costs.request.push(request)
        costs.mb.push(ofMb)
      }
    }
    const of = (pair: CellPair): Costs => measured.get(pair) ?? { request: [], mb: [] }
    const figures = (covers: string, pair: CellPair, most: number): Figure[] => [
      figure(`MB of ${mb}, codes over ${covers}`, {
        unit: 'ms CPU',
        values: of(pair).mb,
        baselines: { [NO_PROOFS]: of(none).mb },
        target: ratioAtMost(most),
      }),
      figure(`request and reply, codes over ${covers}`, {
        unit: 'µs CPU',
        values: of(pair).request,
        baselines: { [NO_PROOFS]: of(none).request },
      }),
    ]
    return [...figures('headers', headers, 1.02), ...figures('headers and body', all, 1.2)]
  },
}

async function cpuSecondsOf(pair: CellPair, command: Command): Promise<number> {
  using watch = new ProcessWatch(new Map(pair.pids.map((pid) => [pid, String(pid)])))
  const start = Date.now()
  await pair.measure(command)
  watch.look()
  return watch.cpuSecondsBetween(start, Date.now())
}
