import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface JobOptions {
  readonly name?: string
  readonly rounds?: number
  readonly minClients?: number
  readonly mandatoryClients?: readonly string[]
  /** Text of `custom/train.ts`. */
  readonly trainer: string
  readonly command?: readonly string[]
  readonly datasets?: readonly string[]
  /** Sites by the arguments of FedAvg; default: all that take part. */
  readonly clients?: number
  readonly server?: Record<string, unknown>
  readonly client?: Record<string, unknown>
  readonly meta?: Record<string, unknown>
}

/** Writes a job folder as a user would and returns its path. */
export async function writeJob(parent: string, options: JobOptions): Promise<string> {
  const name = options.name ?? 'job'
  const folder = join(parent, name)
  await mkdir(join(folder, 'app', 'config'), { recursive: true })
  await mkdir(join(folder, 'app', 'custom'), { recursive: true })
  const minClients = options.minClients ?? 2
  const put = (path: string, value: unknown) =>
    writeFile(
      join(folder, path),
      typeof value === 'string' ? value : JSON.stringify(value, null, 2),
    )
  await put('meta.json', {
    name,
    resource_spec: {},
    deploy_map: { app: ['@ALL'] },
    min_clients: minClients,
    ...(options.mandatoryClients === undefined
      ? {}
      : { mandatory_clients: options.mandatoryClients }),
    ...options.meta,
  })
  await put('app/config/config_fed_server.json', {
    format_version: 2,
    workflows: [
      {
        id: 'controller',
        path: 'nvflare.app_common.workflows.fedavg.FedAvg',
        args: { num_clients: options.clients ?? minClients, num_rounds: options.rounds ?? 2 },
      },
    ],
    components: [],
    task_data_filters: [],
    task_result_filters: [],
    ...options.server,
  })
  await put('app/config/config_fed_client.json', {
    format_version: 2,
    executors: [
      {
        tasks: ['*'],
        executor: {
          path: 'nvflare.app_common.executors.client_api_executor.ClientAPIExecutor',
          args: {
            execution_mode: 'external_process',
            command: options.command ?? ['node', 'custom/train.ts'],
          },
        },
      },
    ],
    components: [],
    task_data_filters: [],
    task_result_filters: [],
    ...(options.datasets === undefined ? {} : { datasets: options.datasets }),
    ...options.client,
  })
  await put('app/custom/train.ts', options.trainer)
  return folder
}

/** A trainer that answers every task with what `body` computes from `model` and `site`. */
export function trainerOf(body: string): string {
  return `import { getSiteName, init, isRunning, receive, send } from '@hanse/client'

await init()
while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  const site = getSiteName()
  ${body}
}
`
}
