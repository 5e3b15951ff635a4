/** Points of one dimension after the other: `[points, dimensions]` in C order. */
export interface Points {
  readonly data: Float64Array
  readonly dimensions: number
}

export interface ClusterOptions {
  readonly clusters: number
  /** Uniform in [0, 1). */
  readonly random: () => number
}

const RESTARTS = 5
const MAX_STEPS = 300
/** Movement of the centers, relative to the spread of the data, at which they stand still. */
const TOLERANCE = 1e-4

/**
 * K-means: Lloyd's steps from k-means++ beginnings, the best of five. A cluster that runs empty takes the point
 * that is farthest from its center.
 * @returns `[clusters, dimensions]`; as many points as clusters at least are needed
 */
export function nearestCenters(points: Points, options: ClusterOptions): Float64Array {
  const stand = TOLERANCE * spread(points)
  let best: { readonly centers: Float64Array; readonly loss: number } | undefined
  for (let run = 0; run < RESTARTS; run++) {
    const found = descend(points, begin(points, options), stand)
    if (best === undefined || found.loss < best.loss) best = found
  }
  return best!.centers // RESTARTS is not 0
}

function descend(
  points: Points,
  centers: Float64Array,
  stand: number,
): { centers: Float64Array; loss: number } {
  const { data, dimensions } = points
  const count = data.length / dimensions
  const labels = new Int32Array(count)
  const distances = new Float64Array(count)
  for (let step = 0; step < MAX_STEPS; step++) {
    assign(points, centers, labels, distances)
    const next = new Float64Array(centers.length)
    const sizes = new Float64Array(centers.length / dimensions)
    for (let i = 0; i < count; i++) {
      sizes[labels[i]!]! += 1
      for (let d = 0; d < dimensions; d++)
        next[labels[i]! * dimensions + d]! += data[i * dimensions + d]!
    }
    for (let c = 0; c < sizes.length; c++) {
      const far = sizes[c] === 0 ? farthest(distances) : undefined
      if (far !== undefined) distances[far] = 0
      for (let d = 0; d < dimensions; d++)
        next[c * dimensions + d] =
          far === undefined ? next[c * dimensions + d]! / sizes[c]! : data[far * dimensions + d]!
    }
    let moved = 0
    for (let i = 0; i < next.length; i++) moved += (next[i]! - centers[i]!) ** 2
    centers = next
    if (moved <= stand) break
  }
  assign(points, centers, labels, distances)
  return { centers, loss: distances.reduce((sum, distance) => sum + distance, 0) }
}

/** The nearest center of each point, and the square of its distance. */
function assign(
  { data, dimensions }: Points,
  centers: Float64Array,
  labels: Int32Array,
  distances: Float64Array,
): void {
  for (let i = 0; i < labels.length; i++) {
    let nearest = 0
    let least = Infinity
    for (let c = 0; c < centers.length / dimensions; c++) {
      const distance = squaredDistance(data, i * dimensions, centers, c * dimensions, dimensions)
      if (distance < least) {
        least = distance
        nearest = c
      }
    }
    labels[i] = nearest
    distances[i] = least
  }
}

/** k-means++: each further center is a point drawn by its squared distance to those before. */
function begin({ data, dimensions }: Points, { clusters, random }: ClusterOptions): Float64Array {
  const count = data.length / dimensions
  const centers = new Float64Array(clusters * dimensions)
  const distances = new Float64Array(count).fill(Infinity)
  let chosen = Math.floor(random() * count)
  for (let c = 0; c < clusters; c++) {
    centers.set(data.subarray(chosen * dimensions, (chosen + 1) * dimensions), c * dimensions)
    let total = 0
    for (let i = 0; i < count; i++) {
      const distance = squaredDistance(data, i * dimensions, centers, c * dimensions, dimensions)
      distances[i] = Math.min(distances[i]!, distance)
      total += distances[i]!
    }
    chosen = draw(distances, random() * total)
  }
  return centers
}

/** The index at which the running sum passes `at`. */
function draw(weights: Float64Array, at: number): number {
  let sum = 0
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!
    if (sum > at) return i
  }
  return weights.length - 1
}

function farthest(distances: Float64Array): number {
  let index = 0
  for (let i = 1; i < distances.length; i++) if (distances[i]! > distances[index]!) index = i
  return index
}

/** Mean of the variances of the dimensions. */
function spread({ data, dimensions }: Points): number {
  const count = data.length / dimensions
  let sum = 0
  for (let d = 0; d < dimensions; d++) {
    let mean = 0
    for (let i = 0; i < count; i++) mean += data[i * dimensions + d]! / count
    for (let i = 0; i < count; i++) sum += (data[i * dimensions + d]! - mean) ** 2 / count
  }
  return sum / dimensions
}

function squaredDistance(
  a: Float64Array,
  atA: number,
  b: Float64Array,
  atB: number,
  dimensions: number,
): number {
  let sum = 0
  for (let d = 0; d < dimensions; d++) sum += (a[atA + d]! - b[atB + d]!) ** 2
  return sum
}
