// Many sites in one process, each as `hanse start` runs it: `<kit>…` on standard input as one JSON line.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { silentLogger, systemClock } from '@hanse/contract'
import { loadKit, type SiteKit } from '@hanse/provision'
import { runSite } from '@hanse/site'

/** Logins under way at a time: a server takes so many connections without a name. */
const AT_ONCE = 8

const lines = createInterface({ input: process.stdin })
const [line] = (await once(lines, 'line')) as [string]
const { kits } = JSON.parse(line) as { readonly kits: readonly string[] }
const stop = new AbortController()
const running: Promise<unknown>[] = []

async function start(directory: string): Promise<void> {
  const loaded = (await loadKit(directory, { now: Date.now() })) as SiteKit // that is what we are given
  // They run no jobs: what would wait for one at each of them is not what is measured.
  const kit: SiteKit = { ...loaded, hanse: { ...loaded.hanse, spareJobProcesses: 0 } }
  const ready = Promise.withResolvers<void>()
  const site = runSite({
    kit,
    clock: systemClock,
    logger: silentLogger,
    software: 'benchmark',
    signal: stop.signal,
    onEvent: ({ event }) => event === 'ready' && ready.resolve(),
  })
  site.catch(ready.reject)
  running.push(site)
  await ready.promise
}

const left = [...kits]
const work = async () => {
  for (let kit = left.shift(); kit !== undefined; kit = left.shift()) await start(kit)
}
await Promise.all(Array.from({ length: AT_ONCE }, work))
process.stdout.write(`${JSON.stringify({ ready: kits.length })}\n`)
await once(lines, 'close')
stop.abort()
await Promise.allSettled(running)
