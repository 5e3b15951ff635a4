import { ArchiveError } from './archive-error.ts'
import { type ArchiveLimits, MAX_NAME_BYTES } from './archive-limits.ts'

/** Longest component that file systems take, octets. */
const MAX_COMPONENT_BYTES = 255

/**
 * Checks a relative path of an archive or a source folder, without trailing slash: components joined by `/`, none
 * of them empty, `.` or `..`; no backslash, drive, or control character; within the limits.
 * @throws {ArchiveError} `ERR_ARCHIVE_NAME`, `ERR_ARCHIVE_LIMIT`
 */
export function verifyEntryName(path: string, { maxDepth }: Pick<ArchiveLimits, 'maxDepth'>): void {
  const problem = problemOf(path)
  if (problem !== undefined)
    throw new ArchiveError('ERR_ARCHIVE_NAME', `the entry name ${quotedName(path)} ${problem}`)
  const components = path.split('/')
  if (Buffer.byteLength(path) > MAX_NAME_BYTES || components.length - 1 > maxDepth)
    throw new ArchiveError(
      'ERR_ARCHIVE_LIMIT',
      `the entry name ${quotedName(path)} has ${Buffer.byteLength(path)} octets and ${components.length - 1} folders; at most ${MAX_NAME_BYTES} and ${maxDepth} are allowed`,
    )
  for (const component of components)
    if (Buffer.byteLength(component) > MAX_COMPONENT_BYTES)
      throw new ArchiveError(
        'ERR_ARCHIVE_NAME',
        `the entry name ${quotedName(path)} has a part of more than ${MAX_COMPONENT_BYTES} octets`,
      )
}

function problemOf(path: string): string | undefined {
  if (path === '') return 'is empty'
  if (path.startsWith('/')) return 'is absolute'
  if (path.includes('\\')) return 'has a backslash'
  if (/^[A-Za-z]:/.test(path)) return 'begins with a drive'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'has a control character'
  if (!path.isWellFormed()) return 'is not well-formed text'
  const components = path.split('/')
  if (components.includes('..')) return 'has a part ".."'
  if (components.includes('.')) return 'has a part "."'
  if (components.includes('')) return 'has an empty part'
  return undefined
}

/** Names that a file system could take for one another have the same key. */
export function collisionKey(path: string): string {
  return path.normalize('NFC').toLowerCase().toUpperCase().toLowerCase()
}

/** A name for messages: quoted, escaped, bounded. */
export function quotedName(path: string): string {
  return JSON.stringify(path.length > 120 ? `${path.slice(0, 119)}…` : path)
}
