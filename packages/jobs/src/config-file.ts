import { type JsonObject, messageOf } from '@hanse/contract'
import type { JobFiles } from './job-files.ts'
import { JobsError } from './jobs-error.ts'
import { isJsonObject } from './json-object.ts'
import { parseHocon } from './parse-hocon.ts'

/** A config of a job as it was found. */
export interface ConfigFile {
  readonly path: string
  readonly content: JsonObject
}

/** In this order, first hit wins; then the same with `.default` (`spec/jobs.md` §1.2). */
const EXTENSIONS = ['.json', '.conf', '.yml', '.yaml'] as const

const MAX_CONFIG_BYTES = 4 * 1024 * 1024
const MAX_CONFIG_DEPTH = 100

/** Path of the config called `name` directly in `folder`, or anywhere below it if `deep`. */
export function findConfig(
  files: JobFiles,
  folder: string,
  name: string,
  { deep = false }: { readonly deep?: boolean } = {},
): string | undefined {
  const prefix = folder === '' ? '' : `${folder}/`
  const candidates = [...files.files.keys()]
    .filter((path) => path.startsWith(prefix) && (deep || !path.slice(prefix.length).includes('/')))
    .toSorted((a, b) => a.split('/').length - b.split('/').length || (a < b ? -1 : 1))
  for (const suffix of ['', '.default'])
    for (const extension of EXTENSIONS) {
      const found = candidates.find(
        (path) => path.slice(path.lastIndexOf('/') + 1) === `${name}${extension}${suffix}`,
      )
      if (found !== undefined) return found
    }
  return undefined
}

/**
 * Reads a config in the format that its name says.
 * @throws {JobsError} `ERR_CONFIG_FORMAT`, `ERR_JOB_LAYOUT`; the message does not repeat the path
 */
export async function readConfig(files: JobFiles, path: string): Promise<ConfigFile> {
  const text = await files.readText(path, MAX_CONFIG_BYTES)
  const content = parseConfig(text, path)
  if (!isJsonObject(content))
    throw new JobsError('ERR_CONFIG_FORMAT', 'the config is not an object')
  verifyDepth(content, 0)
  return { path, content }
}

function parseConfig(text: string, path: string): unknown {
  const name = path.endsWith('.default') ? path.slice(0, -'.default'.length) : path
  if (name.endsWith('.json')) {
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw new JobsError('ERR_CONFIG_FORMAT', `not JSON: ${messageOf(cause)}`, {}, { cause })
    }
  }
  if (name.endsWith('.conf')) return parseHocon(text)
  throw new JobsError(
    'ERR_CONFIG_FORMAT',
    'YAML configs are not read here; save it as .json (or .conf)',
  )
}

/** Later steps walk configs by recursion. */
function verifyDepth(value: unknown, depth: number): void {
  if (depth > MAX_CONFIG_DEPTH)
    throw new JobsError('ERR_CONFIG_FORMAT', `more than ${MAX_CONFIG_DEPTH} levels`)
  if (typeof value === 'object' && value !== null)
    for (const member of Object.values(value)) verifyDepth(member, depth + 1)
}
