import type { JsonObject, JsonValue } from '@hanse/contract'
import { JobsError } from './jobs-error.ts'
import { isJsonObject } from './json-object.ts'
import { ALL_SITES, JOB_NAME, quoted, SERVER_SITE, SITE_NAME } from './names.ts'
import { formatProblems, ProblemList, pointerTo } from './problem.ts'

/** Which app goes where (`spec/jobs.md` §2.2). */
export type DeployMap =
  /** One app for the server and every client that is there when the job is scheduled. */
  | { readonly kind: 'all'; readonly app: string }
  /** Sites of each app; `server` is one of them, and no site is in two apps. */
  | { readonly kind: 'named'; readonly apps: ReadonlyMap<string, readonly string[]> }

/**
 * Reads and checks a `deploy_map`; every problem is reported.
 * @param place of the map, for problems
 * @returns `undefined` if there was a problem
 */
export function parseDeployMap(
  value: unknown,
  place: string,
  problems: ProblemList,
): DeployMap | undefined {
  if (!isJsonObject(value) || Object.keys(value).length === 0) {
    problems.add(
      place,
      'deploy-map',
      'the deploy_map must be an object that gives each app its sites, e.g. {"app": ["@ALL"]}',
    )
    return undefined
  }
  let failed = false
  const fail = (where: string, message: string) => {
    failed = true
    problems.add(where, 'deploy-map', message)
  }
  const apps = new Map<string, readonly string[]>()
  for (const [app, targets] of Object.entries(value)) {
    const where = pointerTo(place, app)
    if (!JOB_NAME.test(app))
      fail(where, `the app name ${quoted(app)} must match ${JOB_NAME.source}`)
    apps.set(app, sitesOf(targets, where, fail))
  }
  const all = [...apps.values()].flat()
  const [firstApp] = apps.keys()
  if (all.includes(ALL_SITES)) {
    if (all.length > 1 || apps.size > 1)
      fail(place, `${ALL_SITES} must be the only site of the whole map`)
    return failed || firstApp === undefined ? undefined : { kind: 'all', app: firstApp }
  }
  const seen = new Map<string, string>()
  for (const [app, sites] of apps)
    for (const site of sites) {
      const other = seen.get(site)
      if (other !== undefined && other !== app)
        fail(pointerTo(place, app), `the site ${quoted(site)} is in the apps ${other} and ${app}`)
      else if (other !== undefined)
        fail(pointerTo(place, app), `the site ${quoted(site)} is listed twice`)
      seen.set(site, app)
    }
  if (!seen.has(SERVER_SITE))
    fail(place, `no app goes to "${SERVER_SITE}"; name it, or use ${ALL_SITES}`)
  return failed ? undefined : { kind: 'named', apps }
}

/** The forms of one app's sites: text, list of texts and objects, or object. */
function sitesOf(
  targets: JsonValue | undefined,
  place: string,
  fail: (place: string, message: string) => void,
): readonly string[] {
  if (Array.isArray(targets)) {
    if (targets.length === 0) fail(place, 'the list of sites is empty')
    return targets.flatMap((item: JsonValue, index) => {
      const where = pointerTo(place, index)
      return isJsonObject(item)
        ? sitesOfObject(item, where, ['sites', 'targets'], fail)
        : siteName(item, where, fail)
    })
  }
  if (isJsonObject(targets)) return sitesOfObject(targets, place, ['targets', 'sites'], fail)
  return siteName(targets, place, fail)
}

/** @param order the key that counts first if both are there, as stock looks for them */
function sitesOfObject(
  item: JsonObject,
  place: string,
  order: readonly string[],
  fail: (place: string, message: string) => void,
): readonly string[] {
  const odd = Object.keys(item).find((key) => !order.includes(key))
  if (odd !== undefined) fail(pointerTo(place, odd), 'only "sites" or "targets" can stand here')
  const key = order.find((candidate) => Object.hasOwn(item, candidate))
  const list = key === undefined ? undefined : item[key]
  if (key === undefined || !Array.isArray(list) || list.length === 0) {
    fail(place, 'a list of sites is needed under "sites" or "targets"')
    return []
  }
  return list.flatMap((name: JsonValue, index) =>
    siteName(name, pointerTo(pointerTo(place, key), index), fail),
  )
}

function siteName(
  name: unknown,
  place: string,
  fail: (place: string, message: string) => void,
): readonly string[] {
  if (typeof name === 'string' && name.toUpperCase() === ALL_SITES) return [ALL_SITES]
  if (typeof name === 'string' && SITE_NAME.test(name)) return [name]
  fail(place, `${quoted(name)} is not the name of a site (${SITE_NAME.source}, or ${ALL_SITES})`)
  return []
}

/**
 * Reads the deploy map of a job that was validated before.
 * @throws {JobsError} `ERR_JOB_SPEC`
 */
export function readDeployMap(meta: JsonObject): DeployMap {
  const problems = new ProblemList()
  const map = parseDeployMap(meta['deploy_map'], '', problems)
  if (map === undefined)
    throw new JobsError(
      'ERR_JOB_SPEC',
      `the job's deploy_map cannot be used: ${formatProblems(problems.all)}`,
    )
  return map
}

/**
 * Which app each place gets, the server included, if the job is scheduled with these clients online.
 * @returns app by site name; named sites that are not online are left out
 */
export function resolveDeployMap(
  map: DeployMap,
  online: Iterable<string>,
): ReadonlyMap<string, string> {
  const clients = [...online].filter((name) => name !== SERVER_SITE)
  const deployments = new Map<string, string>()
  if (map.kind === 'all')
    for (const site of [SERVER_SITE, ...clients]) deployments.set(site, map.app)
  else {
    const present = new Set([SERVER_SITE, ...clients])
    for (const [app, sites] of map.apps)
      for (const site of sites) if (present.has(site)) deployments.set(site, app)
  }
  return deployments
}

/** Clients that the map names; `undefined` for {@link ALL_SITES}. */
export function namedClients(map: DeployMap): readonly string[] | undefined {
  if (map.kind === 'all') return undefined
  return [...map.apps.values()].flat().filter((site) => site !== SERVER_SITE)
}
