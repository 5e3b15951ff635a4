import type { BenchmarkOptions } from './benchmark.ts'
import type { Figure } from './figure.ts'
import type { Machine } from './machine.ts'

/** One run of one benchmark. */
export interface Report {
  readonly benchmark: string
  readonly options: BenchmarkOptions
  readonly figures: readonly Figure[]
  readonly machine: Machine
  /** ISO time. */
  readonly at: string
}

/** Options as they are typed. */
export function optionText(options: BenchmarkOptions): string {
  return Object.entries(options)
    .map(([name, value]) => `--${name} ${value}`)
    .join(' ')
}
