import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { silentLogger } from '@hanse/contract'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fakeClock } from '../../driver-socket/test/fake-clock.ts'
import type { JobProcess } from './job-process.ts'
import { JobProcesses } from './job-processes.ts'

const parentPipe = new URL('./parent-pipe.ts', import.meta.url).href
const ownSource = new URL('./job-processes.ts', import.meta.url).href

/** Says what it was given, then what comes over its pipe, and ends at "end". */
const WORKER = `
import { openParentPipe } from '${parentPipe}'
const parent = openParentPipe()
console.log('loaded')
const folder = await parent.assignment()
process.chdir(folder)
console.log('assigned')
const { stream } = parent
stream.write(JSON.stringify({ pid: process.pid, folder, environment: process.env }) + '\\n')
stream.on('data', (data) => {
  if (String(data) === 'end') process.exit(5)
  stream.write('echo ' + data + '\\n')
})`

async function place(spares: number) {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'hanse-jobs-')))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const module = join(directory, 'worker.mjs')
  await writeFile(module, WORKER)
  const clock = fakeClock()
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const options = { module, directory, spares, runtimeOptions: ['--conditions=source'] }
  const processes = new JobProcesses({ clock, logger }, options)
  onTestFinished(() => processes[Symbol.asyncDispose]())
  return { directory, processes, clock, warnings, options }
}

/** Processes that run the worker of a place; the list of children goes by thread and is no help. */
async function waiting(directory: string): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger)
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  )
  return pids.filter((_, i) => commands[i]!.includes(join(directory, 'worker.mjs')))
}

async function untilWaiting(directory: string, count: number): Promise<number[]> {
  await expect
    .poll(async () => (await waiting(directory)).length, { interval: 5, timeout: 5_000 })
    .toBe(count)
  return waiting(directory)
}

function linesOf({ pipe }: JobProcess): AsyncIterator<string> {
  return createInterface(pipe)[Symbol.asyncIterator]()
}

async function firstWords(job: JobProcess): Promise<Record<string, unknown>> {
  return JSON.parse((await linesOf(job).next()).value)
}

describe('job processes', () => {
  it('gives a job the process that waited, with nothing but its folder', async () => {
    const { directory, processes } = await place(1)
    processes.prepare()
    const [spare] = await untilWaiting(directory, 1)
    const log = join(directory, 'log.txt')
    const job = await processes.start(directory, { path: log })
    expect(job.pid).toBe(spare)
    expect(await firstWords(job)).toEqual({ pid: spare, folder: directory, environment: {} })
    job.pipe.write('end')
    expect(await job.exited).toMatchObject({ code: 5 })
    expect(await readFile(log, 'utf8')).toMatch(/assigned\n$/)
  })

  it('serves each job with a process of its own', async () => {
    const { directory, processes } = await place(1)
    processes.prepare()
    await untilWaiting(directory, 1)
    const jobs = await Promise.all([0, 1, 2].map(() => processes.start(directory, {})))
    const told = await Promise.all(jobs.map(firstWords))
    expect(new Set(told.map(({ pid }) => pid)).size).toBe(3)
    for (const job of jobs) job.kill()
  })

  it('loses nothing of what the parent sends after the folder', async () => {
    const { directory, processes } = await place(0)
    const job = await processes.start(directory, {})
    job.pipe.write('hello')
    const lines = linesOf(job)
    await lines.next()
    expect((await lines.next()).value).toBe('echo hello')
    job.kill()
  })

  it('never has more waiting than it may, and makes up for a used one after a while', async () => {
    const { directory, processes, clock } = await place(2)
    processes.prepare()
    processes.prepare()
    await untilWaiting(directory, 2)
    processes.prepare()
    const job = await processes.start(directory, {})
    await firstWords(job)
    expect(await waiting(directory)).toHaveLength(2)
    clock.advance(5_000)
    await untilWaiting(directory, 3)
    job.kill()
    await job.exited
    clock.advance(250)
    expect(await untilWaiting(directory, 2)).not.toContain(job.pid)
  })

  it('makes up for a used one when the job has ended', async () => {
    const { directory, processes, clock } = await place(1)
    const job = await processes.start(directory, {})
    job.kill()
    await job.exited
    expect(await waiting(directory)).toEqual([])
    clock.advance(250)
    const [spare] = await untilWaiting(directory, 1)
    expect(spare).not.toBe(job.pid)
  })

  it('starts a new one if the one that waited is gone, and says so', async () => {
    const { directory, processes, warnings } = await place(1)
    processes.prepare()
    const [spare] = await untilWaiting(directory, 1)
    process.kill(spare!, 'SIGKILL')
    await expect.poll(() => warnings).toEqual(['a process that waited for a job ended'])
    expect(await waiting(directory)).toEqual([])
    const job = await processes.start(directory, {})
    expect((await firstWords(job))['folder']).toBe(directory)
    job.kill()
  })

  it('ends what waits when the place ends, and starts none after that', async () => {
    const { directory, processes, warnings } = await place(2)
    processes.prepare()
    await processes[Symbol.asyncDispose]()
    processes.prepare()
    expect(await waiting(directory)).toEqual([])
    expect(warnings).toEqual([])
  })

  it('keeps none where none are wanted', async () => {
    const { directory, processes, clock } = await place(0)
    processes.prepare()
    const job = await processes.start(directory, {})
    job.kill()
    await job.exited
    clock.advance(10_000)
    expect(await waiting(directory)).toEqual([])
  })

  it('leaves none behind when the place is killed', async () => {
    const { directory, options } = await place(0)
    const module = join(directory, 'place.mjs')
    await writeFile(
      module,
      `import { silentLogger, systemClock } from '${import.meta.resolve('@hanse/contract')}'
       import { JobProcesses } from '${ownSource}'
       const components = { clock: systemClock, logger: silentLogger }
       new JobProcesses(components, ${JSON.stringify({ ...options, spares: 1 })}).prepare()
       setInterval(() => {}, 1000)`,
    )
    const owner = spawn(process.execPath, ['--conditions=source', module], { stdio: 'ignore' })
    await untilWaiting(directory, 1)
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    await untilWaiting(directory, 0)
  })

  it('ends the process of a job whose log cannot be opened', async () => {
    const { directory, processes } = await place(0)
    await expect(processes.start(directory, { path: '/nowhere/log.txt' })).rejects.toMatchObject({
      code: 'ERR_LAUNCH',
    })
    await untilWaiting(directory, 0)
  })
})
