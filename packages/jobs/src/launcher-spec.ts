import type { JsonObject, JsonValue } from '@hanse/contract'
import { isJsonObject, memberOfObject } from './json-object.ts'
import { quoted } from './names.ts'
import { type ProblemList, pointerTo } from './problem.ts'
import {
  isLauncherMode,
  LAUNCHER_MODES,
  type LauncherMode,
  nestedLauncherOptions,
  resolveResources,
} from './resource-spec.ts'

type Fail = (place: string, message: string) => void

const SHM_SIZE = /^([0-9]+(?:\.[0-9]+)?)([bB]|[kKmMgG][bB]?)?$/
const MAX_SHM_BYTES = 2 ** 63 - 1

/** Checks a `launcher_spec` and that it does not say again what `resource_spec` says (`spec/jobs.md` §2.4). */
export function checkLauncherSpec(meta: JsonObject, place: string, problems: ProblemList): void {
  const value = memberOfObject(meta, 'launcher_spec')
  const fail: Fail = (where, message) => problems.add(where, 'launcher-spec', message)
  if (value === undefined) return
  if (!isJsonObject(value)) {
    fail(place, 'the launcher_spec must be an object: site to launcher to options')
    return
  }
  for (const [site, modes] of Object.entries(value)) {
    const where = pointerTo(place, site)
    if (!isJsonObject(modes)) {
      fail(where, `must be an object: ${LAUNCHER_MODES.join(', ')} to options`)
      continue
    }
    for (const [mode, options] of Object.entries(modes)) {
      const at = pointerTo(where, mode)
      if (!isLauncherMode(mode))
        fail(at, `unknown launcher ${quoted(mode)}; there are ${LAUNCHER_MODES.join(', ')}`)
      else if (!isJsonObject(options)) fail(at, 'the options must be an object')
      else {
        if (mode === 'docker') checkDockerOptions(options, at, fail)
        checkConflicts(meta, site, mode, options, at, fail)
      }
    }
  }
}

function checkDockerOptions(options: JsonObject, place: string, fail: Fail): void {
  const isText = (value: unknown) => typeof value === 'string' && value !== ''
  const rules: Readonly<Record<string, [(value: JsonValue) => boolean, string]>> = {
    image: [(value) => value === null || typeof value === 'string', 'a text or null'],
    python_path: [isText, 'a text'],
    entrypoint: [
      (value) => isText(value) || (Array.isArray(value) && value.length > 0 && value.every(isText)),
      'a text or a list of texts',
    ],
    num_of_gpus: [(value) => Number.isSafeInteger(value) && Number(value) >= 0, 'an integer ≥ 0'],
    shm_size: [isShmSize, 'octets, or a text like "512m"'],
  }
  for (const [key, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined
    if (rule === undefined)
      fail(
        pointerTo(place, key),
        `a job cannot set this; it can set ${Object.keys(rules).join(', ')}`,
      )
    else if (!rule[0](value))
      fail(pointerTo(place, key), `must be ${rule[1]}, not ${quoted(value)}`)
  }
}

function isShmSize(value: JsonValue): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0
  const match = typeof value === 'string' ? SHM_SIZE.exec(value) : null
  if (match === null) return false
  const unit = (match[2] ?? 'b')[0]?.toLowerCase() ?? 'b'
  return Number(match[1]) * 1024 ** 'bkmg'.indexOf(unit) <= MAX_SHM_BYTES
}

/** A launcher's own words for what the portable fields say. */
const NATIVE_EQUIVALENTS: Readonly<
  Record<LauncherMode, Readonly<Record<string, readonly string[]>>>
> = {
  process: {},
  docker: {
    num_of_gpus: ['device_requests', 'num_of_gpus'],
    num_of_cpus: ['nano_cpus'],
    memory: ['mem_limit'],
  },
  k8s: {
    num_of_gpus: ['num_of_gpus'],
    num_of_cpus: ['cpu', 'cpu_request'],
    memory: ['memory', 'memory_request'],
  },
  slurm: { num_of_cpus: ['cpus_per_node'], memory: ['mem_per_node'] },
}

function checkConflicts(
  meta: JsonObject,
  site: string,
  mode: LauncherMode,
  options: JsonObject,
  place: string,
  fail: Fail,
): void {
  const portable = resolveResources(meta, site === 'default' ? '@default' : site)
  for (const [field, natives] of Object.entries(NATIVE_EQUIVALENTS[mode]))
    for (const native of natives) {
      if (!Object.hasOwn(portable, field) || !Object.hasOwn(options, native)) continue
      // The one repetition that stock takes: an old nested spec that says the same number of GPUs.
      const isLegacy =
        native === 'num_of_gpus' &&
        memberOfObject(memberOfObject(meta['resource_spec'], site), 'process') !== undefined
      if (isLegacy && portable[field] === options[native]) continue
      fail(
        pointerTo(place, native),
        `the resource_spec says ${field} for this site already; give one of them`,
      )
    }
}

/** Options of one launcher at one site, merged as stock does; `{}` if none. */
export function resolveLauncherOptions(
  meta: JsonObject,
  site: string,
  mode: LauncherMode,
): JsonObject {
  const all = memberOfObject(meta, 'launcher_spec')
  const defaults = memberOfObject(memberOfObject(all, 'default'), mode)
  const own = memberOfObject(memberOfObject(all, site), mode)
  if (!isJsonObject(defaults) && !isJsonObject(own))
    return nestedLauncherOptions(meta, site, mode) ?? {}
  return { ...(isJsonObject(defaults) && defaults), ...(isJsonObject(own) && own) }
}

const CODE_OPTIONS: Readonly<Record<LauncherMode, readonly string[]>> = {
  process: [],
  docker: ['image', 'python_path', 'entrypoint'],
  k8s: ['image', 'python_path'],
  slurm: ['image', 'python_path', 'additional_node_command'],
}

/** True if launcher options bring code of the job's own to a site: an image, an interpreter, a command. */
export function launcherBringsCode(meta: JsonObject, site: string): boolean {
  return LAUNCHER_MODES.some((mode) => {
    const options = resolveLauncherOptions(meta, site, mode)
    return CODE_OPTIONS[mode].some(
      (key) => Object.hasOwn(options, key) && options[key] !== null && options[key] !== '',
    )
  })
}
