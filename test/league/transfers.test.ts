import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League } from '../support/league.ts'
import { SlowRelay } from '../support/slow-relay.ts'

const MIB = 2 ** 20

let relay: SlowRelay
let league: League
beforeEach(async () => {
  const [port, serverPort] = [await freePort(), await freePort()]
  relay = await SlowRelay.listen(port, serverPort)
  league = await League.start({
    port: serverPort,
    connectTo: new Map([['site-1', { host: '127.0.0.1', port }]]),
  })
}, 120_000)
afterEach(async () => {
  await league?.[Symbol.asyncDispose]()
  await relay?.[Symbol.asyncDispose]()
})

/** Answers with two arrays of `mb` MiB together: site-1 all ones, site-2 all threes, and one more each round. */
const answering = (mb: number) =>
  trainerOf(`
  const value = (site === 'site-1' ? 1 : 3) + (model.currentRound ?? 0)
  const array = () => ({ dtype: 'float32', shape: [${(mb * MIB) / 8}], data: new Float32Array(${(mb * MIB) / 8}).fill(value) })
  await send({ params: { a: array(), b: array() }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)

/** Every element of the job's model is `value`. */
async function expectModel(job: string, value: number): Promise<void> {
  const model = await readGlobalModel(await league.download(job))
  expect([...model.keys()].sort()).toEqual(['a', 'b'])
  for (const { data } of model.values())
    expect((data as Float32Array).every((one) => one === value)).toBe(true)
}

/** Resolves when the site's contribution to the round under way, `round` or a later one, has arrived. */
async function untilArrived(job: string, site: string, round = 0): Promise<void> {
  for (;;) {
    const jobs = ((await league.asLead('status')).json?.['jobs'] ?? []) as {
      readonly job: string
      readonly progress?: {
        readonly round: number
        readonly sites: { readonly name: string; readonly state: string }[]
      }
    }[]
    const progress = jobs.find((candidate) => candidate.job === job)?.progress
    const sites = progress !== undefined && progress.round >= round ? progress.sites : []
    if (sites.some(({ name, state }) => name === site && state === 'contributed')) return
  }
}

describe('a link that is cut within a contribution', () => {
  it.each([10, 50, 99])(
    'at %i percent loses nothing of it and counts nothing twice',
    async (percent) => {
      const folder = await writeJob(league.folder, { rounds: 2, trainer: answering(4) })
      const cut = relay.after((percent / 100) * 4 * MIB, () => relay.cut())
      const job = await league.submit(folder)
      await cut
      expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
      await expectModel(job, 3)
    },
  )
})

describe('a site that dies at 99 % of its contribution', () => {
  it('leaves no trace of it in the sum', async () => {
    const folder = await writeJob(league.folder, {
      rounds: 1,
      minClients: 1,
      clients: 2,
      trainer: answering(4),
    })
    const dead = relay.after(0.99 * 4 * MIB, () => {
      league.place('site-1').kill('SIGKILL')
      relay.cut()
    })
    const job = await league.submit(folder)
    await dead
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    await expectModel(job, 3)
  })
})

describe('a site on a slow link', () => {
  it('does not keep another one waiting', async () => {
    const folder = await writeJob(league.folder, { rounds: 1, trainer: answering(4) })
    relay.bytesPerSecond = MIB / 2
    const job = await league.submit(folder)
    await untilArrived(job, 'site-2')
    expect(relay.passed.server).toBeLessThan(4 * MIB)
    relay.bytesPerSecond = 0
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    await expectModel(job, 2)
  })
})

describe('a site that stops reading', () => {
  // More than all buffers on the way take up.
  const MB = 32

  it('does not keep another one waiting, and goes on where it reads again', async () => {
    const folder = await writeJob(league.folder, { rounds: 2, trainer: answering(MB) })
    // The first round has no model for the sites: what is this long is that of the second.
    const stopped = relay.after(
      MB * MIB * 0.5,
      () => {
        relay.siteReads = false
      },
      'site',
    )
    const job = await league.submit(folder)
    await stopped
    await untilArrived(job, 'site-2', 2)
    expect(relay.passed.site).toBeLessThan(MB * MIB)
    relay.siteReads = true
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    await expectModel(job, 3)
  })
})

describe('models of 64 MB', () => {
  it('leave the processes of a job as large as they were', async () => {
    const folder = await writeJob(league.folder, { rounds: 3, trainer: answering(64) })
    const job = await league.submit(folder)
    const peaks = new Map<string, number>()
    let isOver = false
    const over = league.wait(job).finally(() => {
      isOver = true
    })
    while (!isOver) {
      for (const { pid, command } of await league.processes()) {
        const kind = /(server|site)\/dist\/job-process/.exec(command)?.[1]
        const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
        const peakMb = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
        if (kind !== undefined) peaks.set(kind, Math.max(peaks.get(kind) ?? 0, peakMb))
      }
    }
    expect(await over).toBe('FINISHED:COMPLETED')
    await expectModel(job, 4)
    // Two contributions, their mean and the last model would be 256 MB at the server, 128 MB at a site.
    expect(Math.min(...peaks.values())).toBeGreaterThan(50)
    expect(Math.max(...peaks.values())).toBeLessThan(280)
  })
})
