import { readFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { Scheme } from '@hanse/provision'
import { League } from '../test/support/league.ts'
import { CellPair } from './cells/cell-pair.ts'
import { BARE_TLS, STOCK } from './harness/baselines.ts'
import { type Benchmark, type BenchmarkContext, count } from './harness/benchmark.ts'
import { atMost, type Figure, figure, ratioAtMost, type Target } from './harness/figure.ts'
import { type ProcessUsage, ProcessWatch } from './harness/process-watch.ts'
import { repeated } from './harness/spread.ts'
import { checkRounds, type EchoJob, parseRounds, writeStockEchoJob } from './round/echo-job.ts'
import { type EchoRun, runEchoJob, siteNames, TIMEOUT_SECONDS } from './round/echo-run.ts'
import { roleOfStock } from './round/roles.ts'
import { StockLeague } from './stock/stock-league.ts'

/** Rounds of a job; the first is not counted: there is no model yet, and programs warm up. */
const ROUNDS = { small: 14, large: 6 } as const
const UNCOUNTED = 1
/** Copies of the model that stock processes hold for each site, about: more than there is memory harms the machine. */
const STOCK_COPIES = { server: 5, site: 4 } as const

/** Of seconds a round, as a share of stock's, by MB. */
const ROUND_TARGETS: ReadonlyMap<number, Target> = new Map([
  [1, ratioAtMost(0.05)],
  [16, ratioAtMost(0.1)],
  [128, ratioAtMost(0.25)],
  [512, ratioAtMost(0.25)],
])

const DRIVERS = ['tcp', 'http', 'grpc'] as const satisfies readonly Scheme[]
/** The same of large models over the other drivers. */
const LARGE_OVER_OTHERS = ratioAtMost(0.3)

/** Of processes; stock's trainers run in the process of the site's job. */
const ROLES = ['server', 'server job', 'site', 'site job', 'trainer'] as const

/** What one platform needed. */
interface Measured {
  readonly secondsPerRound: readonly number[]
  /** CPU of the processes with a role, or of all. */
  cpuSecondsPerGb(role?: string): readonly number[]
  readonly usage: readonly ProcessUsage[]
}

/** Whole rounds of federated averaging between real processes. */
export const round: Benchmark = {
  name: 'round',
  summary: 'a round of federated averaging: real processes, mutual TLS, echoing trainers',
  options: {
    mb: { default: '16', values: ['1', '16', '128', '512', '2048'] },
    sites: { default: '2', values: ['2', '8', '16'] },
    driver: { default: 'tcp', values: DRIVERS },
  },
  small: [{ mb: '1' }, { mb: '16' }],
  full: [
    { mb: '1' },
    { mb: '16' },
    { mb: '128' },
    { mb: '128', driver: 'http' },
    { mb: '128', driver: 'grpc' },
    { mb: '512' },
    { mb: '2048' },
    { mb: '16', sites: '8' },
    { mb: '16', sites: '16' },
    { mb: '512', sites: '16' },
  ],
  async run(options, context) {
    const mb = count(options, 'mb')
    const sites = count(options, 'sites')
    const driver = DRIVERS.find((it) => it === options['driver']) ?? 'tcp'
    const job = { mb, sites, rounds: mb <= 16 ? ROUNDS.small : ROUNDS.large }
    const ours = measured(job, await runEchoJob(job, driver, context))
    const stock = await measureStock(job, driver, context)
    const bare = await measureBareTls(job)
    return [...speed(job, driver, ours, stock, bare), ...memory(ours, stock)]
  },
}

function roundTarget(mb: number, driver: Scheme): Target | undefined {
  const target = ROUND_TARGETS.get(mb)
  return target !== undefined && driver !== 'tcp' && mb > 16 ? LARGE_OVER_OTHERS : target
}

function speed(
  { mb, sites }: EchoJob,
  driver: Scheme,
  ours: Measured,
  stock: Measured | undefined,
  bare: readonly number[],
): Figure[] {
  // Each site gets the model and sends one back.
  const moved = mb * sites * 2
  const rates = (seconds: readonly number[]) => seconds.map((it) => moved / it)
  const target = sites === 2 ? roundTarget(mb, driver) : undefined
  return [
    figure('a round', {
      unit: 's',
      values: ours.secondsPerRound,
      baselines: { [STOCK]: stock?.secondsPerRound, [BARE_TLS]: bare },
      ...(target === undefined ? {} : { target }),
    }),
    figure('through the server', {
      unit: 'MB/s',
      values: rates(ours.secondsPerRound),
      baselines: {
        [STOCK]: stock && rates(stock.secondsPerRound),
        [BARE_TLS]: rates(bare),
      },
    }),
    figure('CPU of all processes', {
      unit: 's/GB',
      values: ours.cpuSecondsPerGb(),
      baselines: { [STOCK]: stock?.cpuSecondsPerGb() },
      // Below, it is the processes' idling that is measured.
      ...(mb >= 16 ? { target: ratioAtMost(0.3) } : {}),
    }),
    ...ROLES.map((role) =>
      figure(`CPU: ${role}`, {
        unit: 's/GB',
        values: ours.cpuSecondsPerGb(role),
        baselines: {
          [STOCK]: role === 'trainer' ? undefined : stock?.cpuSecondsPerGb(role),
        },
      }),
    ),
  ]
}

/** Peak memory by role; sums are of peaks, so the real peak of both together is not above them. */
function memory(ours: Measured, stock: Measured | undefined): Figure[] {
  const peak = ({ usage }: Measured, role: string) =>
    Math.max(0, ...usage.filter((it) => it.role === role).map((it) => it.peakRssMb))
  const one = (name: string, roles: readonly string[], target?: Target) => {
    const sum = (of: Measured) => [roles.reduce((total, role) => total + peak(of, role), 0)]
    const theirs = stock && sum(stock)
    return figure(`peak RSS: ${name}`, {
      unit: 'MB',
      values: sum(ours),
      baselines: { [STOCK]: theirs?.[0] === 0 ? undefined : theirs },
      ...(target === undefined ? {} : { target }),
    })
  }
  return [
    one('server', ['server'], atMost(400)),
    one('server job', ['server job'], atMost(400)),
    one('site', ['site']),
    one('site job', ['site job']),
    one('site and site job', ['site', 'site job'], atMost(400)),
    one('trainer', ['trainer']),
  ]
}

async function measureStock(
  job: EchoJob,
  driver: Scheme,
  { stock, folder, note }: BenchmarkContext,
): Promise<Measured | undefined> {
  if (stock === undefined) return undefined
  const needed = job.mb * (STOCK_COPIES.server * job.sites + STOCK_COPIES.site * job.sites)
  if (needed > (totalmem() / 2 ** 20) * 0.8) {
    note(`stock: not measured, it would need some ${Math.round(needed / 1024)} GB of memory here`)
    return undefined
  }
  note(`stock: ${job.rounds} rounds of ${job.mb} MB with ${job.sites} sites`)
  await using league = await StockLeague.start(
    ...([stock, join(folder, 'stock'), siteNames(job.sites), driver] as const),
  )
  using watch = new ProcessWatch(league.pids, roleOfStock)
  const out = join(folder, 'seen')
  const id = await league.submit(await writeStockEchoJob(folder, job, out))
  const status = await league.wait(id, TIMEOUT_SECONDS)
  if (status !== 'FINISHED:COMPLETED') {
    // Not our fault, and not a figure: large models are too much for it on some machines.
    note(`stock: the job ended with ${status}`)
    return undefined
  }
  watch.look()
  const seen = await Promise.all(
    league.sites.map(async (site) =>
      parseRounds(await readFile(join(out, `${site}.jsonl`), 'utf8')),
    ),
  )
  return measured(job, { seen, watch })
}

/** The same bytes down and up again over sockets of the same kind, and nothing done with them. */
async function measureBareTls({ mb, sites }: EchoJob): Promise<number[]> {
  await using league = await League.provision()
  await using pair = await CellPair.bareTls(league)
  const one = () => pair.measure<{ seconds: number }>({ measure: 'round', mb, sites })
  return await repeated(async () => (await one()).seconds)
}

/** A round lasts from one site's having the whole model to its having the next one. */
function measured(job: EchoJob, { seen, watch }: EchoRun): Measured {
  for (const rounds of seen) checkRounds(rounds, job)
  const starts = (seen[0] ?? []).map(({ at }) => at)
  const counted = starts.slice(UNCOUNTED, -1).map((start, i) => ({
    start,
    end: starts[UNCOUNTED + i + 1]!,
  }))
  const gb = (job.mb * job.sites * 2) / 1024
  return {
    secondsPerRound: counted.map(({ start, end }) => (end - start) / 1000),
    // The clock of CPU times ticks in hundredths: short rounds are taken together.
    cpuSecondsPerGb: (role) =>
      thirds(counted).map((some) => {
        const cpuSeconds = watch.cpuSecondsBetween(some[0]!.start, some.at(-1)!.end, role)
        return cpuSeconds / (gb * some.length)
      }),
    usage: watch.usage(),
  }
}

function thirds<Item>(items: readonly Item[]): Item[][] {
  const size = Math.max(1, Math.floor(items.length / 3))
  return [items.slice(0, size), items.slice(size, 2 * size), items.slice(2 * size)].filter(
    (some) => some.length > 0,
  )
}
