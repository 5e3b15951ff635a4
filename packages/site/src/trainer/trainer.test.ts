import { existsSync } from 'node:fs'
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '@hanse/contract'
import {
  createTrainerLauncher,
  findClientPackages,
  findConfinementTools,
  ownNodeRuntime,
  type TrainerLauncher,
} from '@hanse/launcher-process'
import { Tensor } from '@hanse/tensor'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { asArray } from './model-conversion.ts'
import {
  createTrainer,
  DEFAULT_TASK_EXCHANGE,
  type TaskExchange,
  type TrainerOptions,
} from './trainer.ts'
import type { TrainerError } from './trainer-error.ts'
import type { TrainerMetric } from './trainer-run.ts'

const packages = findClientPackages('@hanse/client', import.meta.url)
const strict = createTrainerLauncher({ logger: silentLogger, packages })
const { level } = await strict.detect()
// Namespaces have tests of their own, and take a while to make: here they are for the tests that need them.
const quick = createTrainerLauncher({
  logger: silentLogger,
  packages,
  tools: { ...findConfinementTools(), bubblewrap: undefined, unshare: undefined },
})

const weights = (...values: number[]) =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const model = { params: { w: weights(1, 2) }, paramsType: 'FULL', currentRound: 3 } as const

/** A job with one script, at a site with one data set and one secret. */
async function makeTrainer(
  script: string,
  exchange: Partial<TaskExchange> = {},
  options: Partial<TrainerOptions> & { launcher?: TrainerLauncher } = {},
) {
  const root = await mkdtemp(join(tmpdir(), 'hanse-trainer-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  for (const folder of ['app/custom', 'data', 'scratch', 'startup'])
    await mkdir(join(root, folder), { recursive: true })
  await writeFile(join(root, 'app/custom/train.ts'), script)
  await writeFile(join(root, 'data/rows.csv'), '4,5')
  await writeFile(join(root, 'startup/client.key'), 'SECRET')
  const logged: TrainerMetric[] = []
  const launcher = options.launcher ?? quick
  const trainer = createTrainer(
    { launcher, clock: systemClock, logger: silentLogger },
    {
      command: ['node', 'custom/train.ts'],
      runtimes: new Map([['node', ownNodeRuntime()]]),
      appDirectory: join(root, 'app'),
      datasets: { rows: join(root, 'data') },
      minimumLevel: (await launcher.detect()).level,
      scratchDirectory: join(root, 'scratch'),
      jobId: 'job-1',
      siteName: 'site-1',
      exchange: { ...DEFAULT_TASK_EXCHANGE, stopGraceMs: 5_000, ...exchange },
      logPath: join(root, 'trainer.log'),
      onLog: (metric) => logged.push(metric),
      ...options,
    },
  )
  onTestFinished(() => trainer.close())
  return { trainer, logged, root }
}

const LOOP = `
import { readFileSync, writeFileSync } from 'node:fs'
import {
  datasets, getJobId, getSiteName, getTaskName, init, isEvaluate, isRunning, isSubmitModel, isTrain, log,
  receive, scratchDirectory, send,
} from '@hanse/client'
await init()
console.log('hello from ' + getSiteName())
let best
while (await isRunning()) {
  const model = await receive()
  const w = model?.params?.w
  if (isEvaluate()) { await send({ metrics: { accuracy: 0.25 } }); continue }
  if (isSubmitModel()) { await send({ params: { w: best }, meta: { name: model.meta.submit_model_name } }); continue }
  const rows = readFileSync(datasets().rows + '/rows.csv', 'utf8').split(',').map(Number)
  writeFileSync(scratchDirectory() + '/note', 'x')
  best = { dtype: 'float32', shape: [2], data: w.data.slice(0, 2).map((value, index) => value + rows[index]) }
  await log('loss', 0.5, { step: model.currentRound })
  await log('not a plain name: ' + rows, 1)
  await send({
    params: { w: best }, metrics: { accuracy: 0.5 },
    meta: { NUM_STEPS_CURRENT_ROUND: 2, who: getTaskName() + ' ' + getJobId() + ' ' + isTrain() },
  })
}
console.log('done')
`

describe('a trainer', () => {
  it('trains, evaluates and submits in one process, and ends when it is told to', async () => {
    const { trainer, logged, root } = await makeTrainer(LOOP, {}, { launcher: strict })
    const trained = await trainer.exchange({ name: 'train', model })
    expect(trained).toMatchObject({ paramsType: 'FULL', metrics: { accuracy: 0.5 } })
    expect(trained.params?.['w']).toMatchObject({ data: Float32Array.of(5, 7) })
    expect({ ...trained.meta }).toEqual({ NUM_STEPS_CURRENT_ROUND: 2, who: 'train job-1 true' })
    const evaluated = await trainer.exchange({ name: 'validate', model })
    expect(evaluated).toEqual(expect.objectContaining({ metrics: expect.anything() }))
    const submitted = await trainer.exchange({
      name: 'submit_model',
      model: { meta: { submit_model_name: 'best' } },
    })
    expect(submitted.params?.['w']).toMatchObject({ data: Float32Array.of(5, 7) })
    expect(submitted.meta?.['name']).toBe('best')
    await trainer.close()
    expect(await trainer.exited).toBeUndefined()

    expect(logged).toEqual([{ key: 'loss', value: 0.5, step: 3 }])
    expect(await readFile(join(root, 'trainer.log'), 'utf8')).toBe('hello from site-1\ndone\n')
    expect(await readdir(join(root, 'scratch'))).toEqual([])
    expect(trainer.confinement).toContain(level)
  })

  it('hands on differences when the job wants those', async () => {
    const { trainer } = await makeTrainer(LOOP, { transferType: 'DIFF' })
    const trained = await trainer.exchange({ name: 'train', model })
    expect(trained).toMatchObject({ paramsType: 'DIFF' })
    expect(trained.params?.['w']).toMatchObject({ data: Float32Array.of(4, 5) })
    const other = { params: { v: weights(1), w: weights(1, 2, 3) }, paramsType: 'FULL' } as const
    await expect(trainer.exchange({ name: 'train', model: other })).rejects.toMatchObject({
      code: 'ERR_TRAINER_RESULT',
    })
  })

  it('is a new process for each task when the job wants that', async () => {
    const script = `
      import { init, isRunning, receive, send } from '@hanse/client'
      import { readdirSync, writeFileSync } from 'node:fs'
      import { scratchDirectory } from '@hanse/client'
      await init()
      await isRunning()
      await receive()
      const before = readdirSync(scratchDirectory()).length
      writeFileSync(scratchDirectory() + '/note', 'x')
      await send({ metrics: { before, started: performance.timeOrigin } })`
    const { trainer } = await makeTrainer(script, { launchOnce: false })
    const first = await trainer.exchange({ name: 'train', model })
    const second = await trainer.exchange({ name: 'train', model })
    expect(first.metrics?.['before']).toBe(0)
    expect(second.metrics?.['before']).toBe(0)
    expect(second.metrics?.['started']).toBeGreaterThan(first.metrics!['started']!)
  })

  it('carries large arrays there and back', async () => {
    const script = `
      import { init, isRunning, receive, send } from '@hanse/client'
      await init()
      while (await isRunning()) {
        const { params } = await receive()
        const { w } = params
        await send({ params: { w: { ...w, data: w.data.map((value) => value * 2) } } })
      }`
    const { trainer } = await makeTrainer(script)
    const data = Float32Array.from({ length: 2_000_000 }, (_, index) => index % 1000)
    const large = { params: { w: new Tensor('float32', [2, 1_000_000], data) } }
    const result = await trainer.exchange({ name: 'train', model: large })
    const doubled = asArray(result.params?.['w'])
    expect(doubled?.shape).toEqual([2, 1_000_000])
    expect(
      doubled?.data.every((value: number | bigint, index: number) => value === (index % 1000) * 2),
    ).toBe(true)
  })
})

const wait = `import { init, isRunning, receive } from '@hanse/client'
await init(); await isRunning(); await receive();`

const python = existsSync('/usr/bin/python3')
// Level namespaces, which other runtimes need, is tested for in the launcher's own tests.
it.runIf(python && level === 'namespaces')('may be written in another language', async () => {
  const script = `
import array, hanse_trainer as hanse
hanse.init()
while (task := hanse.receive()) is not None:
    w = task["model"]["params"]["w"]
    values = array.array("f", bytes(w.data))
    doubled = array.array("f", [2 * value for value in values])
    hanse.log("loss", float("nan"), step=1)
    hanse.send(
        params={"w": hanse.Array(w.dtype, w.shape, memoryview(doubled).cast("B"))},
        metrics={"accuracy": 0.5},
        meta={"NUM_STEPS_CURRENT_ROUND": 3, "huge": 2**70, "$odd": [None, float("inf")]},
    )
print(hanse.welcome["datasets"])
`
  const { trainer, root, logged } = await makeTrainer(
    '',
    {},
    {
      launcher: strict,
      command: ['python3', '-u', 'custom/train.py'],
      runtimes: new Map([['python3', { program: '/usr/bin/python3', kind: 'other' }]]),
    },
  )
  await writeFile(join(root, 'app/custom/train.py'), script)
  const library = new URL('../../../../examples/python-trainer/hanse_trainer.py', import.meta.url)
  await copyFile(library, join(root, 'app/custom/hanse_trainer.py'))
  for (let round = 0; round < 2; round++) {
    const result = await trainer.exchange({ name: 'train', model })
    expect(result.params?.['w']).toMatchObject({ data: Float32Array.of(2, 4) })
    expect({ ...result.meta }).toEqual({
      NUM_STEPS_CURRENT_ROUND: 3,
      huge: 2n ** 70n,
      $odd: [null, Number.POSITIVE_INFINITY],
    })
  }
  await trainer.close()
  expect(await trainer.exited).toBeUndefined()
  expect(logged).toEqual(new Array(2).fill({ key: 'loss', value: Number.NaN, step: 1 }))
  expect(await readFile(join(root, 'trainer.log'), 'utf8')).toBe("{'rows': '/data/rows'}\n")
})

describe('a trainer that fails', () => {
  it.each([
    [
      'sends an array that cannot be',
      `const { send } = await import('@hanse/client'); await send({ params: { w: { dtype: 'float32', shape: [3], data: new Float32Array(2) } } })`,
      'exit code 1',
    ],
    ['leaves', 'process.exit(4)', 'exit code 4'],
    ['throws', `throw new Error('SECRET patient name')`, 'exit code 1'],
    ['is killed', `process.abort()`, 'signal SIGABRT'],
    ['returns early', '', 'exit code 0'],
    [
      'reads what is not granted',
      `(await import('node:fs')).readFileSync('/etc/shadow')`,
      'not grant',
    ],
    ['opens a socket', `await fetch('http://127.0.0.1:80')`, 'denied the network'],
    [
      'connects',
      `(await import('node:net')).connect(80, '127.0.0.1'); await new Promise(() => {})`,
      'denied the network',
    ],
    ['listens', `(await import('node:http')).createServer().listen(0)`, 'denied the network'],
    ['kills its parent', `process.kill(process.ppid, 'SIGKILL')`, 'denied to signal a process'],
    [
      'opens a database',
      `new (await import('node:sqlite')).DatabaseSync('x.db')`,
      'denied to open a database',
    ],
    [
      'starts a process',
      `(await import('node:child_process')).execSync('id')`,
      'denied to start a process',
    ],
    [
      'imports what is not there',
      `await import('@hanse/site')`,
      'a module that it imports is not there',
    ],
    ['does not parse', `const = 1`, 'syntax error'],
  ])('because it %s says so in our words', async (_, script, reason) => {
    const launcher = reason.includes('denied') ? strict : quick
    const onFailure = vi.fn()
    const { trainer } = await makeTrainer(`${wait}\n${script}`, {}, { launcher, onFailure })
    const failure: TrainerError = await trainer.exchange({ name: 'train', model }).then(
      () => expect.fail('the trainer was to fail'),
      (error) => error,
    )
    expect(failure).toMatchObject({ code: 'ERR_TRAINER_EXITED' })
    expect(failure.message).toContain(reason)
    expect(failure.message).not.toContain('SECRET')
    expect(await trainer.exited).toBe(failure)
    await vi.waitFor(() => expect(onFailure).toHaveBeenCalledExactlyOnceWith(failure))
    await expect(trainer.exchange({ name: 'train', model })).rejects.toBe(failure)
  })

  it('under kill -9 from outside is a failure with that reason', async () => {
    const { trainer, root } = await makeTrainer(
      `${wait}\nconsole.log('busy'); await new Promise((resolve) => setTimeout(resolve, 1e6))`,
      {},
      { launcher: strict },
    )
    const exchange = trainer.exchange({ name: 'train', model })
    exchange.catch(() => {})
    await expect
      .poll(() => readFile(join(root, 'trainer.log'), 'utf8').catch(() => ''), { interval: 5 })
      .toBe('busy\n')
    for (const pid of await pidsOf(join(root, 'app'))) process.kill(pid, 'SIGKILL')
    await expect(exchange).rejects.toMatchObject({
      code: 'ERR_TRAINER_EXITED',
      message: expect.stringContaining('signal SIGKILL (killed from outside'),
    })
  })

  it.each([
    ['garbage', `writeSync(3, 'x'.repeat(100))`, 'something else than trainer protocol'],
    [
      'an answer to nothing',
      frame({ type: 'result', id: 99, model: { metrics: {} } }),
      'a task that it does not have',
    ],
    ['a second greeting', frame({ type: 'hello', protocols: [1], client: '' }), 'greeted twice'],
    ['text instead of numbers', frame({ type: 'log', key: 'k', value: 'SECRET' }), 'not a number'],
    [
      'a frame past the limit',
      `const p = Buffer.alloc(16); p.write('HTP1'); p.writeUInt32LE(48, 4); p.writeBigUInt64LE(2n ** 50n, 8); writeSync(3, p)`,
      'over the limit',
    ],
  ])('by sending %s is killed', async (_, script, reason) => {
    const { trainer } = await makeTrainer(
      `import { writeSync } from 'node:fs'\n${wait}\n${script}\nawait new Promise((resolve) => setTimeout(resolve, 1e6))`,
    )
    await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
      code: 'ERR_TRAINER_VIOLATION',
      message: expect.stringContaining(reason),
    })
  })

  it('by not greeting in time is killed', async () => {
    const { trainer } = await makeTrainer(`setInterval(() => {}, 1000)`, { launchTimeoutMs: 300 })
    await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
      code: 'ERR_TRAINER_TIMEOUT',
      message: expect.stringContaining('init'),
    })
  })

  it('by not answering in time is killed', async () => {
    const { trainer } = await makeTrainer(`${wait}\nfor (;;);`, { resultTimeoutMs: 100 })
    await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
      code: 'ERR_TRAINER_TIMEOUT',
    })
  })

  it('is stopped when the task is aborted', async () => {
    const { trainer, root } = await makeTrainer(`${wait}\nconsole.log('busy'); for (;;);`)
    const controller = new AbortController()
    const exchange = trainer.exchange({ name: 'train', model }, { signal: controller.signal })
    exchange.catch(() => {})
    await expect
      .poll(() => readFile(join(root, 'trainer.log'), 'utf8').catch(() => ''), { interval: 5 })
      .toBe('busy\n')
    controller.abort(new Error('job aborted'))
    await expect(exchange).rejects.toThrow('job aborted')
    await trainer.close()
    await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
      code: 'ERR_TRAINER_STATE',
    })
  })

  it('is killed when it does not end by itself', async () => {
    const { trainer } = await makeTrainer(
      `${wait}\nimport { send } from '@hanse/client'\nawait send({ metrics: {} }); for (;;);`,
      { stopGraceMs: 100 },
    )
    await trainer.exchange({ name: 'train', model })
    await trainer.close()
    expect(await trainer.exited).toBeUndefined()
  })
})

