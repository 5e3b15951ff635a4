import type { JsonObject, JsonValue } from '@hanse/contract'
import { isJsonObject, memberOfObject } from './json-object.ts'
import { quoted } from './names.ts'
import { type ProblemList, pointerTo } from './problem.ts'

/** Launchers that job metadata can have options for. */
export const LAUNCHER_MODES = ['process', 'docker', 'k8s', 'slurm'] as const

export type LauncherMode = (typeof LAUNCHER_MODES)[number]

const DEFAULT_ENTRY = '@default'
const MEMORY = /^[1-9][0-9]*(Mi|Gi|Ti)$/
const PORTABLE_FIELDS: ReadonlySet<string> = new Set(['num_of_gpus', 'num_of_cpus', 'memory'])

export function isLauncherMode(text: string): text is LauncherMode {
  return LAUNCHER_MODES.some((mode) => mode === text)
}

/** Checks a `resource_spec` (`spec/jobs.md` §2.3). */
export function checkResourceSpec(value: unknown, place: string, problems: ProblemList): void {
  if (value === undefined) return
  const fail = (where: string, message: string) => problems.add(where, 'resource-spec', message)
  if (!isJsonObject(value)) {
    fail(place, 'the resource_spec must be an object: site to requirements')
    return
  }
  const isLegacy = !Object.hasOwn(value, DEFAULT_ENTRY)
  for (const [site, spec] of Object.entries(value)) {
    const where = pointerTo(place, site)
    if (!isJsonObject(spec)) fail(where, `the requirements must be an object, not ${quoted(spec)}`)
    else {
      if (site === DEFAULT_ENTRY)
        for (const key of Object.keys(spec))
          if (!PORTABLE_FIELDS.has(key))
            fail(
              pointerTo(where, key),
              `${DEFAULT_ENTRY} can hold only ${[...PORTABLE_FIELDS].join(', ')}`,
            )
      checkPortable(isLegacy ? processPart(spec) : spec, where, fail)
    }
  }
}

function checkPortable(
  spec: JsonObject,
  place: string,
  fail: (place: string, message: string) => void,
): void {
  const check = (key: string, holds: (value: JsonValue | undefined) => boolean, rule: string) => {
    if (Object.hasOwn(spec, key) && !holds(spec[key]))
      fail(pointerTo(place, key), `${key} must be ${rule}, not ${quoted(spec[key])}`)
  }
  check(
    'num_of_gpus',
    (value) => Number.isSafeInteger(value) && Number(value) >= 0,
    'an integer ≥ 0',
  )
  check(
    'num_of_cpus',
    (value) => Number.isSafeInteger(value) && Number(value) >= 1,
    'an integer ≥ 1',
  )
  check(
    'memory',
    (value) => typeof value === 'string' && MEMORY.test(value),
    'a text like "2Gi" (Mi, Gi or Ti)',
  )
}

/** The part for admission of a nested spec; a flat one is that part itself. */
function processPart(spec: JsonObject): JsonObject {
  if (!Object.keys(spec).some(isLauncherMode)) return spec
  const part = memberOfObject(spec, 'process')
  return isJsonObject(part) ? part : {}
}

/** All requirements of one site: those of `@default`, overridden field by field by its own. */
export function resolveResources(meta: JsonObject, site: string): JsonObject {
  const all = memberOfObject(meta, 'resource_spec')
  const own = memberOfObject(all, site)
  const defaults = memberOfObject(all, DEFAULT_ENTRY)
  if (defaults === undefined) return isJsonObject(own) ? processPart(own) : {}
  return { ...(isJsonObject(defaults) && defaults), ...(isJsonObject(own) && own) }
}

/** What the resource manager of a site is asked for; `{}` if nothing (`spec/jobs.md` §2.3). */
export function resourceRequirement(meta: JsonObject, site: string): JsonObject {
  const requirement = new Map(Object.entries(resolveResources(meta, site)))
  requirement.delete('num_of_cpus')
  requirement.delete('memory')
  if (requirement.get('num_of_gpus') === 0) {
    requirement.delete('num_of_gpus')
    requirement.delete('mem_per_gpu_in_GiB')
  }
  return Object.fromEntries(requirement)
}

/** Launcher options of a nested `resource_spec`, which count when `launcher_spec` says nothing. */
export function nestedLauncherOptions(
  meta: JsonObject,
  site: string,
  mode: LauncherMode,
): JsonObject | undefined {
  const all = memberOfObject(meta, 'resource_spec')
  if (memberOfObject(all, DEFAULT_ENTRY) !== undefined) return undefined
  const options = memberOfObject(memberOfObject(all, site), mode)
  return isJsonObject(options) ? options : undefined
}
