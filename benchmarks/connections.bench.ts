import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { League, SERVER } from '../test/support/league.ts'
import { CellPair } from './cells/cell-pair.ts'
import { BARE_TLS } from './harness/baselines.ts'
import { type Benchmark, check, count } from './harness/benchmark.ts'
import { atMost, figure } from './harness/figure.ts'
import { JsonProcess } from './harness/json-process.ts'
import { ProcessWatch } from './harness/process-watch.ts'

const MANY_SITES = fileURLToPath(new URL('connections/many-sites.ts', import.meta.url))
/** Sites are added in so many parts: each is one measurement. */
const PARTS = 4
const IDLE_SECONDS = 20
const WINDOWS = 3

/** Sites that are connected and have nothing to do but to show that they live. */
export const connections: Benchmark = {
  name: 'connections',
  summary: 'memory and CPU that an idle site costs the server',
  options: { sites: { default: '1000' } },
  async run(options, { note }) {
    const sites = count(options, 'sites')
    note(`provisioning ${sites} sites`)
    const names = Array.from({ length: sites }, (_, i) => `site-${i + 1}`)
    await using league = await League.provision({ sites: names, prepare: admitMany })
    const server = await league.startPlace(SERVER)
    await using crowd = new AsyncDisposableStack()

    const atStart = await residentKb(server.pid)
    const joiningKb: number[] = []
    const size = Math.ceil(sites / PARTS)
    for (let from = 0; from < sites; from += size) {
      const part = names.slice(from, from + size)
      const before = await residentKb(server.pid)
      const program = crowd.use(JsonProcess.startNode(MANY_SITES))
      program.say({ kits: part.map((name) => league.kit(name)) })
      await program.next()
      note(`${from + part.length} sites connected`)
      joiningKb.push(((await residentKb(server.pid)) - before) / part.length)
    }
    const joined = server.events.filter(({ event }) => event === 'site-joined').length
    check(joined === sites, `${joined} of ${sites} sites joined`)

    note('idle')
    using watch = new ProcessWatch(new Map([[server.pid, SERVER]]))
    const idleKb: number[] = []
    const cpuMsPerMinute: number[] = []
    for (let i = 0; i < WINDOWS; i++) {
      const start = Date.now()
      await passed(IDLE_SECONDS)
      const end = Date.now()
      watch.look()
      idleKb.push(((await residentKb(server.pid)) - atStart) / sites)
      const cpuMs = watch.cpuSecondsBetween(start, end) * 1000
      cpuMsPerMinute.push(cpuMs / ((end - start) / 60_000) / sites)
    }
    const left = server.events.filter(({ event }) => event === 'site-left').length
    check(left === 0, `${left} sites left`)
    return [
      figure('memory of the server each idle site', {
        unit: 'KB',
        values: idleKb,
        baselines: { [BARE_TLS]: await bareKbEach(league, sites) },
        target: atMost(100),
      }),
      figure('the same while they join, a quarter at a time', { unit: 'KB', values: joiningKb }),
      figure('CPU of the server each site and minute', { unit: 'ms', values: cpuMsPerMinute }),
    ]
  },
}

/** Lets the server take all of them, as its admin would; new kits say 100. */
async function admitMany(league: League): Promise<void> {
  const local = join(league.kit(SERVER), 'local')
  const resources = JSON.parse(await readFile(join(local, 'resources.json.default'), 'utf8'))
  resources.servers[0].max_num_clients = league.sites.length
  await writeFile(join(local, 'resources.json'), JSON.stringify(resources))
}

/** What a TLS connection costs a server in Node that does nothing else. */
async function bareKbEach(league: League, sites: number): Promise<number[]> {
  await using pair = await CellPair.bareTls(league)
  const values: number[] = []
  for (let i = 0; i < PARTS; i++) {
    const before = await residentKb(pair.serverPid)
    const connections = Math.ceil(sites / PARTS)
    await pair.measure({ measure: 'hold', connections })
    values.push(((await residentKb(pair.serverPid)) - before) / connections)
  }
  return values
}

async function residentKb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0)
}

function passed(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}
