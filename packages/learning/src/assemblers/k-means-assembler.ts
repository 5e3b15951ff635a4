import type { FobsValue } from '@hanse/fobs'
import { isTensor, Tensor, toNumbers } from '@hanse/tensor'
import type { Assembler } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { ValueMap } from '../model/dxo.ts'
import { nearestCenters } from './nearest-centers.ts'

interface Clusters {
  /** `[clusters, dimensions]`. */
  readonly shape: readonly [number, number]
  readonly center: Float64Array
  /** Points per cluster. */
  readonly count: Float64Array
}

/** Elements of the centers; contributions of a round are in memory together. */
const MAX_ELEMENTS = 1_000_000

/**
 * K-means over sites (workflows.md §12): the first round clusters the centers of all sites, later rounds move each
 * center to the mean of all points that sites have counted for it so far.
 */
export class KMeansAssembler implements Assembler {
  readonly expectedKind = 'WEIGHTS'
  readonly #random: () => number
  #clusters: Clusters | undefined

  /** @param random uniform in [0, 1), for where the first round begins */
  constructor(random: () => number) {
    this.#random = random
  }

  read(data: ValueMap): ValueMap {
    const { shape } = clustersOf(data)
    const known = this.#clusters?.shape
    if (known !== undefined && (known[0] !== shape[0] || known[1] !== shape[1]))
      throw new LearningError(
        'ERR_CONTRIBUTION',
        `its centers have shape (${shape.join(', ')}), the clusters (${known.join(', ')})`,
      )
    return new Map([...data].filter(([name]) => name === 'center' || name === 'count'))
  }

  assemble(contributions: ReadonlyMap<string, ValueMap>): Map<string, FobsValue> {
    const parts = [...contributions.values()].map(clustersOf)
    const next = this.#clusters === undefined ? this.#first(parts) : moved(this.#clusters, parts)
    this.#clusters = next
    return new Map([['center', new Tensor('float64', next.shape, next.center.slice())]])
  }

  #first(all: readonly Clusters[]): Clusters {
    // Of sites that do not agree on clusters and dimensions, the most frequent ones are taken.
    const votes = new Map<string, Clusters[]>()
    for (const part of all) {
      const key = part.shape.join()
      votes.set(key, [...(votes.get(key) ?? []), part])
    }
    const [parts] = [...votes.values()].sort((a, b) => b.length - a.length)
    const first = parts?.[0]
    if (parts === undefined || first === undefined)
      throw new LearningError('ERR_ROUND', 'no site sent centers')
    const [clusters, dimensions] = first.shape
    const data = new Float64Array(parts.length * clusters * dimensions)
    for (const [i, { center }] of parts.entries()) data.set(center, i * clusters * dimensions)
    return {
      shape: first.shape,
      center: nearestCenters({ data, dimensions }, { clusters, random: this.#random }),
      count: new Float64Array(clusters),
    }
  }
}

/** Every center where the mean of the points is that it stood for before and that sites have found now. */
function moved({ shape, center, count }: Clusters, parts: readonly Clusters[]): Clusters {
  const [clusters, dimensions] = shape
  const sums = center.map((value, i) => value * count[Math.floor(i / dimensions)]!)
  const counts = count.slice()
  for (const part of parts)
    for (let c = 0; c < clusters; c++) {
      counts[c]! += part.count[c]!
      for (let i = c * dimensions; i < (c + 1) * dimensions; i++)
        sums[i]! += part.center[i]! * part.count[c]!
    }
  // A cluster that nobody has a point of stays where it is, where stock divides by zero.
  const next = sums.map((sum, i) => {
    const points = counts[Math.floor(i / dimensions)]!
    return points > 0 ? sum / points : center[i]!
  })
  return { shape, center: next, count: counts }
}

/** @throws {LearningError} `ERR_CONTRIBUTION` */
function clustersOf(data: ValueMap): Clusters {
  const center = tensorOf(data, 'center')
  const count = tensorOf(data, 'count')
  const [clusters, dimensions] = center.shape
  if (center.shape.length !== 2 || !clusters || !dimensions)
    throw new LearningError('ERR_CONTRIBUTION', '"center" has not two dimensions, or no element')
  if (clusters * dimensions > MAX_ELEMENTS)
    throw new LearningError('ERR_CONTRIBUTION', `"center" has more than ${MAX_ELEMENTS} elements`)
  if (count.shape.length !== 1 || count.shape[0] !== clusters)
    throw new LearningError('ERR_CONTRIBUTION', '"count" has not one number for each center')
  const numbers = {
    shape: [clusters, dimensions] as const,
    center: Float64Array.from(toNumbers(center.dtype, center.data)),
    count: Float64Array.from(toNumbers(count.dtype, count.data)),
  }
  if (!numbers.center.every(Number.isFinite))
    throw new LearningError('ERR_CONTRIBUTION', '"center" has an element that is no number')
  if (!numbers.count.every((points) => points >= 0 && points < Infinity))
    throw new LearningError('ERR_CONTRIBUTION', '"count" has an element that is no count')
  return numbers
}

function tensorOf(data: ValueMap, name: string): Tensor {
  const value = data.get(name)
  if (isTensor(value)) return value
  throw new LearningError('ERR_CONTRIBUTION', `it has no array "${name}"`)
}
