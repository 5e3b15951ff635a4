import { readFileSync, realpathSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'
import { messageOf } from '@hanse/contract'
import { z } from 'zod'
import { LaunchError } from '../launch-error.ts'

/** A package that trainers may import: name, folder and the module that its name stands for. */
export interface ClientPackage {
  readonly name: string
  readonly directory: string
  /** Relative to `directory`. */
  readonly entry: string
}

const Conditions: z.ZodType<Exports> = z.lazy(() =>
  z.union([z.string(), z.record(z.string(), Conditions)]),
)
type Exports = string | { [condition: string]: Exports }
const Manifest = z.object({
  exports: z.record(z.string(), Conditions),
  dependencies: z.record(z.string(), z.string()).default({}),
})

const CONDITIONS = new Set(['node', 'import', 'default'])

/**
 * `name` and everything it depends on, from the site's own installation: what a trainer can import without an
 * install, and must be able to read.
 * @param from file or URL that the first name is resolved from
 * @throws {LaunchError} `ERR_LAUNCH_OPTIONS` when a package is not installed
 */
export function findClientPackages(name: string, from: string | URL): ClientPackage[] {
  const found = new Map<string, ClientPackage>()
  const visit = (wanted: string, base: string | URL): void => {
    if (found.has(wanted)) return
    const { manifest, directory } = readManifest(wanted, base)
    const entry = entryOf(manifest.exports['.'] ?? '')
    found.set(wanted, { name: wanted, directory, entry })
    for (const dependency of Object.keys(manifest.dependencies))
      visit(dependency, join(directory, 'package.json'))
  }
  visit(name, from)
  return [...found.values()]
}

function readManifest(
  name: string,
  from: string | URL,
): { manifest: z.output<typeof Manifest>; directory: string } {
  try {
    const path = findPackageJSON(name, from)
    if (path === undefined) throw new Error('it is not installed')
    return {
      manifest: Manifest.parse(JSON.parse(readFileSync(path, 'utf8'))),
      // A workspace links its packages; Node and its permissions go by where they really are.
      directory: realpathSync(dirname(path)),
    }
  } catch (cause) {
    throw new LaunchError(
      'ERR_LAUNCH_OPTIONS',
      `package ${name} cannot be given to trainers: ${messageOf(cause)}`,
      { name },
      { cause },
    )
  }
}

function entryOf(exports: Exports): string {
  if (typeof exports === 'string') return exports
  for (const [condition, target] of Object.entries(exports))
    if (CONDITIONS.has(condition)) return entryOf(target)
  return ''
}
