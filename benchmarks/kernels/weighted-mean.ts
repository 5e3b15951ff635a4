// One kernel in one process, as in a job whose model has one type: `<dtype|copy> <elements> <contributions> <repetitions>`.
import { fromNumbers, isDType, Tensor, toNumbers, weightedMean } from '@hanse/tensor'

const [dtype = '', elements = '', contributions = '', repetitions = ''] = process.argv.slice(2)
const indexes = Array.from({ length: Number(contributions) }, (_, i) => i + 1)

/** Seconds of each repetition, and the last element of the result. */
function measured(work: () => number): { readonly seconds: number[]; readonly last: number } {
  let last = 0
  for (let i = 0; i < 3; i++) last = work()
  const seconds = Array.from({ length: Number(repetitions) }, () => {
    const start = performance.now()
    last = work()
    return (performance.now() - start) / 1000
  })
  return { seconds, last }
}

function copy() {
  const bytes = Number(elements) * 4
  const sources = indexes.map((index) => new Uint8Array(bytes).fill(index))
  const target = new Uint8Array(bytes)
  return measured(() => {
    for (const source of sources) target.set(source)
    return target.at(-1) ?? 0
  })
}

function mean() {
  if (!isDType(dtype)) throw new RangeError(`unknown dtype ${dtype}`)
  const length = Number(elements)
  const weighted = indexes.map((weight) => {
    const data = fromNumbers(dtype, new Float64Array(length).fill(weight))
    return { tensor: new Tensor(dtype, [length], data), weight }
  })
  return measured(() => {
    const { data } = weightedMean(weighted)
    return Number(toNumbers(dtype, data.subarray(-1))[0])
  })
}

process.stdout.write(`${JSON.stringify(dtype === 'copy' ? copy() : mean())}\n`)
