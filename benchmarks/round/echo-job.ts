import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { trainerOf, writeJob } from '../../test/support/job-folder.ts'
import type { League } from '../../test/support/league.ts'
import { check } from '../harness/benchmark.ts'

const MAX_ARRAY_MB = 32
const MIN_ARRAYS = 4

/** A job whose trainers send back what they get: what it takes is not the trainers' doing. */
export interface EchoJob {
  readonly mb: number
  readonly sites: number
  readonly rounds: number
}

/** What a trainer saw in a round. */
export interface RoundSeen {
  readonly round: number
  /** Ms since the epoch at which it had the whole model. */
  readonly at: number
  /** Last element of the model's last array. */
  readonly last: number
}

interface Shape {
  readonly arrays: number
  readonly elements: number
}

/** A model of float32 arrays as models have: some, none of them huge. */
export function shapeOf(mb: number): Shape {
  const arrays = Math.max(MIN_ARRAYS, Math.ceil(mb / MAX_ARRAY_MB))
  return { arrays, elements: Math.round((mb * 2 ** 20) / 4 / arrays) }
}

/** Writes the job for our leagues. @returns its folder */
export function writeEchoJob(
  parent: string,
  { mb, sites, rounds }: EchoJob,
  name = 'echo',
): Promise<string> {
  const { arrays, elements } = shapeOf(mb)
  return writeJob(parent, {
    name,
    rounds,
    minClients: sites,
    trainer: trainerOf(`
  const at = Date.now()
  let params = model.params
  if (params === undefined || Object.keys(params).length === 0) {
    const start = Number(site.split('-')[1])
    params = Object.fromEntries(Array.from({ length: ${arrays} }, (_, i) => [
      \`layer_\${i}\`,
      { dtype: 'float32', shape: [${elements}], data: new Float32Array(${elements}).fill(start) },
    ]))
  }
  const { data } = params['layer_${arrays - 1}']
  console.log(JSON.stringify({ round: model.currentRound, at, last: data.at(-1) }))
  data[data.length - 1] += 1
  await send({ params, metrics: {}, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })
  // One model at a time: 16 trainers with two large ones each do not fit into every machine.
  // Arrays that came in one piece share its buffer.
  for (const buffer of new Set(Object.values(params).map(({ data }) => data.buffer))) buffer.transfer(0)`),
  })
}

/** Writes the job for a stock league; trainers write what they saw into `out`. @returns its folder */
export async function writeStockEchoJob(
  parent: string,
  { mb, sites, rounds }: EchoJob,
  out: string,
  name = 'echo',
): Promise<string> {
  const { arrays, elements } = shapeOf(mb)
  const folder = join(parent, name)
  const config = join(folder, 'app', 'config')
  const custom = join(folder, 'app', 'custom')
  for (const path of [config, custom, out]) await mkdir(path, { recursive: true })
  const put = (path: string, value: object) => writeFile(path, JSON.stringify(value, null, 2))
  const rest = { components: [], task_data_filters: [], task_result_filters: [] }
  await put(join(folder, 'meta.json'), {
    name,
    resource_spec: {},
    min_clients: sites,
    deploy_map: { app: ['@ALL'] },
  })
  await put(join(config, 'config_fed_server.json'), {
    format_version: 2,
    workflows: [
      {
        id: 'controller',
        path: 'nvflare.app_common.workflows.fedavg.FedAvg',
        args: { num_clients: sites, num_rounds: rounds },
      },
    ],
    ...rest,
  })
  await put(join(config, 'config_fed_client.json'), {
    format_version: 2,
    executors: [
      {
        tasks: ['*'],
        executor: {
          path: 'nvflare.app_common.executors.client_api_executor.ClientAPIExecutor',
          args: {
            execution_mode: 'in_process',
            task_script_path: 'echo_job.py',
            task_script_args: `--arrays ${arrays} --elements ${elements} --out ${out}`,
            params_exchange_format: 'numpy',
          },
        },
      },
    ],
    ...rest,
  })
  await copyFile(
    fileURLToPath(new URL('../stock/echo_job.py', import.meta.url)),
    join(custom, 'echo_job.py'),
  )
  return folder
}

/** What the trainer of a site saw in a job that ended. */
export async function roundsSeen(league: League, site: string, job: string): Promise<RoundSeen[]> {
  return parseRounds(
    await readFile(join(league.kit(site), 'state', 'runs', job, 'trainer.log'), 'utf8'),
  )
}

export function parseRounds(text: string): RoundSeen[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{"round"'))
    .map((line) => JSON.parse(line) as RoundSeen) // written by our own trainers
}

/** Every round's mean was right: that of the sites' numbers, and one more for each round. */
export function checkRounds(seen: readonly RoundSeen[], { sites, rounds }: EchoJob): void {
  check(seen.length === rounds, `${seen.length} rounds instead of ${rounds}`)
  const mean = (sites + 1) / 2
  for (const { round, last } of seen)
    check(round === 0 || last === mean + round, `round ${round} gave ${last}, not ${mean + round}`)
}
