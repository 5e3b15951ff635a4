import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startJobProcess } from './job-process.ts'
import { describeExit } from './process-exit.ts'

const parentPipe = new URL('./parent-pipe.ts', import.meta.url).href
expect(extname(fileURLToPath(parentPipe))).toBe('.ts')

async function makeModule(source: string) {
  const directory = await mkdtemp(join(tmpdir(), 'hanse-job-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const module = join(directory, 'main.mjs')
  await writeFile(module, source)
  return { directory, module, output: { path: join(directory, 'log.txt') } }
}

/** Resolves once no process has `pid`; a zombie counts as gone. */
async function gone(pid: number): Promise<void> {
  const alive = async () => {
    try {
      return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  await expect.poll(alive, { interval: 5, timeout: 5_000 }).toBe(false)
}

describe('startJobProcess', () => {
  it('gives the child its arguments, only the environment it was handed, and a pipe both ways', async () => {
    const job = await startJobProcess({
      ...(await makeModule(`
        import { openParentPipe } from '${parentPipe}'
        const pipe = openParentPipe().stream
        pipe.once('data', (data) => {
          pipe.write(JSON.stringify([String(data), process.argv.slice(2), process.env]), () => process.exit(7))
        })`)),
      arguments: ['--job', 'a b'],
      environment: { NAME: 'value' },
    })
    job.pipe.write('hello')
    const [answer] = await once(job.pipe, 'data')
    expect(JSON.parse(String(answer))).toEqual(['hello', ['--job', 'a b'], { NAME: 'value' }])
    expect(await job.exited).toEqual({ code: 7, signal: null, errorTail: [] })
  })

  it('keeps output in a file of bounded size, and the last error lines', async () => {
    const made = await makeModule(`
      console.log('x'.repeat(5000))
      for (let i = 0; i < 50; i++) console.error('line ' + i)
      console.error('y'.repeat(100000))`)
    const job = await startJobProcess({ ...made, output: { ...made.output, maxBytes: 1000 } })
    const exit = await job.exited
    expect(exit.code).toBe(0)
    expect(exit.errorTail).toHaveLength(20)
    expect(exit.errorTail.at(-2)).toBe('line 49')
    expect(exit.errorTail.at(-1)).toHaveLength(400)
    const log = await readFile(made.output.path, 'utf8')
    expect(log.length).toBeLessThan(1_100)
    expect(log).toContain('[cut here: the log may have 1000 bytes]')
  })

  it('kills the whole group', async () => {
    const job = await startJobProcess(
      await makeModule(`
        import { spawn } from 'node:child_process'
        import { openParentPipe } from '${parentPipe}'
        const child = spawn('sleep', ['1000'])
        openParentPipe().stream.write(String(child.pid))`),
    )
    const grandchild = Number(String((await once(job.pipe, 'data'))[0]))
    job.kill()
    expect(describeExit(await job.exited)).toContain('SIGKILL')
    await gone(grandchild)
  })

  it('leaves no group behind when the leader ends by itself', async () => {
    const job = await startJobProcess(
      await makeModule(`
        import { spawn } from 'node:child_process'
        import { writeSync } from 'node:fs'
        const child = spawn('sleep', ['1000'], { stdio: 'inherit' })
        writeSync(3, String(child.pid))
        process.exit(3)`),
    )
    const grandchild = Number(String((await once(job.pipe, 'data'))[0]))
    expect(await job.exited).toMatchObject({ code: 3 })
    await gone(grandchild)
  })

  it('leaves no orphan when the parent is killed with SIGKILL', async () => {
    const { directory, module } = await makeModule(`
      import { spawn } from 'node:child_process'
      import { openParentPipe } from '${parentPipe}'
      const pipe = openParentPipe().stream
      pipe.resume()
      const child = spawn('sleep', ['1000'])
      pipe.write(JSON.stringify([process.pid, child.pid]) + '\\n')`)
    const parentModule = join(directory, 'parent.mjs')
    await writeFile(
      parentModule,
      `import { startJobProcess } from '${new URL('./job-process.ts', import.meta.url).href}'
       const job = await startJobProcess(${JSON.stringify({ module, directory })})
       job.pipe.pipe(process.stdout)`,
    )
    const parent = spawn(process.execPath, ['--conditions=source', parentModule], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface(parent.stdout), 'line')
    parent.kill('SIGKILL')
    for (const pid of JSON.parse(line)) await gone(pid)
  })

  it('says what could not be started', async () => {
    const made = await makeModule('')
    await expect(startJobProcess({ ...made, program: '/nowhere/node' })).rejects.toMatchObject({
      code: 'ERR_LAUNCH',
    })
    await expect(
      startJobProcess({ ...made, output: { path: '/nowhere/log.txt' } }),
    ).rejects.toMatchObject({ code: 'ERR_LAUNCH' })
  })
})
