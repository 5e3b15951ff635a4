import { folderMembers } from '@hanse/archive'
import { messageOf } from '@hanse/contract'
import { checkAppConfig } from './check-app-config.ts'
import type { Side } from './component-catalogue.ts'
import { type ConfigFile, findConfig, readConfig } from './config-file.ts'
import { JobFiles } from './job-files.ts'
import { JobsError } from './jobs-error.ts'
import { type Problem, ProblemList } from './problem.ts'
import type { ValidateJobOptions } from './validate-job.ts'

const NAME = { server: 'config_fed_server', client: 'config_fed_client' } as const

/**
 * The config of a deployed app, in any of the formats that a job may use (`spec/jobs.md` §1.2).
 * @param folder of the app, e.g. `…/app_server`
 * @throws {JobsError} `ERR_JOB_LAYOUT` if there is none, `ERR_CONFIG_FORMAT`
 */
export async function readDeployedConfig(folder: string, side: Side): Promise<ConfigFile> {
  const members = []
  for await (const member of folderMembers(folder)) members.push(member)
  return findAndRead(new JobFiles(members), side)
}

/**
 * Checks an app as the place that is to run it does, with what that place knows: its components and trainer
 * runtimes.
 * @param files relative to the app's folder
 */
export async function checkDeployedApp(
  files: JobFiles,
  side: Side,
  { catalogue, runtimes }: ValidateJobOptions,
): Promise<
  | { readonly ok: true; readonly config: ConfigFile }
  | { readonly ok: false; readonly problems: readonly Problem[] }
> {
  const problems = new ProblemList()
  try {
    const config = await findAndRead(files, side)
    const inApp = { has: (path: string) => files.files.has(path) }
    checkAppConfig({ side, config, files: inApp, catalogue, runtimes, problems })
    return problems.isEmpty ? { ok: true, config } : { ok: false, problems: problems.all }
  } catch (error) {
    problems.add(NAME[side], 'config-format', messageOf(error))
    return { ok: false, problems: problems.all }
  }
}

async function findAndRead(files: JobFiles, side: Side): Promise<ConfigFile> {
  const path = findConfig(files, 'config', NAME[side], { deep: true })
  if (path === undefined) throw new JobsError('ERR_JOB_LAYOUT', `the app has no ${NAME[side]}`)
  return readConfig(files, path)
}
