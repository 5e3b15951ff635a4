import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { hasCode } from '@hanse/contract'
import type { RunFiles } from '@hanse/learning'
import { ReplacedFiles } from './replaced-files.ts'

export interface FolderRunFilesOptions {
  readonly folder: string
  /** Below `folder`: what came with the job, e.g. `app_server/custom`. */
  readonly custom: string
}

/** Files of a run in a folder; no path leads out of it. Dispose it when nothing more is written. */
export function folderRunFiles({
  folder,
  custom,
}: FolderRunFilesOptions): RunFiles & AsyncDisposable {
  const replaced = new ReplacedFiles()
  const read = async (base: string, path: string): Promise<Uint8Array | undefined> => {
    try {
      return new Uint8Array(await readFile(pathBelow(base, path)))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  return {
    async write(path, parts) {
      const target = pathBelow(folder, path)
      await mkdir(dirname(target), { recursive: true })
      await replaced.write(target, parts)
    },
    async append(path, bytes) {
      const target = pathBelow(folder, path)
      await mkdir(dirname(target), { recursive: true })
      await appendFile(target, bytes, { mode: 0o600 })
    },
    async remove(path) {
      await replaced.remove(pathBelow(folder, path))
    },
    read: (path) => read(folder, path),
    readCustom: (path) => read(join(folder, custom), path),
    [Symbol.asyncDispose]: () => replaced[Symbol.asyncDispose](),
  }
}

/** @throws RangeError for a path that is absolute or leaves `base` */
function pathBelow(base: string, path: string): string {
  const target = join(base, path)
  const inside = relative(base, target)
  if (isAbsolute(path) || inside === '' || inside === '..' || inside.startsWith('../'))
    throw new RangeError(`the path '${path}' leaves the folder of the run`)
  return target
}
