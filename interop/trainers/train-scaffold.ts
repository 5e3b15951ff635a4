import { readFileSync } from 'node:fs'
import { getSiteName, init, isRunning, receive, send } from '@hanse/client'

// What `custom/train_scaffold.py` of `vectors/jobs/numpy-scaffold` does, in TypeScript, on the same data.

const RATE = 0.05
const STEPS = 5

const { x: all } = JSON.parse(
  readFileSync(new URL('scaffold-data.json', import.meta.url), 'utf8'),
) as { x: Record<string, number[][]> }

await init()
const site = getSiteName()
const x = all[site]!
const number = Number(site.replace(/\D/g, ''))
const y = x.map((row) => Math.fround(dot(row, [1, 2, 3, 4]) + number))
let local = new Float32Array(4)

while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  const start = Float32Array.from(model.params!['numpy_key']!.data, Number)
  const control = controlOf(model.meta?.['scaffold_c_global'])
  let w = start
  for (let step = 0; step < STEPS; step++) {
    const rest = x.map((row, r) => dot(row, w) - y[r]!)
    w = w.map((weight, i) => {
      const gradient = (2 * x.reduce((sum, row, r) => sum + row[i]! * rest[r]!, 0)) / y.length
      return weight - RATE * (gradient + control[i]! - local[i]!)
    })
  }
  const next = local.map((own, i) => own - control[i]! + (start[i]! - w[i]!) / (STEPS * RATE))
  const difference = next.map((value, i) => value - local[i]!)
  local = next
  const loss = x.reduce((sum, row, r) => sum + (dot(row, start) - y[r]!) ** 2, 0) / y.length
  await send({
    params: { numpy_key: array(w) },
    metrics: { loss },
    meta: { NUM_STEPS_CURRENT_ROUND: STEPS, scaffold_c_diff: { numpy_key: array(difference) } },
  })
}

function controlOf(meta: unknown): Float32Array {
  const { numpy_key } = meta as { readonly numpy_key: { readonly data: ArrayLike<number> } }
  return Float32Array.from(numpy_key.data)
}

function dot(row: readonly number[], w: ArrayLike<number>): number {
  return row.reduce((sum, value, i) => sum + value * w[i]!, 0)
}

function array(data: Float32Array) {
  return { dtype: 'float32', shape: [data.length], data } as const
}
