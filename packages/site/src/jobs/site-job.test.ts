import { duplexPair } from 'node:stream'
import { type Cell, createCell } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import type { JobProcess } from '@hanse/launcher-process'
import { adminCodecs, platformCodecs } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { SiteJob } from './site-job.ts'

const registry = createFobsRegistry(coreCodecs, platformCodecs, adminCodecs)
let site: Cell
const open: AsyncDisposable[] = []
beforeEach(() => {
  site = cellOf('site-1')
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function cellOf(name: string): Cell {
  const cell = createCell(
    name,
    { drivers: [], registry },
    { closeTimeoutMs: 20, stockPeerHoldMs: 0 },
  )
  open.push(cell)
  return cell
}

function setUp() {
  const clock = fakeClock()
  const [ours, theirs] = duplexPair()
  const exited = Promise.withResolvers<Awaited<JobProcess['exited']>>()
  const kills: string[] = []
  const exit = (code: number | null, signal: NodeJS.Signals | null = null) => {
    // Of a pair, each end has to be told that the other is gone.
    for (const end of [ours, theirs]) end.destroy()
    exited.resolve({ code, signal, errorTail: ['patient 4711 is ill'] })
  }
  const job = SiteJob.adopt(
    // Links have a clock of their own here: the fake one is for the grace.
    {
      cell: site,
      clock: { ...clock, setTimer: (ms, act) => clockFor(ms).setTimer(ms, act) },
      logger: silentLogger,
    },
    'j1',
    {
      pid: 1,
      pipe: ours,
      exited: exited.promise,
      kill(signal = 'SIGKILL') {
        kills.push(signal)
        exit(null, signal)
      },
    },
  )
  function clockFor(ms: number) {
    return ms === 10_000 ? clock : systemClock
  }
  /** The job's own cell, as `name`. */
  const link = (name = 'site-1.j1') => {
    const cell = cellOf(name)
    const session = cell.adopt(
      pipeConnection(theirs, { name: 'site', closeTimeoutMs: 20 }),
      'active',
    )
    return { cell, session }
  }
  return { job, clock, exit, kills, link }
}

async function linked() {
  const all = setUp()
  const told: string[] = []
  const { cell, session } = all.link()
  const heard = Promise.withResolvers<void>()
  cell.handle('client_command', '*', ({ topic, origin }) => {
    told.push(`${origin} ${topic}`)
    heard.resolve()
    return {}
  })
  await session.ready
  await expect.poll(() => site.peers.has('site-1.j1')).toBe(true)
  return { ...all, told, heard: heard.promise }
}

describe('the end of a job', () => {
  it('that went well has nothing to say', async () => {
    const { job, exit } = setUp()
    exit(0)
    expect(await job.ended).toEqual({ code: 0, reason: '' })
  })

  it.each<[number | null, NodeJS.Signals | null, number, RegExp]>([
    [1, null, 101, /code 1/],
    [103, null, 103, /code 103/],
    [null, 'SIGKILL', 101, /SIGKILL/],
  ])('with code %s and signal %s is told as %s', async (code, signal, told, reason) => {
    const { job, exit } = setUp()
    job.explain('the app has no executor')
    exit(code, signal)
    const ending = await job.ended
    expect(ending.code).toBe(told)
    expect(ending.reason).toMatch(reason)
    expect(ending.reason).toMatch(/: the app has no executor$/)
    // What it printed is the site's own affair.
    expect(JSON.stringify(ending)).not.toContain('4711')
  })
})

describe('a job that is told to stop', () => {
  it('is ended at once while it is not up', async () => {
    const { job, kills } = setUp()
    await job.abort()
    expect(kills).toEqual(['SIGKILL'])
    expect(job.isStopping).toBe(true)
    expect(await job.ended).toEqual({ code: 0, reason: '' })
  })

  it('ends by itself, which is no failure', async () => {
    const { job, kills, exit, told, heard } = await linked()
    const aborted = job.abort()
    await heard
    exit(9)
    await aborted
    expect([told, kills]).toEqual([['site-1 abort'], []])
    expect(await job.ended).toEqual({ code: 0, reason: '' })
  })

  it('is ended when it has not within ten seconds', async () => {
    const { job, kills, clock, heard } = await linked()
    const aborted = job.abort()
    await heard
    await expect.poll(() => clock.pending).toBe(1)
    clock.advance(9_999)
    expect(kills).toEqual([])
    clock.advance(1)
    await aborted
    expect(kills).toEqual(['SIGKILL'])
  })
})

it('a job cannot come as another', async () => {
  const { link, exit } = setUp()
  const { session } = link('site-1.j2')
  await expect(session.ready).rejects.toThrow()
  expect([...site.peers.keys()]).toEqual([])
  exit(0)
})
