import { spawn } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runHanse, testEnvironment } from '../test/support/hanse.ts'
import { League, SERVER } from '../test/support/league.ts'
import { STOCK } from './harness/baselines.ts'
import { type Benchmark, type BenchmarkContext, check, count } from './harness/benchmark.ts'
import { figure, ratioAtMost, type Target } from './harness/figure.ts'
import { secondsOf } from './harness/spread.ts'
import { parseRounds, roundsSeen, writeEchoJob, writeStockEchoJob } from './round/echo-job.ts'
import { stockEnvironment } from './stock/stock-installation.ts'
import { StockLeague, stockProject } from './stock/stock-league.ts'

const REPETITIONS = 3
const SITES = 2
const JOB = { mb: 1, sites: SITES, rounds: 1 }
const TIMEOUT_SECONDS = 300

/** Seconds of each repetition. */
interface Times {
  readonly serverReady: number[]
  readonly siteRegistered: number[]
  readonly status: number[]
  readonly firstTask: number[]
  readonly job: number[]
}

/** How long people wait: for kits, places, commands and the smallest job. */
export const startup: Benchmark = {
  name: 'startup',
  summary: 'provisioning, starting, asking and the smallest job; every command from cold',
  options: { participants: { default: '3' } },
  small: [{ participants: '3' }],
  full: [{ participants: '3' }, { participants: '50' }],
  async run(options, context) {
    const participants = count(options, 'participants')
    const kits = await provisioning(participants, context)
    const ours = await timesOfHanse(context)
    const stock = await timesOfStock(context)
    const one = (name: string, key: keyof Times, target?: Target) =>
      figure(name, {
        unit: 's',
        values: ours[key],
        baselines: { [STOCK]: stock?.[key] },
        ...(target === undefined ? {} : { target }),
      })
    return [
      figure(`provision ${participants} participants`, {
        unit: 's',
        values: kits.ours,
        baselines: { [STOCK]: kits.stock },
        target: ratioAtMost(0.6),
      }),
      one('server ready', 'serverReady'),
      one('site registered', 'siteRegistered'),
      one('status from cold', 'status', ratioAtMost(0.15)),
      one('submit to first task', 'firstTask', ratioAtMost(0.25)),
      one('one-round job, submit to result', 'job', ratioAtMost(0.12)),
    ]
  },
}

async function provisioning(
  participants: number,
  { folder, stock, note }: BenchmarkContext,
): Promise<{ readonly ours: number[]; readonly stock: number[] | undefined }> {
  note(`provisioning ${participants} participants`)
  const sites = Array.from({ length: Math.max(1, participants - 2) }, (_, i) => `site-${i + 1}`)
  const project = join(folder, 'project.yml')
  await writeFile(project, stockProject(sites, 8002))
  const env = testEnvironment(join(folder, 'config'))
  await mkdir(join(folder, 'config'), { recursive: true })
  const ours: number[] = []
  const theirs: number[] = []
  for (let i = 0; i < REPETITIONS; i++) {
    const out = join(folder, `kits-${i}`)
    ours.push(
      await secondsOf(async () => {
        const result = await runHanse(['provision', project, '--out', out, '--json'], env)
        const made = result.json?.['participants']
        check(
          result.code === 0 && Array.isArray(made) && made.length === sites.length + 2,
          `provisioning: ${result.stdout}${result.stderr}`,
        )
      }),
    )
    await rm(out, { recursive: true, force: true })
    if (stock === undefined) continue
    const league = join(folder, `stock-kits-${i}`)
    await mkdir(league)
    theirs.push(
      await secondsOf(async () => {
        const command = ['provision', '-p', project, '-w', league, '--force']
        const result = await runProgram(stock.nvflare, command, stockEnvironment(stock, folder))
        check(result === 0, 'stock provisioning')
      }),
    )
    await rm(league, { recursive: true, force: true })
  }
  return { ours, stock: stock && theirs }
}

async function timesOfHanse({ note }: BenchmarkContext): Promise<Times> {
  note('hanse: starting, asking, jobs')
  await using league = await League.provision()
  const times = await timesOf(league.sites, {
    start: (name) => league.startPlace(name),
    stop: (name) => league.place(name).stop(),
    status: async () => {
      const { code, stdout, stderr } = await league.asLead('status')
      check(code === 0, `status: ${stdout}${stderr}`)
    },
    job: async (name) => {
      const folder = await writeEchoJob(league.folder, JOB, name)
      const start = Date.now()
      const id = await league.submit(folder)
      check((await league.wait(id, TIMEOUT_SECONDS)) === 'FINISHED:COMPLETED', 'the job')
      const end = Date.now()
      return {
        start,
        end,
        seen: await Promise.all(league.sites.map((it) => roundsSeen(league, it, id))),
      }
    },
  })
  return times
}

async function timesOfStock({ stock, folder, note }: BenchmarkContext): Promise<Times | undefined> {
  if (stock === undefined) return undefined
  note('stock: starting, asking, jobs')
  await using league = await StockLeague.provision(stock, join(folder, 'stock'))
  return await timesOf(league.sites, {
    start: (name) => league.startPlace(name),
    stop: (name) => league.stopPlace(name),
    status: () => league.asLead('system', 'status'),
    job: async (name) => {
      const out = join(folder, name)
      const job = await writeStockEchoJob(folder, JOB, out, `${name}-job`)
      const start = Date.now()
      const id = await league.submit(job)
      check((await league.wait(id, TIMEOUT_SECONDS)) === 'FINISHED:COMPLETED', 'the stock job')
      const end = Date.now()
      const seen = league.sites.map(async (site) =>
        parseRounds(await readFile(join(out, `${site}.jsonl`), 'utf8')),
      )
      return { start, end, seen: await Promise.all(seen) }
    },
  })
}

interface Acts {
  start(place: string): Promise<unknown>
  stop(place: string): Promise<unknown>
  status(): Promise<unknown>
  job(name: string): Promise<{
    readonly start: number
    readonly end: number
    readonly seen: readonly (readonly { readonly at: number }[])[]
  }>
}

/** The same acts in the same order, whoever is measured. */
async function timesOf(sites: readonly string[], acts: Acts): Promise<Times> {
  const times: Times = { serverReady: [], siteRegistered: [], status: [], firstTask: [], job: [] }
  const [first = '', ...others] = sites
  for (let i = 0; i < REPETITIONS; i++) {
    if (i > 0) await acts.stop(SERVER)
    times.serverReady.push(await secondsOf(() => acts.start(SERVER)))
  }
  for (let i = 0; i < REPETITIONS; i++) {
    if (i > 0) await acts.stop(first)
    times.siteRegistered.push(await secondsOf(() => acts.start(first)))
  }
  for (const site of others) await acts.start(site)
  for (let i = 0; i < REPETITIONS; i++) times.status.push(await secondsOf(() => acts.status()))
  for (let i = 0; i < REPETITIONS; i++) {
    const { start, end, seen } = await acts.job(`small-${i}`)
    check(
      seen.every((rounds) => rounds.length === 1),
      'each site trains once',
    )
    times.firstTask.push((Math.min(...seen.map(([round]) => round!.at)) - start) / 1000)
    times.job.push((end - start) / 1000)
  }
  return times
}

async function runProgram(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<number | null> {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  const child = spawn(program, args, { env, stdio: 'ignore' })
  child.once('exit', resolve)
  child.once('error', reject)
  return promise
}
