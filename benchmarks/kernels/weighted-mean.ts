// One kernel in one process, as in a job whose model has one type: `<dtype|copy> <elements> <contributions> <repetitions>`.
import { allocate, fromNumbers, isDType, toNumbers, WeightedSum } from '@hanse/tensor'

const [dtype = '', elements = '', contributions = '', repetitions = ''] = process.argv.slice(2)
/** Of a mean at a time, as jobs take them. */
const BLOCK_ELEMENTS = 64 * 1024
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

/** As a server's job does it: block by block, into memory that is used again. */
function mean() {
  if (!isDType(dtype)) throw new RangeError(`unknown dtype ${dtype}`)
  const length = Number(elements)
  const contributed = indexes.map((weight) => ({
    values: fromNumbers(dtype, new Float64Array(length).fill(weight)),
    weight,
  }))
  const sum = new WeightedSum(dtype, BLOCK_ELEMENTS)
  const block = allocate(dtype, BLOCK_ELEMENTS)
  return measured(() => {
    for (let start = 0; start < length; start += BLOCK_ELEMENTS) {
      sum.reset()
      for (const { values, weight } of contributed)
        sum.add(dtype, values.subarray(start, start + BLOCK_ELEMENTS), weight)
      sum.meanInto(block)
    }
    return Number(toNumbers(dtype, block.subarray(-1))[0])
  })
}

process.stdout.write(`${JSON.stringify(dtype === 'copy' ? copy() : mean())}\n`)
