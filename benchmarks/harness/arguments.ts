import { parseArgs } from 'node:util'
import type { Benchmark, BenchmarkOptions } from './benchmark.ts'

/** What the command line asks for. */
export type Wanted =
  | { readonly action: 'list' }
  | {
      readonly action: 'run'
      /** No benchmark was named. */
      readonly everything: boolean
      readonly json: boolean
      /** Put the figures into the published page. */
      readonly write: boolean
      readonly runs: readonly {
        readonly benchmark: Benchmark
        readonly options: BenchmarkOptions
      }[]
    }

/**
 * Reads the command line: no names are all benchmarks; options of benchmarks need one name.
 * @throws {RangeError} that says what is possible
 */
export function parseArguments(args: readonly string[], benchmarks: readonly Benchmark[]): Wanted {
  const optionNames = new Set(benchmarks.flatMap(({ options }) => Object.keys(options)))
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      write: { type: 'boolean' },
      full: { type: 'boolean' },
      list: { type: 'boolean' },
      help: { type: 'boolean' },
      ...Object.fromEntries([...optionNames].map((name) => [name, { type: 'string' } as const])),
    },
  })
  const { json, write, full, list, help, ...given } = values as Record<string, string | boolean>
  if (list === true || help === true) return { action: 'list' }
  const chosen = positionals.map((name) => named(name, benchmarks))
  const own = given as Record<string, string> // only those of benchmarks are left, and they are texts
  if (Object.keys(own).length > 0 && chosen.length !== 1)
    throw new RangeError('options of benchmarks need the name of one benchmark before them')
  const size = full === true || (write === true && Object.keys(own).length === 0) ? 'full' : 'small'
  const runs = (chosen.length === 0 ? benchmarks : chosen).flatMap((benchmark) => {
    const combinations = Object.keys(own).length > 0 ? [own] : (benchmark[size] ?? [{}])
    return combinations.map((options) => ({ benchmark, options: complete(benchmark, options) }))
  })
  return {
    action: 'run',
    everything: chosen.length === 0,
    json: json === true,
    write: write === true,
    runs,
  }
}

/** What there is and how it is asked for. */
export function usage(benchmarks: readonly Benchmark[]): string {
  const width = Math.max(...benchmarks.map(({ name }) => name.length))
  return [
    'npm run bench -- [name] [options] [--full] [--json] [--write] [--list]',
    ...benchmarks.flatMap(({ name, summary, options }) => [
      `  ${name.padEnd(width)}  ${summary}`,
      ...Object.entries(options).map(
        ([option, { default: value, values }]) =>
          `  ${' '.repeat(width)}    --${option} ${values?.join('|') ?? 'N'} (${value})`,
      ),
    ]),
  ].join('\n')
}

function named(name: string, benchmarks: readonly Benchmark[]): Benchmark {
  const found = benchmarks.find((benchmark) => benchmark.name === name)
  if (found !== undefined) return found
  throw new RangeError(
    `no benchmark '${name}'; there are ${benchmarks.map((it) => it.name).join(', ')}`,
  )
}

function complete(benchmark: Benchmark, given: BenchmarkOptions): BenchmarkOptions {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(benchmark.options, name))
  if (unknown !== undefined) throw new RangeError(`${benchmark.name} has no option --${unknown}`)
  return Object.fromEntries(
    Object.entries(benchmark.options).map(([name, spec]) => {
      const value = given[name] ?? spec.default
      const fits = spec.values?.includes(value) ?? /^[1-9]\d{0,8}$/.test(value)
      if (fits) return [name, value]
      const wanted = spec.values?.join(', ') ?? 'a whole number from 1'
      throw new RangeError(`--${name} ${value} is not possible: ${wanted}`)
    }),
  )
}
