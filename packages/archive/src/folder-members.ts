import { constants, lstat, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveError } from './archive-error.ts'
import type { ArchiveMember } from './archive-member.ts'
import { quotedName, verifyEntryName } from './entry-name.ts'

export interface FolderMembersOptions {
  /** Name that all paths begin with, as in stock's job archives; absent: paths are relative to the folder. */
  readonly top?: string | undefined
  /** Folders above a file, at most; default 32. */
  readonly maxDepth?: number | undefined
  /** Files and folders, at most; default 10 000. */
  readonly maxEntries?: number | undefined
}

/**
 * Everything in a folder, sorted by name, folders before their content.
 * @throws {ArchiveError} `ERR_ARCHIVE_LINK` for symbolic links and devices: what they point to was not meant to leave
 */
export async function* folderMembers(
  folder: string,
  options: FolderMembersOptions = {},
): AsyncGenerator<ArchiveMember, void> {
  const { top, maxDepth = 32, maxEntries = 10_000 } = options
  const root = await lstat(folder)
  if (!root.isDirectory())
    throw new ArchiveError(
      'ERR_ARCHIVE_LINK',
      `${quotedName(folder)} is not a folder; a symbolic link to one is not followed`,
    )
  let entries = 0
  const count = (path: string) => {
    verifyEntryName(path, { maxDepth })
    if (++entries > maxEntries)
      throw new ArchiveError(
        'ERR_ARCHIVE_LIMIT',
        `the folder has more than ${maxEntries} files and folders`,
      )
  }

  async function* walk(directory: string, prefix: string): AsyncGenerator<ArchiveMember, void> {
    const found = await readdir(directory, { withFileTypes: true })
    for (const item of found.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = prefix === '' ? item.name : `${prefix}/${item.name}`
      const place = join(directory, item.name)
      count(path)
      if (item.isDirectory()) {
        yield { kind: 'folder', path }
        yield* walk(place, path)
      } else if (item.isFile()) {
        const { size } = await lstat(place)
        yield { kind: 'file', path, size, read: () => readFileOnly(place) }
      } else
        throw new ArchiveError(
          'ERR_ARCHIVE_LINK',
          `${quotedName(path)} is a symbolic link or a special file; put the file itself there`,
        )
    }
  }

  // Stock's archives have no entry for the top folder itself.
  if (top !== undefined) count(top)
  yield* walk(folder, top ?? '')
}

/** Reads a file that is still a file: one that became a link meanwhile is not followed. */
async function* readFileOnly(path: string): AsyncGenerator<Uint8Array, void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    yield* handle.createReadStream({ highWaterMark: 262_144, autoClose: false })
  } finally {
    await handle.close()
  }
}
