import { mkdir, open, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { AbortOptions } from '@hanse/contract'
import { ArchiveError } from './archive-error.ts'
import type { Archive } from './open-archive.ts'

export interface ExtractOptions extends AbortOptions {
  /** Only what is below this folder of the archive, without the folder itself. */
  readonly folder?: string | undefined
  /** Default 0600 and 0700. */
  readonly fileMode?: number | undefined
  readonly folderMode?: number | undefined
}

/**
 * Unpacks into `destination`, which is made, or must be an empty folder that nobody else can write to: names are
 * safe, so with no link there to begin with, nothing can land outside. On failure the destination is empty again.
 * @throws {ArchiveError} `ERR_ARCHIVE_DESTINATION`, and what reading an entry throws
 */
export async function extractArchive(
  archive: Archive,
  destination: string,
  options: ExtractOptions = {},
): Promise<void> {
  const { folder = '', fileMode = 0o600, folderMode = 0o700, signal } = options
  if (folder !== '' && !archive.folders.has(folder))
    throw new ArchiveError(
      'ERR_ARCHIVE_ENTRY_UNKNOWN',
      `the archive has no folder ${JSON.stringify(folder)}`,
    )
  await mkdir(destination, { recursive: true, mode: folderMode })
  if ((await readdir(destination)).length > 0)
    throw new ArchiveError(
      'ERR_ARCHIVE_DESTINATION',
      'the destination is not empty; archives are unpacked into new folders only',
    )
  try {
    for (const member of archive.members(folder)) {
      signal?.throwIfAborted()
      const place = join(destination, member.path)
      if (member.kind === 'folder') {
        await mkdir(place, { recursive: true, mode: folderMode })
        continue
      }
      await mkdir(dirname(place), { recursive: true, mode: folderMode })
      const handle = await open(place, 'wx', fileMode)
      try {
        for await (const chunk of member.read()) {
          signal?.throwIfAborted()
          await handle.writeFile(chunk)
        }
      } finally {
        await handle.close()
      }
    }
  } catch (error) {
    for (const name of await readdir(destination))
      await rm(join(destination, name), { recursive: true, force: true })
    throw error
  }
}
