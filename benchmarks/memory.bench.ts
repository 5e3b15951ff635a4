import { totalmem } from 'node:os'
import { type Benchmark, type BenchmarkContext, count } from './harness/benchmark.ts'
import { atMost, type Figure, figure, type Target } from './harness/figure.ts'
import type { ProcessUsage } from './harness/process-watch.ts'
import { curvesOf, type MemoryCurves, peakOf } from './memory/memory-curves.ts'
import { TARGET_MB } from './memory/memory-graph.ts'
import { publishPanel } from './memory/published-panels.ts'
import { checkRounds } from './round/echo-job.ts'
import { runEchoJob } from './round/echo-run.ts'

const SIZES = { mb: [128, 512, 2048], sites: [2, 8, 16] } as const
/** What flat is held against. */
const SMALLEST = { mb: SIZES.mb[0], sites: SIZES.sites[0] }
const SMALLEST_TEXT = `${SMALLEST.mb} MB, ${SMALLEST.sites} sites`
const ROUNDS = 4
/** MB of a site's processes and its trainer beside the model that the trainer holds. */
const SITE_MB = 450
/** Of all trainers' models together, in the sizes that are published. */
const PUBLISHED_MB = 8192
/** Of the machine's memory: the rest is for files on their way to the disk. */
const USABLE_SHARE = 0.8

const LOOK_EVERY_MS = 100

/** Of each process, as the system notes it. */
const ROLES = ['server', 'server job', 'site', 'site job'] as const
/** What a place holds at one time, as we saw it. */
const TOGETHER = [
  ['server, all processes', 'serverTogether'],
  ['site, all processes', 'siteTogether'],
] as const

/** Whether memory grows with the model or with the number of sites: it should do neither. */
export const memory: Benchmark = {
  name: 'memory',
  summary: 'memory over time of every process of a league but trainers, while models go round',
  options: {
    mb: { default: '128', values: SIZES.mb.map(String) },
    sites: { default: '2', values: SIZES.sites.map(String) },
  },
  full: SIZES.mb.flatMap((mb) =>
    SIZES.sites
      .filter((sites) => mb * sites <= PUBLISHED_MB)
      .map((sites) => ({ mb: String(mb), sites: String(sites) })),
  ),
  async run(options, context) {
    const size = { mb: count(options, 'mb'), sites: count(options, 'sites') }
    checkRoom(size)
    const isSmallest = size.mb === SMALLEST.mb && size.sites === SMALLEST.sites
    const smallest = isSmallest ? undefined : await measure(SMALLEST, context)
    const measured = await measure(size, context)
    if (context.publishes) await publishPanel({ ...size, curves: measured.curves }, SIZES)
    return [
      ...ROLES.map((role) => peak(role, ({ usage }) => peakOfRole(usage, role))),
      ...TOGETHER.map(([name, line]) =>
        peak(name, ({ curves }) => peakOf(curves, line), atMost(TARGET_MB)),
      ),
    ]

    function peak(name: string, of: (measured: Measured) => number, target?: Target): Figure {
      return figure(`peak RSS: ${name}`, {
        unit: 'MB',
        values: [of(measured)],
        baselines: { [SMALLEST_TEXT]: smallest && [of(smallest)] },
        ...(target === undefined ? {} : { target }),
      })
    }
  },
}

interface Measured {
  readonly curves: MemoryCurves
  readonly usage: readonly ProcessUsage[]
}

function peakOfRole(usage: readonly ProcessUsage[], role: string): number {
  return Math.max(0, ...usage.filter((it) => it.role === role).map((it) => it.peakRssMb))
}

async function measure(
  size: { readonly mb: number; readonly sites: number },
  context: BenchmarkContext,
): Promise<Measured> {
  const job = { ...size, rounds: ROUNDS }
  const { seen, watch } = await runEchoJob(job, 'tcp', context, LOOK_EVERY_MS)
  for (const rounds of seen) checkRounds(rounds, job)
  return { curves: curvesOf(watch.memory()), usage: watch.usage() }
}

/** A machine that runs out of memory ends other people's processes as well as ours. */
function checkRoom({ mb, sites }: { readonly mb: number; readonly sites: number }): void {
  const needed = sites * (mb + SITE_MB)
  const usable = (totalmem() / 2 ** 20) * USABLE_SHARE
  if (needed <= usable) return
  const gb = (value: number) => Math.ceil(value / 1024)
  throw new RangeError(
    `${sites} sites with trainers that hold ${mb} MB need some ${gb(needed)} GB of memory, ` +
      `and of this machine's ${gb(totalmem() / 2 ** 20)} GB no more than ${gb(usable)} are used: ` +
      'take fewer sites or a smaller model',
  )
}