describe('the command of a job', () => {
  it.each([
    ['another program', ['/bin/sh', 'custom/train.ts'], 'is a path'],
    ['a runtime that is not here', ['ruby', 'custom/train.ts'], 'it has node'],
    ['no script', ['node'], 'list of 2 to'],
    [
      'options for the runtime',
      ['node', '--allow-net', 'custom/train.ts'],
      'options of the program',
    ],
    ['code for the runtime', ['node', '-e', '1'], 'options of the program'],
    ['a script outside custom', ['node', 'config/train.ts'], 'not below custom/'],
    ['a script above', ['node', 'custom/../../startup/x.ts'], 'plain path'],
    ['an absolute script', ['node', '/etc/passwd'], 'not below custom/'],
    ['a script that is not there', ['node', 'custom/other.ts'], 'not in the app'],
    ['a link out of custom', ['node', 'custom/link.ts'], 'a link out of custom/'],
    ['a folder', ['node', 'custom/folder'], 'not in the app'],
  ])('may not have %s', async (_, command, reason) => {
    const { trainer, root } = await makeTrainer(LOOP, {}, { command })
    await symlink(join(root, 'startup/client.key'), join(root, 'app/custom/link.ts'))
    await mkdir(join(root, 'app/custom/folder'))
    await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
      code: 'ERR_TRAINER_COMMAND',
      message: expect.stringContaining(reason),
    })
  })

  it('may be one line', async () => {
    const script = `
      import { init, isRunning, receive, send } from '@hanse/client'
      await init(); await isRunning(); await receive()
      await send({ metrics: {}, meta: { words: process.argv.slice(2) } })`
    const { trainer } = await makeTrainer(
      script,
      {},
      { command: 'node custom/train.ts --rate 0.5' },
    )
    const { meta } = await trainer.exchange({ name: 'train', model })
    expect(meta?.['words']).toEqual(['--rate', '0.5'])
  })
})

it('refuses to run where the site asks for more than the machine has', async () => {
  const { trainer } = await makeTrainer(LOOP, {}, { minimumLevel: 'namespaces' })
  await expect(trainer.exchange({ name: 'train', model })).rejects.toMatchObject({
    code: 'ERR_TRAINER_CONFINEMENT',
    message: expect.stringContaining('"node-permission" at most'),
  })
})

/** A script that writes one frame of the trainer protocol, right in form. */
function frame(header: unknown): string {
  return `{
    const json = ${JSON.stringify(JSON.stringify(header))}
    const length = Math.ceil((16 + json.length) / 64) * 64
    const bytes = Buffer.alloc(length, ' ')
    bytes.write('HTP1'); bytes.writeUInt32LE(length - 16, 4); bytes.writeBigUInt64LE(0n, 8); bytes.write(json, 16)
    writeSync(3, bytes)
  }`
}

/** Processes that have `path` in their command line, as \`pgrep -f\` finds them. */
async function pidsOf(path: string): Promise<number[]> {
  const pids: number[] = []
  for (const pid of (await readdir('/proc')).filter(Number)) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (line.includes(path)) pids.push(Number(pid))
  }
  return pids
}
