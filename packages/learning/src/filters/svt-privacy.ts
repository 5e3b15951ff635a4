import type { FobsValue } from '@hanse/fobs'
import { fromNumbers, meanDType, Tensor } from '@hanse/tensor'
import { stepsOf } from '../aggregation/weights.ts'
import type { Filter } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import type { ValueMap } from '../model/dxo.ts'
import { META } from '../model/fl-model.ts'
import { DxoFilter } from './dxo-filter.ts'
import { type RealArray, realArrays } from './percentile-privacy.ts'

export interface SvtPrivacySettings {
  /** Share of the values that goes out, 0…1. */
  readonly fraction: number
  /** Budget for choosing them, per result. */
  readonly epsilon: number
  /** Budget per value that goes out, unless `epsilonRelease` says the whole. */
  readonly noiseVar: number
  /** Largest change per step. */
  readonly gamma: number
  /** Where the threshold lies before its noise. */
  readonly tau: number
  readonly kinds: readonly DataKind[]
  /** A value may be drawn twice; then fewer go out. */
  readonly replace: boolean
  readonly epsilonThreshold?: number | undefined
  readonly epsilonQuery?: number | undefined
  readonly epsilonRelease?: number | undefined
}

interface Budget {
  readonly threshold: number
  readonly query: number
  readonly release: number
}

/** Passes over the values before a threshold counts as out of reach; stock would go on for ever. */
const MAX_PASSES = 10_000

/**
 * Sparse vector technique (policies.md §5.2): lets out a share of the values that lie above a noisy
 * threshold, clipped and noisy, and zero for all others; keeps an account in the DXO's meta. Scalars pass
 * untouched.
 *
 * Honest about its worth: with the usual arguments the budget of the release is 0.1 per value and round,
 * so the total is far above `epsilon`; and noise of ordinary floats is not what the theorem assumes.
 * @throws {LearningError} `ERR_COMPONENT_ARGS` when given parts of the budget do not make the whole
 */
export function svtPrivacy(settings: SvtPrivacySettings): Filter {
  split(settings, 1) // complains about the arguments now, not in the first round
  let spent = 0
  let calls = 0
  return new DxoFilter('SVTPrivacy', settings.kinds, (data, dxo, { random }) => {
    const arrays = realArrays(data).sort((a, b) => (a.name < b.name ? -1 : 1))
    const total = arrays.reduce((sum, { numbers }) => sum + numbers.length, 0)
    if (total === 0) return data
    const wanted = Math.min(Math.ceil(total * settings.fraction), total)
    const steps = stepsOf(dxo.meta)
    const open = arrays.filter(({ tensor }) => tensor.shape.length > 0)
    const hasScalars = open.length < arrays.length
    if (wanted === 0) return release(data, open, new Map(), steps)
    const budget = split(settings, wanted)
    const { chosen, passes } = choose(open, wanted, steps, budget, settings, random)
    const scale = (2 * settings.gamma * wanted) / budget.release
    const noisy = new Map<number, number>()
    for (const [position, change] of chosen)
      noisy.set(position, clip(change, settings.gamma) + laplace(scale, random))
    const cost = budget.threshold + budget.query + budget.release
    spent += cost
    calls++
    const round = dxo.meta.get(META.currentRound) ?? null
    const common: [string, FobsValue][] = [
      ['accountant', 'pure_dp_sum'],
      ['scope', 'filter-level'],
      ['delta', 0],
    ]
    const note: [string, FobsValue][] = hasScalars
      ? [['note', 'scalars pass without noise and are not in this account']]
      : []
    return {
      data: release(data, open, noisy, steps),
      meta: new Map<string, FobsValue>([
        ...dxo.meta,
        [
          'svt_privacy_budget',
          new Map<FobsValue, FobsValue>([
            ...common,
            ['round', round],
            ['epsilon_total', cost],
            ['epsilon_threshold', budget.threshold],
            ['epsilon_query', budget.query],
            ['epsilon_release', budget.release],
            ['n_upload', wanted],
            ['acceptance_passes', passes],
            ['has_scalar_passthrough', hasScalars],
            ...note,
          ]),
        ],
        [
          'svt_privacy_accountant',
          new Map<FobsValue, FobsValue>([
            ...common,
            ['epsilon_total', spent],
            ['calls', calls],
            ['latest_round', round],
            ...note,
          ]),
        ],
      ]),
    }
  })
}

