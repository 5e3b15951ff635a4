import { readFileSync } from 'node:fs'
import {
  getSiteName,
  init,
  isEvaluate,
  isRunning,
  isSubmitModel,
  receive,
  send,
} from '@hanse/client'

// What `custom/train_linear.py` of `vectors/jobs/numpy-*` does, in TypeScript, on the same data.

const RATE = 0.1
const STEPS = 5

const { x: all } = JSON.parse(
  readFileSync(new URL('linear-data.json', import.meta.url), 'utf8'),
) as { x: Record<string, number[][]> }

await init()
const site = getSiteName()
const x = all[site]!
const number = Number(site.replace(/\D/g, ''))
const y = x.map((row) => Math.fround(dot(row, [1, 2, 3, 4]) + 0.1 * number))
let best = new Float32Array(4)

while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  if (isSubmitModel()) {
    await send({ params: { numpy_key: array(best) } })
    continue
  }
  let w = Float32Array.from(model.params!['numpy_key']!.data, Number)
  const before = loss(w)
  const metrics = { val_loss: before, accuracy: -before }
  if (isEvaluate()) {
    await send({ metrics })
    continue
  }
  for (let step = 0; step < STEPS; step++) {
    const rest = x.map((row, r) => dot(row, w) - y[r]!)
    w = w.map((weight, i) => {
      const gradient = (2 * x.reduce((sum, row, r) => sum + row[i]! * rest[r]!, 0)) / y.length
      return weight - RATE * gradient
    })
  }
  best = w
  await send({
    params: { numpy_key: array(w) },
    metrics,
    meta: { NUM_STEPS_CURRENT_ROUND: y.length },
  })
}

function loss(w: Float32Array): number {
  return x.reduce((sum, row, r) => sum + (dot(row, w) - y[r]!) ** 2, 0) / y.length
}

function dot(row: readonly number[], w: ArrayLike<number>): number {
  return row.reduce((sum, value, i) => sum + value * w[i]!, 0)
}

function array(data: Float32Array) {
  return { dtype: 'float32', shape: [data.length], data } as const
}
