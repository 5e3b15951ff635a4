// How fast our FOBS is, one process: `<folder> <mb of arrays> <number of small values> <repetitions>`. The values are
// those of stock/stock_fobs.py; where it left its bytes in the folder, they must be what ours are.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { coreCodecs, createFobsRegistry, decodeWhole, encode, joinBytes } from '@hanse/fobs'
import { numpyCodecs } from '@hanse/learning'
import { platformCodecs, Shareable } from '@hanse/session'
import { Tensor, tensorBytes } from '@hanse/tensor'

const ARRAYS = 16

const [folder = '', mb = '', small = '', repetitions = ''] = process.argv.slice(2)
const registry = createFobsRegistry(coreCodecs, platformCodecs, numpyCodecs)

const elements = (Number(mb) * 2 ** 20) / 4 / ARRAYS
const arrays = new Map(
  Array.from({ length: ARRAYS }, (_, index) => [
    `layer.${index}`,
    new Tensor(
      'float32',
      [elements],
      Float32Array.from({ length: elements }, (_, i) => i + index),
    ),
  ]),
)
const shareable = new Shareable(
  new Map<string, string | number>([
    ['__task_name__', 'train'],
    ['__task_id__', '2f0f21a6-7f33-45c2-9b5c-4f0f8f9d2b11'],
    ['current_round', 3],
    ['num_rounds', 10],
  ]),
  new Map<string, Map<string, number> | string[]>([
    [
      'metrics',
      new Map([
        ['accuracy', 0.8125],
        ['loss', 0.3125],
      ]),
    ],
    ['sites', Array.from({ length: 8 }, (_, i) => `site-${i}`)],
  ]),
)

const whole = (value: unknown) => joinBytes(encode(value, registry).parts)
const arrayBytes = whole(arrays)
const smallBytes = whole(shareable)

const back = decodeWhole(arrayBytes, registry)
const last = back instanceof Map ? back.get(`layer.${ARRAYS - 1}`) : undefined
const right =
  last instanceof Tensor &&
  last.data.at(-1) === Math.fround(elements - 1 + ARRAYS - 1) &&
  ofStock('arrays', sameArrays) &&
  ofStock('small', (theirs) =>
    Buffer.from(whole(decodeWhole(theirs, registry))).equals(smallBytes),
  ) &&
  Buffer.from(whole(decodeWhole(smallBytes, registry))).equals(smallBytes)

const count = Number(small)
const many = (work: () => unknown) => () => {
  for (let i = 0; i < count; i++) work()
}
process.stdout.write(
  `${JSON.stringify({
    right,
    arrays: {
      encode: timed(() => whole(arrays)),
      decode: timed(() => decodeWhole(arrayBytes, registry)),
    },
    small: {
      encode: timed(many(() => whole(shareable))),
      decode: timed(many(() => decodeWhole(smallBytes, registry))),
    },
  })}\n`,
)

function ofStock(name: string, isRight: (theirs: Uint8Array) => boolean): boolean {
  const path = join(folder, name)
  return !existsSync(path) || isRight(new Uint8Array(readFileSync(path)))
}

/** Long arrays stand beside the message under random ids, so that only lengths and elements are the same. */
function sameArrays(theirs: Uint8Array): boolean {
  const found = decodeWhole(theirs, registry)
  return (
    theirs.length === arrayBytes.length &&
    found instanceof Map &&
    [...arrays].every(([name, array]) => {
      const other = found.get(name)
      return other instanceof Tensor && Buffer.from(tensorBytes(other)).equals(tensorBytes(array))
    })
  )
}

function timed(work: () => unknown): number[] {
  for (let i = 0; i < 3; i++) work()
  return Array.from({ length: Number(repetitions) }, () => {
    const start = performance.now()
    work()
    return (performance.now() - start) / 1000
  })
}