/** Positions over all arrays in order, with the change per step at each. */
function choose(
  arrays: readonly RealArray[],
  wanted: number,
  steps: number,
  budget: Budget,
  { gamma, tau, replace }: SvtPrivacySettings,
  random: () => number,
): { chosen: Map<number, number>; passes: number } {
  const changes = Float64Array.from(
    arrays.flatMap(({ numbers }) => Array.from(numbers, (n) => n / steps)),
  )
  const count = Math.min(wanted, changes.length)
  const threshold = tau + laplace(gamma / budget.threshold, random)
  const scale = (2 * gamma * wanted) / budget.query
  const isAccepted = new Uint8Array(changes.length)
  const accepted: number[] = []
  let passes = 0
  while (accepted.length < count) {
    if (passes++ >= MAX_PASSES)
      throw new LearningError(
        'ERR_FILTER',
        `SVTPrivacy: fewer than ${count} values reach the threshold; raise gamma or lower tau`,
      )
    for (let i = 0; i < changes.length; i++) {
      if (isAccepted[i] === 1) continue
      if (!(Math.abs(clip(changes[i]!, gamma)) + laplace(scale, random) >= threshold)) continue
      isAccepted[i] = 1
      accepted.push(i)
    }
  }
  const chosen = new Map<number, number>()
  for (let drawn = 0; drawn < count; drawn++) {
    // Without replacement: what was drawn moves to the front and is not drawn again.
    const from = replace ? 0 : drawn
    const at = from + Math.floor(random() * (accepted.length - from))
    const position = accepted[at]!
    if (!replace) {
      accepted[at] = accepted[drawn]!
      accepted[drawn] = position
    }
    chosen.set(position, changes[position]!)
  }
  return { chosen, passes }
}

function release(
  data: ValueMap,
  arrays: readonly RealArray[],
  changes: ReadonlyMap<number, number>,
  steps: number,
): Map<string, FobsValue> {
  const out = new Map<string, FobsValue>(data)
  let start = 0
  for (const { name, tensor, numbers } of arrays) {
    const values = new Float64Array(numbers.length)
    for (let i = 0; i < values.length; i++) values[i] = (changes.get(start + i) ?? 0) * steps
    start += values.length
    const dtype = meanDType(tensor.dtype, tensor.framework)
    out.set(name, new Tensor(dtype, tensor.shape, fromNumbers(dtype, values), tensor.framework))
  }
  return out
}

function split(settings: SvtPrivacySettings, count: number): Budget {
  const { epsilon, epsilonThreshold, epsilonQuery, epsilonRelease, noiseVar } = settings
  // Threshold to query as 1 to (2n)^(2/3), unless the job gives one or both.
  const usual = epsilon / (1 + (2 * count) ** (2 / 3))
  const threshold =
    epsilonThreshold ?? (epsilonQuery === undefined ? usual : epsilon - epsilonQuery)
  const query = epsilonQuery ?? epsilon - threshold
  if (!(threshold > 0 && query > 0) || Math.abs(threshold + query - epsilon) > 1e-5 * epsilon)
    throw new LearningError(
      'ERR_COMPONENT_ARGS',
      'SVTPrivacy: epsilon_threshold and epsilon_query must be more than 0 and their sum epsilon',
    )
  return { threshold, query, release: epsilonRelease ?? count * noiseVar }
}

function clip(value: number, limit: number): number {
  return Math.min(Math.max(value, -limit), limit)
}

function laplace(scale: number, random: () => number): number {
  let uniform = random()
  while (uniform === 0) uniform = random() // its logarithm would be infinite
  const centered = uniform - 0.5
  return -scale * Math.sign(centered) * Math.log(1 - 2 * Math.abs(centered))
}
