import { appendFile, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { hasCode } from '@hanse/contract'
import type { RunFiles } from '@hanse/learning'

export interface FolderRunFilesOptions {
  readonly folder: string
  /** Below `folder`: what came with the job, e.g. `app_server/custom`. */
  readonly custom: string
}

/** Files of a run in a folder; no path leads out of it. */
export function folderRunFiles({ folder, custom }: FolderRunFilesOptions): RunFiles {
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
      const temporary = `${target}.part`
      {
        await using file = await open(temporary, 'w', 0o600)
        for await (const part of parts) await file.writeFile(part)
        await file.sync()
      }
      await rename(temporary, target)
    },
    async append(path, bytes) {
      const target = pathBelow(folder, path)
      await mkdir(dirname(target), { recursive: true })
      await appendFile(target, bytes, { mode: 0o600 })
    },
    async remove(path) {
      await rm(pathBelow(folder, path), { force: true })
    },
    read: (path) => read(folder, path),
    readCustom: (path) => read(join(folder, custom), path),
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
