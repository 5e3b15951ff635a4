import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '@hanse/contract'
import { Float, type FobsValue } from '@hanse/fobs'
import { createTrainerLauncher, findClientPackages } from '@hanse/launcher-process'
import {
  clientApiExecutorArgs,
  type FLModel,
  modelToShareable,
  shareableToModel,
} from '@hanse/learning'
import { Shareable } from '@hanse/session'
import { Tensor } from '@hanse/tensor'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import type {} from '../../../interop/setup.ts'
import { pythonRuntime } from '../../../interop/support/python-runtime.ts'
import { ClientApiExecutor } from '../src/trainer/client-api-executor.ts'
import type { TrainerMetric } from '../src/trainer/trainer-run.ts'

const stock = inject('stock')
const launcher = createTrainerLauncher({
  logger: silentLogger,
  packages: findClientPackages('@hanse/client', import.meta.url),
})
const hasTorch = await canImport('torch')
if (stock !== null && !hasTorch)
  process.stderr.write('interop: PyTorch is not installed, so its tensors are not tried\n')

/** Whether the stock installation has a package besides its own. */
async function canImport(name: string): Promise<boolean> {
  if (stock === null) return false
  const child = spawn(join(stock.bin, 'python3'), ['-c', `import ${name}`], { stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  return code === 0
}

const IN_PROCESS = {
  execution_mode: 'in_process',
  task_script_path: 'train.py',
  params_exchange_format: 'numpy',
}
const EXTERNAL = {
  ...IN_PROCESS,
  execution_mode: 'external_process',
  task_script_path: null,
  command: ['python3', '-u', 'custom/train.py'],
}

/** A site's end of a job whose trainer is `script`, on real FLARE, at the level `namespaces`. */
async function startJob(script: string, args: Record<string, unknown> = IN_PROCESS) {
  const root = await mkdtemp(join(tmpdir(), 'hanse-python-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  for (const folder of ['app/custom', 'data', 'scratch', 'startup'])
    await mkdir(join(root, folder), { recursive: true })
  await writeFile(join(root, 'app/custom/train.py'), script)
  await writeFile(join(root, 'app/custom/helper.py'), 'GAIN = 2\n')
  await writeFile(join(root, 'startup/client.key'), 'SECRET')
  await writeFile(join(root, 'data/rows.csv'), '1,2,3')
  const metrics: TrainerMetric[] = []
  const { read, ...runtime } = await pythonRuntime(stock!)
  const executor = new ClientApiExecutor(
    { ...clientApiExecutorArgs.parse(args), datasets: ['rows'] },
    { launcher, clock: systemClock, logger: silentLogger },
    {
      runtimes: new Map([['python3', { ...runtime, read }]]),
      appDirectory: join(root, 'app'),
      datasets: new Map([['rows', join(root, 'data')]]),
      minimumLevel: 'namespaces',
      scratchDirectory: join(root, 'scratch'),
      jobId: 'job-1',
      siteName: 'site-1',
      logPath: join(root, 'trainer.log'),
      onLog: (metric) => metrics.push(metric),
    },
  )
  onTestFinished(() => executor[Symbol.asyncDispose]())
  const stop = new AbortController()
  return {
    root,
    metrics,
    stop,
    executor,
    printed: () => readFile(join(root, 'trainer.log'), 'utf8'),
    run: async (name: string, data: Shareable) =>
      shareableToModel(
        await executor.execute(
          { id: 't', name, data },
          { siteName: 'site-1', jobId: 'job-1', signal: stop.signal, log: silentLogger },
        ),
      ),
  }
}

const weights = new Tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4))
const task = (change: Partial<FLModel> = {}) =>
  modelToShareable({
    paramsType: 'FULL',
    params: new Map<string, FobsValue>([['w', weights]]),
    startRound: 0,
    currentRound: 2,
    totalRounds: 5,
    meta: new Map<string, FobsValue>([['fedprox_mu', new Float(0.25)]]),
    ...change,
  })

/** What the calls of the Client API say, printed as one line of JSON. */
const LOOK_AROUND = `
import json, os, sys
import numpy as np
import nvflare.client as flare
from nvflare.client.tracking import MLflowWriter, SummaryWriter, WandBWriter
import helper

def main():
    flare.init()
    board, flow, bias = SummaryWriter(), MLflowWriter(), WandBWriter()
    best = None
    while flare.is_running():
        model = flare.receive()
        assert flare.receive() is model
        print(json.dumps({
            "kind": [flare.is_train(), flare.is_evaluate(), flare.is_submit_model()],
            "names": [flare.get_task_name(), flare.get_job_id(), flare.get_site_name()],
            "system": flare.system_info(),
            "rounds": [model.start_round, model.current_round, model.total_rounds],
            "meta": model.meta,
            "params": None if model.params is None else {k: [str(v.dtype), list(v.shape)] for k, v in model.params.items()},
            "exchange": flare.get_config()["TASK_EXCHANGE"],
        }))
        if flare.is_evaluate():
            flare.send(flare.FLModel(metrics={"accuracy": np.float32(0.5), "count": 7, "report": "text"}))
        elif flare.is_submit_model():
            flare.send(flare.FLModel(params={"w": best}))
        else:
            best = model.params["w"]
            best *= helper.GAIN  # in place: received arrays are the script's own
            flare.log("loss", 0.5, flare.AnalyticsDataType.SCALAR, global_step=model.current_round)
            board.add_scalar("board", 1, global_step=3)
            board.add_scalars("group", {"a": 2, "b": 3}, global_step=4)
            flow.log_metric("flow", 4.5, step=5)
            flow.log_metrics({"several": 6})
            flow.log_param("rate", "0.1"); flow.set_tag("patient", "17"); flow.log_text("patient 17", "x.txt")
            bias.log({"bias": float("nan"), "note": "patient 17"}, step=6)
            with open("note.txt", "w") as file:
                file.write(open(flare.get_config()["datasets"]["rows"] + "/rows.csv").read())
            meta = {"NUM_STEPS_CURRENT_ROUND": np.int64(12), "object": object(), "nested": {"$x": [1, None, True]}}
            flare.send(flare.FLModel(params={"w": best, "scale": np.float64(2)}, metrics={"loss": 1}, meta=meta))
            assert best is not None
    print("done")

if __name__ == "__main__":
    main()
`

describe.skipIf(stock === null)('FLARE Client API scripts at a Hanse site', () => {
  it('train, evaluate and submit with every call of the API; numbers that they log go on, texts do not', async () => {
    const job = await startJob(LOOK_AROUND)
    const trained = await job.run('train', task())
    expect(trained.paramsType).toBe('FULL')
    expect(trained.params?.get('w')).toMatchObject({
      dtype: 'float32',
      shape: [2, 2],
      data: Float32Array.of(2, 4, 6, 8),
    })
    expect(trained.params?.get('scale')).toMatchObject({ dtype: 'float64', shape: [] })
    expect(trained.metrics?.get('loss')).toEqual(new Float(1))
    expect(trained.meta.get('NUM_STEPS_CURRENT_ROUND')).toBe(12)
    expect(trained.meta.get('nested')).toEqual(new Map([['$x', [1, null, true]]]))
    expect(trained.meta.has('object')).toBe(false)

    const evaluated = await job.run('validate', task())
    expect([...evaluated.metrics!]).toEqual([
      ['accuracy', new Float(0.5)],
      ['count', new Float(7)],
    ])
    const submit = new Shareable()
    submit.headers.set('submit_model_name', 'best')
    const submitted = await job.run('submit_model', submit)
    expect(submitted.params?.get('w')).toMatchObject({ data: Float32Array.of(2, 4, 6, 8) })

    await job.executor[Symbol.asyncDispose]()
    expect(await job.executor.trainer.exited).toBeUndefined()
    expect(job.metrics).toEqual([
      { key: 'loss', value: 0.5, step: 2 },
      { key: 'board', value: 1, step: 3 },
      { key: 'group/a', value: 2, step: 4 },
      { key: 'group/b', value: 3, step: 4 },
      { key: 'flow', value: 4.5, step: 5 },
      { key: 'several', value: 6, step: undefined },
      { key: 'bias', value: Number.NaN, step: 6 },
    ])
    const printed = await job.printed()
    expect(printed).toContain("hanse: meta 'object' stays here")
    expect(printed).toContain('hanse: records of kind')
    expect(printed).toContain("hanse: 'note' stays here: it is a str, no number")
    expect(printed).toContain("no numbers: ['report']")
    const seen = printed
      .split('\n')
      .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
    expect(seen[0]).toEqual({
      kind: [true, false, false],
      names: ['train', 'job-1', 'site-1'],
      system: { job_id: 'job-1', site_name: 'site-1' },
      rounds: [0, 2, 5],
      meta: { fedprox_mu: 0.25, job_id: 'job-1', site_name: 'site-1' },
      params: { w: ['float32', [2, 2]] },
      exchange: {
        train_with_eval: false,
        exchange_format: 'numpy',
        server_expected_format: 'numpy',
        transfer_type: 'FULL',
        train_task_name: 'train',
        eval_task_name: 'validate',
        submit_model_task_name: 'submit_model',
      },
    })
    expect(seen[1]).toMatchObject({
      kind: [false, true, false],
      names: ['validate', 'job-1', 'site-1'],
    })
    expect(seen[2]).toMatchObject({
      kind: [false, false, true],
      params: null,
      meta: { submit_model_name: 'best' },
    })
    expect(printed.split('\n')).toContain('done')
  })

  it('send differences that FLARE itself computes, from one process for each task', async () => {
    const job = await startJob(
      `
import os
import nvflare.client as flare
flare.init(config_file="config/none.json")
model = flare.receive(timeout=20)
print("process", os.getcwd())
try:
    open("note.txt", "w")
except OSError:
    print("read-only")
flare.send(flare.FLModel(params={"w": model.params["w"] + 0.5, "new": model.params["w"]}), clear_cache=False)
flare.send(flare.FLModel(params={"w": model.params["w"]}))
`,
      { ...EXTERNAL, launch_once: false, params_transfer_type: 'DIFF' },
    )
    for (const _ of [1, 2]) {
      const result = await job.run('train', task())
      expect(result.paramsType).toBe('DIFF')
      expect([...result.params!.keys()]).toEqual(['w'])
      expect(result.params?.get('w')).toMatchObject({ data: Float32Array.of(0.5, 0.5, 0.5, 0.5) })
    }
    const printed = await job.printed()
    expect(printed.match(/process \/app\nread-only/g)).toHaveLength(2)
    expect(printed).toContain('a second result for the same task was dropped')
  })

  it('get and give parameters that are no arrays, as scikit-learn jobs have them', async () => {
    const job = await startJob(
      `
import numpy as np
import nvflare.client as flare
flare.init()
while flare.is_running():
    params = flare.receive().params
    assert params == {"penalty": "l2", "classes": 2, "intercept": True, "rates": [0.5, None], "big": 2**70}, params
    print({key: type(value).__name__ for key, value in params.items()})
    awkward = {
        "columns first": np.asfortranarray(np.arange(4.0).reshape(2, 2)),
        "bytes swapped": np.arange(2, dtype=">i4"),
        "empty": np.empty((0, 3), np.float32),
    }
    simple = {"coef": np.arange(3)[::2], "bytes": b"xy", "inf": float("inf")}
    flare.send(flare.FLModel(params={**params, **simple, **awkward}))
`,
      { ...IN_PROCESS, params_exchange_format: 'raw' },
    )
    const params = new Map<string, FobsValue>([
      ['penalty', 'l2'],
      ['classes', 2],
      ['intercept', true],
      ['rates', [0.5, null]],
      ['big', 2n ** 70n],
    ])
    const result = await job.run('train', task({ params }))
    expect(result.params).toEqual(
      new Map<string, unknown>([
        ...params,
        ['coef', expect.objectContaining({ dtype: 'int64', data: BigInt64Array.of(0n, 2n) })],
        ['bytes', expect.objectContaining({ dtype: 'uint8', data: Uint8Array.of(120, 121) })],
        ['inf', Number.POSITIVE_INFINITY],
        ['columns first', expect.objectContaining({ data: Float64Array.of(0, 1, 2, 3) })],
        ['bytes swapped', expect.objectContaining({ dtype: 'int32', data: Int32Array.of(0, 1) })],
        ['empty', expect.objectContaining({ shape: [0, 3], data: new Float32Array() })],
      ]),
    )
  })

  // Not in the list of tests elsewhere: what a machine cannot show must not read as if it were left out.
  if (hasTorch)
    it('get and give PyTorch tensors, whichever of both ends counts with them', async () => {
      const script = `
import nvflare.client as flare
import torch
flare.init()
while flare.is_running():
    params = flare.receive().params
    assert isinstance(params["w"], torch.Tensor), params
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    flare.send(flare.FLModel(params={"w": params["w"] + 1, **({"half": half} if HALF else {})}))
`
      for (const server of ['numpy', 'pytorch'] as const) {
        const half = server === 'pytorch'
        const job = await startJob(script.replace('HALF', half ? 'True' : 'False'), {
          ...IN_PROCESS,
          params_exchange_format: 'pytorch',
          server_expected_format: server,
        })
        const { params } = await job.run('train', task())
        expect(params?.get('w')).toMatchObject({ data: Float32Array.of(2, 3, 4, 5) })
        expect(params?.get('half')).toEqual(
          half ? expect.objectContaining({ dtype: 'bfloat16', framework: 'torch' }) : undefined,
        )
      }
    })

  it('see no token, no key, no network and no process of the site', async () => {
    await using listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as { port: number }
    const job = await startJob(
      `
import json, os, socket, sys
import nvflare.client as flare

def attempt(action):
    try:
        return f"open: {action()}"
    except OSError as error:
        return type(error).__name__

def text(path):
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return b""

def walk(tops):
    # What a runtime consists of is the same everywhere, and large.
    found = []
    for top in tops:
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(("python3.", "site-packages"))]
            found += [os.path.join(folder, name) for name in files]
    return found

flare.init()
model = flare.receive()
tops = [os.path.join("/", name) for name in os.listdir("/") if name not in ("proc", "usr", "lib", "lib64", "dev")]
files = walk(tops)
secrets = [path for path in files if path.endswith((".key", ".crt", ".pem", "fed_client.json", "run.json"))]
secrets += [path for path in files if b"SEC" + b"RET" in text(path)]
findings = {
    "environment": sorted(os.environ),
    "secrets": secrets,
    "bootstrap": [path for path in files if "bootstrap" in os.path.basename(path) and path.endswith(".json")],
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", ${port}), 1)),
    "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 1)),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "write app": attempt(lambda: open("/app/x", "w")),
    "write starter": attempt(lambda: open("/runtime/hanse_flare.py", "a")),
    "known": repr([flare.get_config(), flare.system_info(), model.meta]),
}
print(json.dumps(findings))
flare.send(flare.FLModel(metrics={"x": 1}))
`,
    )
    await job.run('train', task())
    await job.executor[Symbol.asyncDispose]()
    const line = (await job.printed()).split('\n').find((text) => text.startsWith('{'))
    const findings = JSON.parse(line!)
    expect(findings).toMatchObject({
      environment: expect.not.arrayContaining([expect.stringMatching(/TOKEN|SECRET|FLARE|KEY/i)]),
      secrets: [],
      bootstrap: [],
      connect: expect.not.stringMatching(/^open/),
      outside: expect.not.stringMatching(/^open/),
      processes: 2,
      'write app': expect.not.stringMatching(/^open/),
      'write starter': expect.not.stringMatching(/^open/),
    })
    expect(findings.interfaces).toEqual(
      expect.toSatisfy((names: string[]) => names.every((name) => name === 'lo')),
    )
    expect(findings.known).not.toMatch(/token|SECRET|startup|tcp:/i)
  })

  it('fail with a reason that names the kind of error and never quotes it', async () => {
    const raising = await startJob(`
import nvflare.client as flare
flare.init()
flare.receive()
raise ValueError("patient 17")
`)
    const failed = raising.run('train', task())
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_TRAINER_EXITED',
      message: expect.stringMatching(/exit code 1: its script raised ValueError$/),
    })
    expect(await raising.printed()).toContain('ValueError: patient 17')

    const unfit = await startJob(`
import nvflare.client as flare
flare.init()
flare.receive()
flare.send(flare.FLModel(params={"model": object()}))
`)
    await expect(unfit.run('train', task())).rejects.toMatchObject({
      message: expect.stringContaining('its script raised TypeError'),
    })
    expect(await unfit.printed()).toContain('cannot be sent from a Hanse site')
  })

  it('end in the middle of a task when the job is aborted', async () => {
    const job = await startJob(`
import time
import nvflare.client as flare
flare.init()
flare.receive()
flare.log("started", 1, flare.AnalyticsDataType.SCALAR)
time.sleep(600)
`)
    const running = job.run('train', task())
    running.catch(() => {})
    await expect.poll(() => job.metrics.length, { timeout: 20_000, interval: 20 }).toBe(1)
    const reason = new Error('the job was aborted')
    job.stop.abort(reason)
    await expect(running).rejects.toBe(reason)
    await job.executor[Symbol.asyncDispose]()
  })

  it.each([
    ['garbage', 'os.write(3, b"nonsense" * 8)', /something else/],
    [
      'a frame longer than allowed',
      'os.write(3, b"HTP1" + struct.pack("<IQ", 48, 2**62))',
      /over the limit/,
    ],
    [
      'a header longer than allowed',
      'os.write(3, b"HTP1" + struct.pack("<IQ", 2**31, 0))',
      /over the limit/,
    ],
    [
      'values that nest too deep',
      'send({"params": {"w": deep}, "paramsType": "FULL"})',
      /deeper than 32/,
    ],
    [
      'an array that is not there',
      'send({"params": {"w": {"$array": 5}}, "paramsType": "FULL"})',
      /not in the frame/,
    ],
    ['an answer to a task that it does not have', 'send({"metrics": {}}, 99)', /does not have/],
    ['a metric that is text', 'send({"metrics": {"patient": "17"}})', /wrong type/],
    [
      'a second greeting',
      'frame({"type": "hello", "protocols": [2], "client": "x"})',
      /greeted twice/,
    ],
  ])('are killed when they write %s past the API', async (_, attack, message) => {
    const job = await startJob(`
import json, os, struct, time
import nvflare.client as flare
flare.init()
flare.receive()
deep = None
for _ in range(40): deep = [deep]
def frame(header):
    text = json.dumps(header).encode()
    text += b" " * (-(16 + len(text)) % 64)
    os.write(3, b"HTP1" + struct.pack("<IQ", len(text), 0) + text)
def send(model, id=1):
    frame({"type": "result", "id": id, "model": model})
${attack}
time.sleep(600)
`)
    await expect(job.run('train', task())).rejects.toMatchObject({
      code: 'ERR_TRAINER_VIOLATION',
      message: expect.stringMatching(message),
    })
  })
})
