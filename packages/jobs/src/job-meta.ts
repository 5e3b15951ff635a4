import type { JsonObject, JsonValue } from '@hanse/contract'
import { z } from 'zod'
import { type DeployMap, namedClients, parseDeployMap } from './deploy-map.ts'
import { memberOfObject } from './json-object.ts'
import { checkLauncherSpec } from './launcher-spec.ts'
import { JOB_NAME, quoted, SITE_NAME } from './names.ts'
import { type ProblemList, pointerTo } from './problem.ts'
import { checkResourceSpec } from './resource-spec.ts'

const MAX_MIN_CLIENTS = 1_000_000

/** What an author writes into `meta.json` (`spec/jobs.md` §2.1); further keys are kept as they are. */
export const JobMetaSchema = z.looseObject({
  name: z.string().max(256).optional(),
  deploy_map: z.unknown().optional(),
  resource_spec: z.unknown().optional(),
  launcher_spec: z.unknown().optional(),
  min_clients: z
    .union([
      z.int(),
      z
        .string()
        .regex(/^[0-9]{1,7}$/, 'must be an integer')
        .transform(Number),
    ])
    .default(1),
  mandatory_clients: z.array(z.string().regex(SITE_NAME, 'must be the name of a site')).default([]),
  scope: z.string().max(256).default(''),
  study: z.string().max(256).optional(),
  stats_pool_config: z.record(z.string(), z.unknown()).optional(),
  custom_props: z.record(z.string(), z.unknown()).nullish(),
  edge_method: z.string().optional(),
  job_id: z.string().regex(JOB_NAME, `must match ${JOB_NAME.source}`).max(128).optional(),
  job_folder_name: z.string().max(256).optional(),
})

/** Metadata that was checked, in the form the rest of the program uses. */
export interface ParsedJobMeta {
  readonly name: string
  readonly deployMap: DeployMap
  readonly minClients: number
  readonly mandatoryClients: readonly string[]
  readonly scope: string
}

/**
 * Checks an author's metadata; every problem is reported.
 * @returns `undefined` if there was a problem
 */
export function parseJobMeta(
  meta: JsonObject,
  path: string,
  problems: ProblemList,
  fallbackName: string,
): ParsedJobMeta | undefined {
  const place = (pointer: string) => `${path}#${pointer}`
  const parsed = JobMetaSchema.safeParse(meta)
  for (const issue of parsed.error?.issues ?? [])
    problems.add(place(issue.path.map(String).reduce(pointerTo, '')), 'meta-invalid', issue.message)
  const deployMap = parseDeployMap(meta['deploy_map'], place('/deploy_map'), problems)
  checkResourceSpec(meta['resource_spec'], place('/resource_spec'), problems)
  checkLauncherSpec(meta, place('/launcher_spec'), problems)
  if (!parsed.success || deployMap === undefined) return undefined
  const { min_clients: minClients, mandatory_clients: mandatoryClients, name, scope } = parsed.data
  checkClients(deployMap, minClients, mandatoryClients, place, problems)
  return { name: name ?? fallbackName, deployMap, minClients, mandatoryClients, scope }
}

function checkClients(
  deployMap: DeployMap,
  minClients: number,
  mandatoryClients: readonly string[],
  place: (pointer: string) => string,
  problems: ProblemList,
): void {
  const clients = namedClients(deployMap)
  const most = Math.min(MAX_MIN_CLIENTS, clients?.length ?? MAX_MIN_CLIENTS)
  if (minClients < 1 || minClients > most)
    problems.add(
      place('/min_clients'),
      'min-clients',
      clients !== undefined && minClients > clients.length
        ? `${minClients} clients are needed, but only ${clients.length} are in the deploy_map`
        : `must be from 1 to ${MAX_MIN_CLIENTS}, not ${minClients}`,
    )
  if (clients === undefined) return
  for (const [index, site] of mandatoryClients.entries())
    if (!clients.includes(site))
      problems.add(
        place(`/mandatory_clients/${index}`),
        'mandatory-clients',
        `the mandatory client ${quoted(site)} is in no app of the deploy_map`,
      )
}

/** `min_clients` of a stored job; 1 if it says none. */
export function minClientsOf(meta: JsonObject): number {
  const value = Number(memberOfObject(meta, 'min_clients') ?? 1)
  return Number.isSafeInteger(value) && value > 0 ? value : 1
}

/** `mandatory_clients` of a stored job. */
export function mandatoryClientsOf(meta: JsonObject): readonly string[] {
  const value = memberOfObject(meta, 'mandatory_clients')
  return Array.isArray(value) ? value.filter((site: JsonValue) => typeof site === 'string') : []
}
