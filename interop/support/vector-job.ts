import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const VECTORS = fileURLToPath(new URL('../../vectors', import.meta.url))
const TRAINERS = fileURLToPath(new URL('../trainers', import.meta.url))

/** The folder of a job of `vectors/jobs`. */
export function vectorJob(name: string): string {
  return join(VECTORS, 'jobs', name)
}

/** What a run of that job on a stock installation gave. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into the one part that they compare
export async function expectedOf(name: string): Promise<any> {
  return JSON.parse(await readFile(join(VECTORS, 'jobs', 'expected', `${name}.json`), 'utf8'))
}

export interface TwoLanguages {
  /** The sites that run the job as it is. */
  readonly python: readonly string[]
  readonly typescript: readonly string[]
  /** File of `interop/trainers` that does what the job's Python script does. */
  readonly trainer: string
  /** File of `vectors/` with the data that the Python script makes by itself. */
  readonly data: string
}

/**
 * A job of `vectors/jobs` for sites of both kinds: the same workflow and the same training, in Python at some
 * sites and in TypeScript at others, so that the result is the one of the original.
 * @returns the new job's folder, below `parent`
 */
export async function writeTwoLanguageJob(
  parent: string,
  name: string,
  { python, typescript, trainer, data }: TwoLanguages,
): Promise<string> {
  const source = vectorJob(name)
  const target = join(parent, `${name}-two-languages`)
  const config = async (file: string) =>
    JSON.parse(await readFile(join(source, 'app', 'config', file), 'utf8'))
  const put = async (path: string, content: unknown) => {
    await mkdir(join(target, path, '..'), { recursive: true })
    await writeFile(join(target, path), JSON.stringify(content, null, 2))
  }
  const meta = JSON.parse(await readFile(join(source, 'meta.json'), 'utf8'))
  await put('meta.json', {
    ...meta,
    deploy_map: { app_server: ['server'], app_python: python, app_typescript: typescript },
  })
  // With its code, as in the original: stock lets only jobs with code name some components.
  await cp(join(source, 'app'), join(target, 'app_server'), { recursive: true })
  const client = await config('config_fed_client.json')
  await put('app_python/config/config_fed_client.json', client)
  await cp(join(source, 'app', 'custom'), join(target, 'app_python', 'custom'), { recursive: true })
  const [{ tasks, executor }] = client.executors
  const args = { execution_mode: 'external_process', command: ['node', `custom/${trainer}`] }
  await put('app_typescript/config/config_fed_client.json', {
    ...client,
    components: [],
    executors: [{ tasks, executor: { ...executor, args } }],
  })
  await cp(join(TRAINERS, trainer), join(target, 'app_typescript', 'custom', trainer))
  await cp(join(VECTORS, data), join(target, 'app_typescript', 'custom', data))
  return target
}
