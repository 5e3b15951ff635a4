import { FEATURES, type Patient } from './features.ts'

/** One weight for each feature, then the bias. */
export const PARAMETERS = FEATURES + 1

/** Keeps weights small where a hospital has too few patients to know better. */
const DECAY = 1e-3

/** The estimated probability that the tumour is malignant. */
export function probability(weights: Float64Array, { features }: Patient): number {
  let sum = weights[FEATURES]!
  for (let i = 0; i < FEATURES; i++) sum += weights[i]! * features[i]!
  return 1 / (1 + Math.exp(-sum))
}

/** `steps` steps of gradient descent over all patients, from `start`, which stays as it is. */
export function train(
  start: Float64Array,
  patients: readonly Patient[],
  steps: number,
  rate: number,
): Float64Array {
  const weights = Float64Array.from(start)
  const gradient = new Float64Array(PARAMETERS)
  for (let step = 0; step < steps; step++) {
    gradient.fill(0)
    for (const patient of patients) {
      const error = probability(weights, patient) - patient.malignant
      for (let i = 0; i < FEATURES; i++) gradient[i]! += error * patient.features[i]!
      gradient[FEATURES]! += error
    }
    for (let i = 0; i < PARAMETERS; i++)
      weights[i]! -= rate * (gradient[i]! / patients.length + DECAY * weights[i]!)
  }
  return weights
}

/** How often the more probable diagnosis is the right one, and the mean logarithmic loss. */
export function evaluate(
  weights: Float64Array,
  patients: readonly Patient[],
): { accuracy: number; loss: number } {
  let right = 0
  let loss = 0
  for (const patient of patients) {
    const p = probability(weights, patient)
    if (p >= 0.5 === (patient.malignant === 1)) right++
    loss -= Math.log(Math.max(1e-12, patient.malignant === 1 ? p : 1 - p))
  }
  return { accuracy: right / patients.length, loss: loss / patients.length }
}
