import { type Spread, spreadOf } from './spread.ts'

/** Says when a figure is good enough. */
export interface Target {
  /** Of the median itself, or of its ratio to the first baseline. */
  readonly of: 'value' | 'ratio'
  readonly bound: 'at most' | 'at least'
  readonly limit: number
}

/** What a figure is held against, measured in the same run. */
export interface Baseline {
  readonly name: string
  readonly value: Spread
  /** Our median over the baseline's. */
  readonly ratio: number
}

/** One measured quantity. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: Spread
  readonly baselines: readonly Baseline[]
  readonly target?: Target
  /** Absent without a target, or where its baseline could not be measured. */
  readonly met?: boolean
}

/** What a benchmark says of one quantity; a baseline without values could not be measured. */
export interface FigureOptions {
  readonly unit: string
  readonly values: readonly number[]
  readonly baselines?: Readonly<Record<string, readonly number[] | undefined>>
  readonly target?: Target
}

export function figure(name: string, options: FigureOptions): Figure {
  const { unit, target } = options
  const value = spreadOf(options.values)
  const baselines = Object.entries(options.baselines ?? {}).flatMap(([baseline, values]) => {
    if (values === undefined || values.length === 0) return []
    const spread = spreadOf(values)
    // Nothing is so many times nothing.
    if (spread.median === 0) return []
    return [{ name: baseline, value: spread, ratio: value.median / spread.median }]
  })
  if (target === undefined) return { name, unit, value, baselines }
  const first = Object.keys(options.baselines ?? {})[0]
  const held =
    target.of === 'value'
      ? value.median
      : baselines.find((baseline) => baseline.name === first)?.ratio
  if (held === undefined) return { name, unit, value, baselines, target }
  const met = target.bound === 'at most' ? held <= target.limit : held >= target.limit
  return { name, unit, value, baselines, target, met }
}

export function ratioAtMost(limit: number): Target {
  return { of: 'ratio', bound: 'at most', limit }
}

export function ratioAtLeast(limit: number): Target {
  return { of: 'ratio', bound: 'at least', limit }
}

export function atMost(limit: number): Target {
  return { of: 'value', bound: 'at most', limit }
}
