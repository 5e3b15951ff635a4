/**
 * Smallest and largest value of each feature, from the data set's public documentation (data/README.md). Every
 * hospital scales by these, so that a weight means the same everywhere and nobody has to tell anybody how its
 * own patients are distributed.
 */
const RANGES: readonly (readonly [min: number, max: number])[] = [
  // Mean of radius, texture, perimeter, area, smoothness, compactness, concavity, concave points, symmetry,
  // fractal dimension
  [6.981, 28.11],
  [9.71, 39.28],
  [43.79, 188.5],
  [143.5, 2501.0],
  [0.053, 0.163],
  [0.019, 0.345],
  [0.0, 0.427],
  [0.0, 0.201],
  [0.106, 0.304],
  [0.05, 0.097],
  // Standard error of the same
  [0.112, 2.873],
  [0.36, 4.885],
  [0.757, 21.98],
  [6.802, 542.2],
  [0.002, 0.031],
  [0.002, 0.135],
  [0.0, 0.396],
  [0.0, 0.053],
  [0.008, 0.079],
  [0.001, 0.03],
  // Mean of the three largest of the same
  [7.93, 36.04],
  [12.02, 49.54],
  [50.41, 251.2],
  [185.2, 4254.0],
  [0.071, 0.223],
  [0.027, 1.058],
  [0.0, 1.252],
  [0.0, 0.291],
  [0.156, 0.664],
  [0.055, 0.208],
]

export const FEATURES = RANGES.length

/** Six standard deviations of a bell-shaped feature cover about this range, so scaled features have about one. */
const WIDTHS = 6

/** One patient: features around 0, about as wide as a standard normal distribution, and the diagnosis. */
export interface Patient {
  readonly features: Float64Array
  readonly malignant: 0 | 1
}

/** Reads a CSV with one header line: 30 features and the diagnosis, 0 malignant, 1 benign. */
export function parsePatients(csv: string): Patient[] {
  const rows = csv.trim().split('\n').slice(1)
  return rows.map((row) => {
    const values = row.split(',').map(Number)
    if (values.length !== FEATURES + 1 || values.some(Number.isNaN))
      throw new Error('a row has other columns than 30 features and a diagnosis')
    const features = Float64Array.from(RANGES, ([min, max], index) => {
      return (WIDTHS * (values[index]! - (min + max) / 2)) / (max - min)
    })
    return { features, malignant: values[FEATURES] === 0 ? 1 : 0 }
  })
}
