import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '@hanse/contract'
import { connections } from './connections.bench.ts'
import { fobs } from './fobs.bench.ts'
import { parseArguments, usage, type Wanted } from './harness/arguments.ts'
import type { Benchmark, BenchmarkOptions } from './harness/benchmark.ts'
import { describeMachine, type Machine } from './harness/machine.ts'
import { publish } from './harness/performance-page.ts'
import { optionText, type Report } from './harness/report.ts'
import { alignedTable, FIGURE_COLUMNS, figureRows } from './harness/table.ts'
import { kernels } from './kernels.bench.ts'
import { memory } from './memory.bench.ts'
import { messages } from './messages.bench.ts'
import { proofs } from './proofs.bench.ts'
import { round } from './round.bench.ts'
import { startup } from './startup.bench.ts'
import { openStock, type StockInstallation } from './stock/stock-installation.ts'
import { streams } from './streams.bench.ts'

const BENCHMARKS: readonly Benchmark[] = [
  round,
  memory,
  messages,
  proofs,
  streams,
  fobs,
  kernels,
  connections,
  startup,
]

const note = (text: string) => void process.stderr.write(`${text}\n`)

interface RunOptions {
  readonly stock: StockInstallation | undefined
  readonly machine: Machine
  readonly publishes: boolean
}

async function runOnce(
  benchmark: Benchmark,
  options: BenchmarkOptions,
  { stock, machine, publishes }: RunOptions,
): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'hanse-bench-'))
  try {
    const figures = await benchmark.run(options, { folder, stock, publishes, note })
    return { benchmark: benchmark.name, options, figures, machine, at: new Date().toISOString() }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** `undefined` when they make no sense; the reason was said. */
function readArguments(): Wanted | undefined {
  try {
    return parseArguments(process.argv.slice(2), BENCHMARKS)
  } catch (error) {
    note(messageOf(error))
    return undefined
  }
}

async function main(): Promise<void> {
  const wanted = readArguments()
  if (wanted === undefined) {
    process.exitCode = 2
    return
  }
  if (wanted.action === 'list') {
    process.stdout.write(`${usage(BENCHMARKS)}\n`)
    return
  }
  const stock = await openStock(note)
  const machine = await describeMachine(stock)
  const reports: Report[] = []
  if (wanted.everything && !wanted.json) process.stdout.write(`${usage(BENCHMARKS)}\n\n`)
  for (const { benchmark, options } of wanted.runs) {
    const title = `${benchmark.name} ${optionText(options)}`.trim()
    note(`running ${title}`)
    const report = await runOnce(benchmark, options, { stock, machine, publishes: wanted.write })
    reports.push(report)
    if (wanted.write) await publish(report)
    if (!wanted.json)
      process.stdout.write(
        `${title}\n${alignedTable(FIGURE_COLUMNS, report.figures.flatMap(figureRows))}\n\n`,
      )
  }
  if (wanted.json) {
    const results = reports.map(({ machine: _, ...report }) => report)
    process.stdout.write(`${JSON.stringify({ machine, results })}\n`)
  } else
    process.stdout.write(
      `${alignedTable(
        ['measured on', ''],
        Object.entries(machine).map(([name, value]) => [name, String(value)]),
      )}\n`,
    )
}

try {
  await main()
} catch (error) {
  note(error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.exitCode = 1
}
