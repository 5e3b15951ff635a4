import { fileURLToPath } from 'node:url'
import { COPY, NUMPY } from './harness/baselines.ts'
import { type Benchmark, check, count } from './harness/benchmark.ts'
import { figure, ratioAtLeast } from './harness/figure.ts'
import { JsonProcess } from './harness/json-process.ts'

const HANSE = fileURLToPath(new URL('kernels/weighted-mean.ts', import.meta.url))
const PYTHON = fileURLToPath(new URL('stock/numpy_kernels.py', import.meta.url))
const CONTRIBUTIONS = 4
const REPETITIONS = 5
const BLOCK = 64 * 1024
/** Of 1, 2, 3, 4 with these weights. */
const MEAN = (1 + 4 + 9 + 16) / 10

/** Elements have these bytes; NumPy has no bfloat16. */
const TYPES = [
  { dtype: 'float32', bytes: 4, target: ratioAtLeast(1.6) },
  { dtype: 'float64', bytes: 8, target: ratioAtLeast(1) },
  { dtype: 'float16', bytes: 2, target: undefined },
  { dtype: 'bfloat16', bytes: 2, target: undefined },
] as const

interface Answer {
  readonly seconds: readonly number[]
  readonly last: number
}

/** Weighted sums of what sites contribute. */
export const kernels: Benchmark = {
  name: 'kernels',
  summary: 'weighted mean of four contributions: GB of contributions a second',
  options: { 'elements-millions': { default: '16' } },
  full: [{ 'elements-millions': '32' }],
  async run(options, { stock }) {
    // Whole blocks of our sums.
    const elements = Math.round((count(options, 'elements-millions') * 1_000_000) / BLOCK) * BLOCK
    const numbers = [String(elements), String(CONTRIBUTIONS), String(REPETITIONS)]
    const ours = (kind: string) =>
      answerOf<Answer>(
        JsonProcess.startNode(HANSE, [kind, ...numbers], ['--max-old-space-size=8192']),
      )
    const numpy =
      stock &&
      (await answerOf<Record<string, Answer>>(
        JsonProcess.start(stock.python, [PYTHON, ...numbers]),
      ))
    const rates = (answer: Answer, bytes: number) =>
      answer.seconds.map((seconds) => (elements * bytes * CONTRIBUTIONS) / seconds / 1e9)
    const copied = rates(await ours('copy'), 4)
    const figures = []
    for (const { dtype, bytes, target } of TYPES) {
      const answer = await ours(dtype)
      check(answer.last === MEAN, `mean of ${dtype} is ${answer.last}, not ${MEAN}`)
      const theirs = numpy?.[dtype]
      check(
        theirs === undefined || theirs.last === MEAN,
        `NumPy's mean of ${dtype} is ${theirs?.last}, not ${MEAN}`,
      )
      figures.push(
        figure(`weighted mean of ${dtype}`, {
          unit: 'GB/s',
          values: rates(answer, bytes),
          baselines: { [NUMPY]: theirs && rates(theirs, bytes), [COPY]: copied },
          ...(target === undefined ? {} : { target }),
        }),
      )
    }
    return figures
  },
}

async function answerOf<Shape>(program: JsonProcess): Promise<Shape> {
  await using running = program
  return await running.next<Shape>()
}
