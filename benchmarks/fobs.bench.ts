import { fileURLToPath } from 'node:url'
import { STOCK } from './harness/baselines.ts'
import { type Benchmark, check, count } from './harness/benchmark.ts'
import { figure, ratioAtLeast } from './harness/figure.ts'
import { JsonProcess } from './harness/json-process.ts'
import { stockEnvironment } from './stock/stock-installation.ts'

const HANSE = fileURLToPath(new URL('fobs/hanse-fobs.ts', import.meta.url))
const PYTHON = fileURLToPath(new URL('stock/stock_fobs.py', import.meta.url))
const REPETITIONS = '5'

/** Seconds of each repetition. */
interface Answer {
  readonly right: boolean
  readonly arrays: { readonly encode: number[]; readonly decode: number[] }
  readonly small: { readonly encode: number[]; readonly decode: number[] }
}

/** Typed values to bytes and back. */
export const fobs: Benchmark = {
  name: 'fobs',
  summary: 'arrays and small messages to FOBS bytes, in one piece, and back',
  options: { mb: { default: '64' }, small: { default: '5000' } },
  full: [{ mb: '256', small: '20000' }],
  async run(options, { stock, folder }) {
    const mb = count(options, 'mb')
    const small = count(options, 'small')
    const args = [folder, String(mb), String(small), REPETITIONS]
    const theirs =
      stock &&
      (await answerOf(
        JsonProcess.start(stock.python, [PYTHON, ...args], {
          env: stockEnvironment(stock, folder),
        }),
      ))
    const ours = await answerOf(JsonProcess.startNode(HANSE, args))
    return (['encode', 'decode'] as const).flatMap((way) => {
      const rates = (kind: 'arrays' | 'small', amount: number) => ({
        values: ours[kind][way].map((seconds) => amount / seconds),
        baselines: { [STOCK]: theirs?.[kind][way].map((seconds) => amount / seconds) },
      })
      return [
        figure(`${way} ${mb} MB of arrays`, {
          unit: 'MB/s',
          ...rates('arrays', mb),
          target: ratioAtLeast(2),
        }),
        figure(`${way} small Shareables`, {
          unit: '1/s',
          ...rates('small', small),
          target: ratioAtLeast(5),
        }),
      ]
    })
  },
}

async function answerOf(program: JsonProcess): Promise<Answer> {
  await using running = program
  const answer = await running.next<Answer>()
  check(answer.right, `FOBS of process ${running.pid}`)
  return answer
}
