import { type JsonObject, messageOf } from '@hanse/contract'
import { checkAppConfig } from './check-app-config.ts'
import type { ComponentCatalogue, Side } from './component-catalogue.ts'
import { findConfig, readConfig } from './config-file.ts'
import { contentHash } from './content-hash.ts'
import type { DeployMap } from './deploy-map.ts'
import type { JobFiles } from './job-files.ts'
import { type ParsedJobMeta, parseJobMeta } from './job-meta.ts'
import { type Problem, ProblemList } from './problem.ts'
import { SERVER_KEYS } from './server-keys.ts'

export interface ValidateJobOptions {
  /** Absent: components are not looked up. */
  readonly catalogue?: ComponentCatalogue | undefined
  /** Absent: any trainer runtime that is no shell. */
  readonly runtimes?: ReadonlySet<string> | undefined
}

/** A job that passed. */
export interface ValidJob extends ParsedJobMeta {
  /** Name of the top folder in the archive. */
  readonly folder: string
  /** The author's metadata, without keys that only a server may set. */
  readonly meta: JsonObject
  /** Some app has a `custom` folder: the job brings code, and needs the right to. */
  readonly byoc: boolean
  /** By app: whether it goes to the server, to clients, or both. */
  readonly apps: ReadonlyMap<string, ReadonlySet<Side>>
  /** See `contentHash`. */
  readonly contentHash: string
}

export type JobValidation =
  | { readonly ok: true; readonly job: ValidJob }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/**
 * Checks a whole job, as a server does at submission (`spec/jobs.md` §2.6) and a tool before it, and reports
 * everything that is wrong with it, not only the first thing. Never throws for what is in the job.
 * @param files of the archive: one top folder with everything in it
 */
export async function validateJob(
  files: JobFiles,
  options: ValidateJobOptions = {},
): Promise<JobValidation> {
  const problems = new ProblemList()
  const folder = files.topFolder()
  if (folder === undefined) {
    problems.add('', 'layout', 'the archive must hold one folder, the job, with everything in it')
    return { ok: false, problems: problems.all }
  }
  const job = files.below(folder)
  const metaPath = findConfig(job, '', 'meta')
  if (metaPath === undefined) {
    problems.add('meta.json', 'meta-missing', 'the job has no meta.json')
    return { ok: false, problems: problems.all }
  }
  const meta = await readOrReport(job, metaPath, problems)
  const parsed = meta === undefined ? undefined : parseJobMeta(meta, metaPath, problems, folder)
  // Without a deploy map, configs are still checked: one look shows everything.
  const apps = parsed === undefined ? guessedApps(job) : sidesOf(parsed.deployMap)
  for (const [app, sides] of apps) await checkApp(job, app, sides, options, problems)
  let hash = ''
  try {
    hash = await contentHash(job)
  } catch (error) {
    problems.add('', 'layout', messageOf(error))
  }
  if (!problems.isEmpty || meta === undefined || parsed === undefined)
    return { ok: false, problems: problems.all }
  const byoc = [...job.folders].some((path) => /^[^/]+\/custom$/.test(path))
  const author = Object.fromEntries(Object.entries(meta).filter(([key]) => !SERVER_KEYS.has(key)))
  return { ok: true, job: { ...parsed, folder, meta: author, byoc, apps, contentHash: hash } }
}

async function checkApp(
  job: JobFiles,
  app: string,
  sides: ReadonlySet<Side>,
  { catalogue, runtimes }: ValidateJobOptions,
  problems: ProblemList,
): Promise<void> {
  const folder = `${app}/config`
  if (!job.folders.has(folder)) {
    problems.add(folder, 'config-missing', `the app ${app} has no config folder`)
    return
  }
  const inApp = { has: (path: string) => job.files.has(`${app}/${path}`) }
  for (const side of ['server', 'client'] as const) {
    const name = side === 'server' ? 'config_fed_server' : 'config_fed_client'
    const path = findConfig(job, folder, name, { deep: true })
    if (path === undefined) {
      if (sides.has(side))
        problems.add(
          `${folder}/${name}.json`,
          'config-missing',
          `the app ${app} goes to ${side === 'server' ? 'the server' : 'clients'} but has no ${name}.json`,
        )
      continue
    }
    if (!sides.has(side)) continue
    const content = await readOrReport(job, path, problems)
    if (content === undefined) continue
    checkAppConfig({ side, config: { path, content }, files: inApp, catalogue, runtimes, problems })
  }
}

async function readOrReport(
  job: JobFiles,
  path: string,
  problems: ProblemList,
): Promise<JsonObject | undefined> {
  try {
    return (await readConfig(job, path)).content
  } catch (error) {
    problems.add(path, 'config-format', messageOf(error))
    return undefined
  }
}

function sidesOf(map: DeployMap): ReadonlyMap<string, ReadonlySet<Side>> {
  if (map.kind === 'all') return new Map([[map.app, new Set<Side>(['server', 'client'])]])
  return new Map(
    [...map.apps].map(([app, sites]) => [
      app,
      new Set(sites.map((site): Side => (site === 'server' ? 'server' : 'client'))),
    ]),
  )
}

/** Every folder with a config, for a job whose deploy map cannot be read. */
function guessedApps(job: JobFiles): ReadonlyMap<string, ReadonlySet<Side>> {
  const apps = new Map<string, ReadonlySet<Side>>()
  for (const path of job.folders) {
    const app = /^([^/]+)\/config$/.exec(path)?.[1]
    if (app === undefined) continue
    const has = (name: string) => findConfig(job, path, name, { deep: true }) !== undefined
    const sides = new Set<Side>()
    if (has('config_fed_server')) sides.add('server')
    if (has('config_fed_client')) sides.add('client')
    apps.set(app, sides)
  }
  return apps
}
