import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeNpy, zeros } from '@hanse/tensor'

const TARGETS = {
  python: { values: [1, 2, 3, 4], steps: 10 },
  typescript: { values: [5, 6, 7, 8], steps: 30 },
} as const

/** @param pauseMs before each answer */
const pythonTrainer = (pauseMs: number) => `import time

import numpy as np
import nvflare.client as flare

TARGET = np.array(${JSON.stringify(TARGETS.python.values)}, dtype=np.float32)  # and again, as often as it takes

flare.init()
while flare.is_running():
    model = flare.receive()
    if model is None:
        break
    time.sleep(${pauseMs / 1000})
    w = np.asarray(model.params["numpy_key"], dtype=np.float32)
    flare.send(
        flare.FLModel(
            params_type="FULL",
            params={"numpy_key": (w + 0.5 * (np.resize(TARGET, w.shape) - w)).astype(np.float32)},
            metrics={"accuracy": 0.25},
            meta={"NUM_STEPS_CURRENT_ROUND": ${TARGETS.python.steps}},
        )
    )
`

/** @param pauseMs before each answer */
const typescriptTrainer = (pauseMs: number) => `import { setTimeout } from 'node:timers/promises'
import { init, isRunning, receive, send } from '@hanse/client'

const TARGET = ${JSON.stringify(TARGETS.typescript.values)}

await init()
while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  await setTimeout(${pauseMs})
  const before = model.params.numpy_key.data
  const data = Float32Array.from(before, (w, i) => w + 0.5 * (TARGET[i % 4] - w))
  await send({
    params: { numpy_key: { dtype: 'float32', shape: [data.length], data } },
    metrics: { accuracy: 0.75 },
    meta: { NUM_STEPS_CURRENT_ROUND: ${TARGETS.typescript.steps} },
  })
}
`

export interface MixedJobOptions {
  readonly name: string
  readonly rounds: number
  /** Elements of the model. Default 4; with more it comes from a file of the job. */
  readonly elements?: number
  /** Sites that train in Python, on the stock package. */
  readonly python: readonly string[]
  /** Sites that train in TypeScript, on Hanse. */
  readonly typescript: readonly string[]
  /** Before each answer of a site; default none. */
  readonly pauseMs?: number
  /** More of the job's meta. */
  readonly meta?: Readonly<Record<string, unknown>>
}

/** One FedAvg job whose sites train in two languages towards targets of their own. */
export async function writeMixedJob(parent: string, options: MixedJobOptions): Promise<string> {
  const { name, rounds, elements = 4, python, typescript, pauseMs = 0 } = options
  const folder = join(parent, name)
  const put = async (path: string, content: unknown) => {
    const file = join(folder, path)
    await mkdir(join(file, '..'), { recursive: true })
    const isFile = typeof content === 'string' || content instanceof Uint8Array
    await writeFile(file, isFile ? content : JSON.stringify(content, null, 2))
  }
  await put('meta.json', {
    name,
    resource_spec: {},
    min_clients: python.length + typescript.length,
    deploy_map: {
      app_server: ['server'],
      ...(python.length > 0 && { app_python: python }),
      ...(typescript.length > 0 && { app_typescript: typescript }),
    },
    ...options.meta,
  })
  await put('app_server/config/config_fed_server.json', {
    format_version: 2,
    workflows: [
      {
        id: 'controller',
        path: 'nvflare.app_common.workflows.fedavg.FedAvg',
        args: { num_clients: python.length + typescript.length, num_rounds: rounds },
      },
    ],
    components: [
      {
        id: 'persistor',
        path: 'nvflare.app_common.np.np_model_persistor.NPModelPersistor',
        args:
          elements === 4 ? { model: [0, 0, 0, 0] } : { source_ckpt_file_full_name: 'zeros.npy' },
      },
    ],
    task_data_filters: [],
    task_result_filters: [],
  })
  if (elements !== 4)
    await put('app_server/custom/zeros.npy', writeNpy(zeros('float32', [elements])))
  const clientConfig = (args: Record<string, unknown>) => ({
    format_version: 2,
    executors: [
      {
        tasks: ['*'],
        executor: {
          path: 'nvflare.app_common.executors.client_api_executor.ClientAPIExecutor',
          args,
        },
      },
    ],
    components: [],
    task_data_filters: [],
    task_result_filters: [],
  })
  if (python.length > 0) {
    await put(
      'app_python/config/config_fed_client.json',
      clientConfig({
        execution_mode: 'in_process',
        task_script_path: 'train.py',
        params_exchange_format: 'numpy',
      }),
    )
    await put('app_python/custom/train.py', pythonTrainer(pauseMs))
  }
  if (typescript.length > 0) {
    await put(
      'app_typescript/config/config_fed_client.json',
      clientConfig({ execution_mode: 'external_process', command: ['node', 'custom/train.ts'] }),
    )
    await put('app_typescript/custom/train.ts', typescriptTrainer(pauseMs))
  }
  return folder
}

/** The global model after such a job, of which every four elements are the same. */
export function mixedModel({ rounds, python, typescript }: MixedJobOptions): number[] {
  const total = python.length * TARGETS.python.steps + typescript.length * TARGETS.typescript.steps
  return TARGETS.python.values.map((value, i) => {
    const mean =
      (python.length * TARGETS.python.steps * value +
        typescript.length * TARGETS.typescript.steps * TARGETS.typescript.values[i]!) /
      total
    return mean * (1 - 0.5 ** rounds)
  })
}
