import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '@hanse/contract'
import { Float, type FobsValue } from '@hanse/fobs'
import {
  createTrainerLauncher,
  findClientPackages,
  findConfinementTools,
  ownNodeRuntime,
} from '@hanse/launcher-process'
import {
  type ClientApiExecutorArgs,
  clientApiExecutorArgs,
  type FLModel,
  modelToShareable,
  shareableToModel,
} from '@hanse/learning'
import { Shareable } from '@hanse/session'
import { storedElementsOf, storedTensor, Tensor } from '@hanse/tensor'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MemoryByteStore } from '../../../contract/test/memory-byte-store.ts'
import { ClientApiExecutor } from './client-api-executor.ts'
import { fromTrainerModel, toArrays, toTrainerModel } from './model-conversion.ts'

// The weakest level is enough here, and the fastest: confinement has tests of its own.
const launcher = createTrainerLauncher({
  logger: silentLogger,
  packages: findClientPackages('@hanse/client', import.meta.url),
  tools: { ...findConfinementTools(), bubblewrap: undefined, unshare: undefined },
})
const weights = new Tensor('float32', [2], Float32Array.of(1, 2))

async function makeExecutor(
  script: string,
  args: Record<string, unknown> = {},
  datasets: string[] = [],
) {
  const root = await mkdtemp(join(tmpdir(), 'hanse-executor-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  for (const folder of ['custom', 'data', 'scratch']) await mkdir(join(root, folder))
  await writeFile(join(root, 'custom/train.ts'), script)
  const parsed: ClientApiExecutorArgs = clientApiExecutorArgs.parse({
    execution_mode: 'external_process',
    command: ['node', 'custom/train.ts'],
    ...args,
  })
  const executor = new ClientApiExecutor(
    { ...parsed, datasets },
    { launcher, clock: systemClock, logger: silentLogger },
    {
      runtimes: new Map([['node', ownNodeRuntime()]]),
      appDirectory: root,
      datasets: new Map([['rows', join(root, 'data')]]),
      minimumLevel: 'node-permission',
      scratchDirectory: join(root, 'scratch'),
      jobId: 'job-1',
      siteName: 'site-1',
    },
  )
  onTestFinished(() => executor[Symbol.asyncDispose]())
  const { signal } = new AbortController()
  const context = { siteName: 'site-1', jobId: 'job-1', signal, log: silentLogger }
  return {
    executor,
    run: (name: string, data: Shareable) => executor.execute({ id: 't', name, data }, context),
  }
}

const ECHO = `
import { datasets, init, isRunning, receive, send } from '@hanse/client'
await init()
while (await isRunning()) {
  const { params, meta, currentRound, totalRounds } = await receive()
  const w = params?.w
  await send({
    ...(w && { params: { w: { ...w, data: w.data.map((value) => value + 1) } } }),
    metrics: { loss: 1 },
    meta: { ...meta, NUM_STEPS_CURRENT_ROUND: 7, rounds: [currentRound ?? null, totalRounds ?? null], sets: Object.keys(datasets()) },
  })
}`

const task = modelToShareable({
  paramsType: 'FULL',
  params: new Map([['w', weights]]),
  currentRound: 2,
  totalRounds: 5,
  meta: new Map([['fedprox_mu', new Float(1)]]),
})

describe('ClientApiExecutor', () => {
  it('turns a task into a result, rounds, meta and metrics included', async () => {
    const { run } = await makeExecutor(ECHO, {}, ['rows'])
    const result = shareableToModel(await run('train', task))
    expect(result).toMatchObject({ paramsType: 'FULL' })
    expect(result.params?.get('w')).toMatchObject({ data: Float32Array.of(2, 3) })
    expect(result.metrics?.get('loss')).toEqual(new Float(1))
    expect(result.meta.get('NUM_STEPS_CURRENT_ROUND')).toBe(7)
    expect(result.meta.get('fedprox_mu')).toBe(1)
    expect(result.meta.get('rounds')).toEqual([2, 5])
    expect(result.meta.get('sets')).toEqual(['rows'])
  })

  it('sends differences, and answers a task without a model by metrics', async () => {
    const { run } = await makeExecutor(ECHO, { params_transfer_type: 'DIFF' })
    const result = shareableToModel(await run('train', task))
    expect(result).toMatchObject({ paramsType: 'DIFF' })
    expect(result.params?.get('w')).toMatchObject({ data: Float32Array.of(1, 1) })
    const submit = new Shareable()
    submit.headers.set('submit_model_name', 'best')
    const submitted = shareableToModel(await run('submit_model', submit))
    expect(submitted.params).toBeUndefined()
    expect(submitted.meta.get('submit_model_name')).toBe('best')
  })

  it('runs a script of mode in_process as a process as well', async () => {
    const { run } = await makeExecutor(ECHO, {
      execution_mode: 'in_process',
      command: null,
      task_script_path: 'train.ts',
    })
    expect(shareableToModel(await run('train', task)).metrics?.has('loss')).toBe(true)
  })

  it('says that a result that does not fit is a bad result', async () => {
    const script = ECHO.replace('params: { w:', 'params: { v:')
    const { run } = await makeExecutor(script, { params_transfer_type: 'DIFF' })
    await expect(run('train', task)).rejects.toMatchObject({ code: 'ERR_RESULT' })
  })

  it('fails with the reason of the trainer', async () => {
    const { run } = await makeExecutor('process.exit(3)')
    await expect(run('train', task)).rejects.toMatchObject({
      code: 'ERR_TRAINER_EXITED',
      message: expect.stringContaining('exit code 3'),
    })
  })

  it('refuses data sets that are not granted, and trainers that attach themselves', async () => {
    await expect(makeExecutor(ECHO, {}, ['secrets'])).rejects.toMatchObject({
      code: 'ERR_TRAINER_DATASET',
      message: expect.stringContaining('granted: rows'),
    })
    const attach = { execution_mode: 'attach', command: null, attach_id: 'x' }
    await expect(makeExecutor(ECHO, attach)).rejects.toMatchObject({ code: 'ERR_COMPONENT_ARGS' })
  })
})

describe('toTrainerModel', () => {
  it('keeps parameters as they are, and leaves out of meta what only Python has', () => {
    const model: FLModel = {
      paramsType: 'FULL',
      params: new Map<string, FobsValue>([
        ['bias', new Float(2)],
        ['penalty', 'l2'],
        ['layers', [1, new Map([['w', weights]])]],
        ['__proto__', weights],
      ]),
      metrics: new Map<string, number | string>([
        ['loss', 1],
        ['note', 'text'],
      ]),
      meta: new Map<string, object | bigint>([
        ['huge', 2n ** 65n],
        ['object', new Shareable()],
        ['bytes', Uint8Array.of(1)],
      ]),
    }
    const { params, metrics, meta } = toTrainerModel(model)
    expect(Object.entries(params ?? {})).toEqual([
      ['bias', 2],
      ['penalty', 'l2'],
      ['layers', [1, expect.objectContaining({ w: weights })]],
      ['__proto__', weights],
    ])
    expect({ ...metrics }).toEqual({ loss: 1 })
    expect(Object.keys(meta ?? {})).toEqual(['huge', 'bytes'])
  })

  it('refuses parameters that only Python has', () => {
    const params = new Map([['w', new Shareable()]])
    const model: FLModel = { paramsType: 'FULL', params, meta: new Map() }
    expect(() => toTrainerModel(model)).toThrow(
      expect.objectContaining({ code: 'ERR_TRAINER_MODEL' }),
    )
  })

  it('gives trainers of protocol 1 numbers as arrays without dimensions, and nothing else', () => {
    const { params } = toArrays({ params: { bias: 0.5, w: weights }, paramsType: 'FULL' })
    expect(params?.['bias']).toMatchObject({ shape: [], data: Float64Array.of(0.5) })
    expect(params?.['w']).toBe(weights)
    expect(() => toArrays({ params: { penalty: 'l2' }, paramsType: 'FULL' })).toThrow(
      expect.objectContaining({ code: 'ERR_TRAINER_MODEL' }),
    )
  })

  it('leaves arrays in their store when they become tensors of PyTorch', () => {
    const elements = new MemoryByteStore(0).reserve(4)
    elements.write(Uint8Array.of(0, 0, 128, 63), 0)
    const w = storedTensor('float32', [1], elements)
    const model = fromTrainerModel({ params: { w }, paramsType: 'FULL' }, 'torch')
    const given = model.params?.get('w') as Tensor // as it was given
    expect(storedElementsOf(given)).toBe(elements)
    expect(given).toMatchObject({ framework: 'torch', data: Float32Array.of(1) })
  })

  it('comes back from fromTrainerModel', () => {
    const meta = { steps: 3, nested: { list: [1, null, 'x'] }, array: weights }
    const model = fromTrainerModel({ params: { w: weights }, paramsType: 'DIFF', meta })
    expect(model.params?.get('w')).toBe(weights)
    const torch = fromTrainerModel({ params: { w: weights }, paramsType: 'FULL' }, 'torch')
    expect(torch.params?.get('w')).toMatchObject({ framework: 'torch', data: weights.data })
    expect(model.meta.get('nested')).toEqual(new Map([['list', [1, null, 'x']]]))
    expect({ ...toTrainerModel(model).meta }).toEqual({
      ...meta,
      nested: expect.objectContaining({ list: [1, null, 'x'] }),
    })
  })
})
