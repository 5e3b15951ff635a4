import { League } from '../test/support/league.ts'
import { withEachPair } from './cells/cell-pair.ts'
import { BARE_TLS, STOCK } from './harness/baselines.ts'
import { type Benchmark, count } from './harness/benchmark.ts'
import { type Figure, figure, ratioAtLeast } from './harness/figure.ts'
import { repeated } from './harness/spread.ts'

const KINDS = [
  { measure: 'blob', text: 'sent as one request' },
  { measure: 'download', text: 'array pulled by reference' },
] as const

/** Long bodies between two cells, sent as a stream and pulled piece by piece. */
export const streams: Benchmark = {
  name: 'streams',
  summary: 'long requests and downloads between two cells over TCP with mutual TLS',
  options: { mb: { default: '64' } },
  full: [{ mb: '256' }],
  async run(options, { stock, note }) {
    await using league = await League.provision()
    const mb = count(options, 'mb')
    const figures: Figure[] = []
    for (const { measure, text } of KINDS) {
      const rates = await withEachPair(league, stock, async (pair, kind) => {
        note(`${kind}: ${mb} MB ${text}`)
        return repeated(
          async () => mb / (await pair.measure<{ seconds: number }>({ measure, mb })).seconds,
        )
      })
      figures.push(
        figure(`${mb} MB ${text}`, {
          unit: 'MB/s',
          values: rates.hanse,
          baselines: { [STOCK]: rates.stock, [BARE_TLS]: rates.bare },
          ...(measure === 'blob' ? { target: ratioAtLeast(1.5) } : {}),
        }),
      )
    }
    return figures
  },
}
