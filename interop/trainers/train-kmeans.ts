import { readFileSync } from 'node:fs'
import { getSiteName, init, isRunning, receive, send } from '@hanse/client'

// What `custom/train_kmeans.py` of `vectors/jobs/kmeans` does, in TypeScript, on the same data.

type Point = readonly number[]

const { x, first } = JSON.parse(
  readFileSync(new URL('kmeans-data.json', import.meta.url), 'utf8'),
) as Record<'x' | 'first', Record<string, Point[]>>

await init()
const site = getSiteName()
const points = x[site]!

while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  const received = model.params?.['center']
  let centers = first[site]! // the first round knows the number of clusters only
  if (received !== undefined) {
    const numbers = Array.from(received.data, Number)
    centers = centers.map((_, c) => numbers.slice(c * 2, c * 2 + 2))
  }
  for (let step = 0; step < 5; step++) {
    const labels = points.map((point) => nearest(point, centers))
    centers = centers.map((center, c) => {
      const inside = points.filter((_, i) => labels[i] === c)
      if (inside.length === 0) return center
      return center.map((_, d) => inside.reduce((sum, p) => sum + p[d]!, 0) / inside.length)
    })
  }
  const labels = points.map((point) => nearest(point, centers))
  const count = centers.map((_, c) => BigInt(labels.filter((label) => label === c).length))
  await send({
    params: {
      center: {
        dtype: 'float64',
        shape: [centers.length, 2],
        data: Float64Array.from(centers.flat()),
      },
      count: { dtype: 'int64', shape: [count.length], data: BigInt64Array.from(count) },
    },
    meta: { NUM_STEPS_CURRENT_ROUND: points.length },
  })
}

function nearest(point: Point, centers: readonly Point[]): number {
  const distances = centers.map((center) =>
    center.reduce((sum, value, d) => sum + (value - point[d]!) ** 2, 0),
  )
  return distances.indexOf(Math.min(...distances))
}
