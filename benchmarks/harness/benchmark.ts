import type { StockInstallation } from '../stock/stock-installation.ts'
import type { Figure } from './figure.ts'

/** What a benchmark is handed. */
export interface BenchmarkContext {
  /** A temporary folder of this run; removed afterwards. */
  readonly folder: string
  /** The stock platform to measure against; `undefined` where it cannot be installed. */
  readonly stock: StockInstallation | undefined
  /** Figures go into the published page: what is shown beside them is to be written too. */
  readonly publishes: boolean
  /** Says what is going on; never part of a result. */
  note(text: string): void
}

/** Values of a benchmark's options by name. */
export type BenchmarkOptions = Readonly<Record<string, string>>

/** One option of a benchmark. */
export interface OptionSpec {
  readonly default: string
  /** All that it may be; absent: any whole number from 1. */
  readonly values?: readonly string[]
}

/** One area that is measured. */
export interface Benchmark {
  readonly name: string
  readonly summary: string
  readonly options: Readonly<Record<string, OptionSpec>>
  /** Combinations to run in the size of a check of every commit; none: the defaults. */
  readonly small?: readonly BenchmarkOptions[]
  /** Combinations behind the published numbers; none: the defaults. */
  readonly full?: readonly BenchmarkOptions[]
  /** @throws when what was measured gave a wrong result */
  run(options: BenchmarkOptions, context: BenchmarkContext): Promise<readonly Figure[]>
}

/** A whole number among a benchmark's options. */
export function count(options: BenchmarkOptions, name: string): number {
  return Number(options[name])
}

/** Ends the benchmark when what it measured is not right: a fast wrong answer is no figure. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`wrong result: ${what}`)
}
