import { type Duplex, duplexPair } from 'node:stream'
import { type Cell, createCell } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import type { JobProcess } from '@hanse/launcher-process'
import { CHANNEL, platformCodecs, Shareable } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LinkedCells } from '../../../session/test/linked-cells.ts'
import { PARENT_TOPIC, STOP_TOPIC } from './job-process-protocol.ts'
import { ServerJobProcesses } from './server-job-process.ts'

let cells: LinkedCells
let processes: ServerJobProcesses
const progress: string[] = []
const impostors: string[] = []
const open: AsyncDisposable[] = []
beforeEach(async () => {
  cells = await LinkedCells.open()
  progress.length = 0
  impostors.length = 0
  processes = new ServerJobProcesses({
    cell: cells.server,
    clock: systemClock,
    logger: silentLogger,
    launcher: { start: () => Promise.reject(new Error('these tests bring their own processes')) },
    onProgress: (jobId, text) => progress.push(`${jobId} ${text}`),
    onImpostor: ({ origin, topic }) => impostors.push(`${origin} ${topic}`),
  })
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
  await cells[Symbol.asyncDispose]()
})

/** A job's process as its server sees it, with its cell at the other end of the pipe. */
async function startJob(jobId: string, name = `server.${jobId}`) {
  const [ours, theirs] = duplexPair()
  const exited = Promise.withResolvers<Awaited<JobProcess['exited']>>()
  const kills: string[] = []
  const process: JobProcess = {
    pid: 1,
    pipe: ours as Duplex,
    exited: exited.promise,
    kill(signal = 'SIGKILL') {
      kills.push(signal)
      exited.resolve({ code: null, signal, errorTail: ['one', 'two', 'three', 'four'] })
    },
  }
  const job = processes.adopt(jobId, process)
  const cell: Cell = createCell(
    name,
    { drivers: [], registry: createFobsRegistry(coreCodecs, platformCodecs) },
    { closeTimeoutMs: 20, stockPeerHoldMs: 0 },
  )
  const link = cell.adopt(pipeConnection(theirs, { name: 'server', closeTimeoutMs: 20 }), 'active')
  open.push(cell, job)
  const say = (topic: string, body: unknown, from: Cell = cell) =>
    from.request('server', CHANNEL.serverParent, topic, body, { timeoutMs: 1_000 })
  return { job, cell, link, kills, exited, say }
}

describe("a job's process", () => {
  it('says when it is ready, how far it is and how it ended', async () => {
    const { job, link, say, exited } = await startJob('j1')
    await link.ready
    await say(PARENT_TOPIC.ready, null)
    await job.ready
    await say(PARENT_TOPIC.progress, new Map([['progress', '{"round":1}']]))
    expect(progress).toEqual(['j1 {"round":1}'])
    expect(job.outcome()).toBeUndefined()
    await say(
      PARENT_TOPIC.status,
      new Map<string, string | boolean>([
        ['execution_error', true],
        ['reason', 'x'.repeat(5_000)],
      ]),
    )
    await say(PARENT_TOPIC.status, new Map([['execution_error', false]]))
    expect(job.outcome()).toEqual({ failed: true, reason: 'x'.repeat(2_000) })
    exited.resolve({ code: 1, signal: null, errorTail: ['one', 'two', 'three', 'four'] })
    expect(await job.exited).toEqual({ code: 1, signal: null, lastWords: 'two | three | four' })
  })

  it('is told of sites, and to stop; one that does not is ended', async () => {
    const { job, cell, link, kills } = await startJob('j1')
    await link.ready
    const told: string[] = []
    const all = Promise.withResolvers<void>()
    cell.handle(CHANNEL.serverCommand, '*', ({ topic, body, origin }) => {
      const headers = body instanceof Shareable ? [...body.headers.values()] : []
      told.push([origin, topic, ...headers].join(' '))
      if (told.length === 3) all.resolve()
      return {}
    })
    job.reportDead('site-1', 'why', true)
    job.reportAlive('site-1')
    const stopped = job.stop(1)
    await all.promise
    await stopped
    expect(told.toSorted()).toEqual(
      [
        `server ${STOP_TOPIC.deadSite} site-1 why true`,
        `server ${STOP_TOPIC.siteBack} site-1`,
        `server ${STOP_TOPIC.abort}`,
      ].toSorted(),
    )
    expect(kills).toEqual(['SIGKILL'])
  })

  it('may say what belongs to a job only while it is one of ours', async () => {
    const { job, cell, link, say } = await startJob('j1')
    await link.ready
    expect(processes.owns(cells.server.peers.get('server.j1')!)).toBe(true)
    const peer = cells.server.peers.get('server.j1')!
    await job[Symbol.asyncDispose]()
    expect(processes.owns(peer)).toBe(false)
    expect((await say(PARENT_TOPIC.ready, null, cell)).returnCode).not.toBe('ok')
  })

  it('cannot come as another', async () => {
    const { link } = await startJob('j1', 'server.j2')
    await expect(link.ready).rejects.toThrow()
    expect(cells.server.peers.has('server.j2')).toBe(false)
  })
})

describe('everybody else', () => {
  it.each(Object.values(PARENT_TOPIC))('cannot say %s in the name of a job', async (topic) => {
    const { job, link, say } = await startJob('j1')
    await link.ready
    // Cells of the network under every name that might help; without the server's other filters.
    for (const name of ['site-1', 'site-1.j1', 'serverj1.j1'])
      expect(await say(topic, new Map(), await cells.linked(name))).toMatchObject({
        returnCode: 'unauthenticated',
      })
    expect(await say(topic, new Map(), cells.server)).toMatchObject({
      returnCode: 'unauthenticated',
    })
    expect([job.outcome(), progress]).toEqual([undefined, []])
    expect(impostors).toEqual(
      ['site-1', 'site-1.j1', 'serverj1.j1', 'server'].map((name) => `${name} ${topic}`),
    )
  })

  it('is no job, whatever it is called', async () => {
    await startJob('j1')
    await cells.linked('site-1')
    expect(processes.owns(cells.server.peers.get('site-1')!)).toBe(false)
  })

  it('cannot fill the memory with progress', async () => {
    const { link, say } = await startJob('j1')
    await link.ready
    await say(PARENT_TOPIC.progress, new Map([['progress', 'x'.repeat(300_000)]]))
    await say(PARENT_TOPIC.progress, new Map([['progress', 7]]))
    expect(progress).toEqual([])
  })
})
