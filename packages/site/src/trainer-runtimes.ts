import { accessSync, constants } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { ownNodeRuntime } from '@hanse/launcher-process'
import type { TrainerRuntime } from '@hanse/provision'

/**
 * Finds the programs that the site's configuration names. `node` is the runtime that Hanse itself runs on; another
 * bare name is looked up in `searchPath`. Programs that are not there are left out: jobs that need them are refused.
 * @param searchPath folders separated by `:`
 */
export function resolveRuntimes(
  runtimes: ReadonlyMap<string, TrainerRuntime>,
  searchPath: string,
): Map<string, TrainerRuntime> {
  const resolved = new Map<string, TrainerRuntime>()
  for (const [name, runtime] of runtimes) {
    const program =
      runtime.program === 'node'
        ? ownNodeRuntime().program
        : findProgram(runtime.program, searchPath)
    if (program !== undefined) resolved.set(name, { ...runtime, program })
  }
  return resolved
}

function findProgram(program: string, searchPath: string): string | undefined {
  if (isAbsolute(program)) return isExecutable(program) ? program : undefined
  if (program.includes('/')) return undefined
  return searchPath
    .split(':')
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, program))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
