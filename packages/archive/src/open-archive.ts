import { crc32 } from 'node:zlib'
import { type AbortOptions, messageOf } from '@hanse/contract'
import { type Entry, fromBufferPromise, openPromise, type ZipFile } from 'yauzl'
import { ArchiveError } from './archive-error.ts'
import { type ArchiveLimits, DEFAULT_ARCHIVE_LIMITS } from './archive-limits.ts'
import type { ArchiveMember } from './archive-member.ts'
import { collisionKey, quotedName, verifyEntryName } from './entry-name.ts'

export interface OpenArchiveOptions {
  readonly limits?: Partial<ArchiveLimits> | undefined
}

/** An archive whose table of contents was read and accepted as a whole; nothing is unpacked yet. */
export interface Archive extends AsyncDisposable {
  /** Octets of the archive itself. */
  readonly size: number
  /** Files by path, in the order of the archive. */
  readonly files: ReadonlyMap<string, { readonly size: number }>
  /** Folders by path, those that only the names of files imply included. */
  readonly folders: ReadonlySet<string>
  /**
   * Reads one file in pieces; size and checksum are checked on the real octets.
   * @throws {ArchiveError} `ERR_ARCHIVE_ENTRY_UNKNOWN`, `ERR_ARCHIVE_FORMAT`, `ERR_ARCHIVE_LIMIT`
   */
  read(path: string, options?: AbortOptions): AsyncIterable<Uint8Array>
  /** Reads one file whole; a larger one than `maxBytes` is refused before anything is read. */
  readWhole(path: string, maxBytes: number, options?: AbortOptions): Promise<Uint8Array>
  /** What is below `folder` (default: everything), with paths relative to it, folders before their content. */
  members(folder?: string): readonly ArchiveMember[]
}

/**
 * Opens a zip archive and checks every entry of its table of contents before any is used (`spec/jobs.md` §1.1):
 * names, links, methods, sizes, number, and that no two entries can be taken for one another.
 * @param source path of a file, or the octets themselves, borrowed until disposal
 * @throws {ArchiveError}
 */
export async function openArchive(
  source: string | Uint8Array,
  options: OpenArchiveOptions = {},
): Promise<Archive> {
  const limits = { ...DEFAULT_ARCHIVE_LIMITS, ...options.limits }
  const settings = { autoClose: false, lazyEntries: true, decodeStrings: false } as const
  let zip: ZipFile
  try {
    zip =
      typeof source === 'string'
        ? await openPromise(source, settings)
        : await fromBufferPromise(
            Buffer.from(source.buffer, source.byteOffset, source.byteLength),
            settings,
          )
  } catch (cause) {
    throw unreadable(cause)
  }
  try {
    return new ZipArchive(zip, limits, await readContents(zip, limits))
  } catch (error) {
    zip.close()
    throw error
  }
}

interface Contents {
  readonly files: ReadonlyMap<string, { readonly size: number; readonly entry: Entry }>
  readonly folders: ReadonlySet<string>
}

async function readContents(zip: ZipFile, limits: ArchiveLimits): Promise<Contents> {
  // The count is declared; it bounds the loop only because yauzl reads exactly so many.
  if (zip.entryCount > limits.maxEntries)
    throw tooMuch(`the archive has ${zip.entryCount} entries`, limits.maxEntries)
  const contents = new ContentsBuilder(limits, zip.fileSize)
  const entries = zip.eachEntry()
  for (;;) {
    let next: IteratorResult<Entry>
    try {
      next = await entries.next()
    } catch (cause) {
      throw unreadable(cause)
    }
    if (next.done === true) return contents.result()
    contents.add(next.value)
  }
}

class ContentsBuilder {
  readonly #limits: ArchiveLimits
  readonly #archiveBytes: number
  readonly #files = new Map<string, { size: number; entry: Entry }>()
  readonly #folders = new Set<string>()
  /** Collision key to the spelling that was seen first. */
  readonly #spellings = new Map<string, string>()
  readonly #explicit = new Set<string>()
  #totalBytes = 0

  constructor(limits: ArchiveLimits, archiveBytes: number) {
    this.#limits = limits
    this.#archiveBytes = archiveBytes
  }

  add(entry: Entry): void {
    const name = nameOf(entry)
    const isFolder = name.endsWith('/')
    const path = isFolder ? name.slice(0, -1) : name
    verifyEntryName(path, this.#limits)
    verifyKind(entry, path, isFolder)
    this.#verifyUnique(path)
    if (this.#explicit.has(path)) throw twice(path, path)
    this.#explicit.add(path)
    this.#addFolders(path, isFolder)
    if (isFolder) return
    verifyMethod(entry, path)
    this.#verifySize(entry, path)
    this.#files.set(path, { size: entry.uncompressedSize, entry })
  }

  result(): Contents {
    for (const path of this.#files.keys())
      if (this.#folders.has(path))
        throw new ArchiveError(
          'ERR_ARCHIVE_NAME',
          `${quotedName(path)} is both a file and a folder in the archive`,
        )
    return { files: this.#files, folders: this.#folders }
  }

  /** Also for the folders above: `A/x` and `a/y` would meet on some disks. */
  #verifyUnique(path: string): void {
    const components = path.split('/')
    for (let count = 1; count <= components.length; count++) {
      const part = components.slice(0, count).join('/')
      const key = collisionKey(part)
      const seen = this.#spellings.get(key)
      if (seen !== undefined && seen !== part) throw twice(seen, part)
      this.#spellings.set(key, part)
    }
  }

  #addFolders(path: string, isFolder: boolean): void {
    const components = path.split('/')
    const depth = isFolder ? components.length : components.length - 1
    for (let count = 1; count <= depth; count++)
      this.#folders.add(components.slice(0, count).join('/'))
  }

  #verifySize(entry: Entry, path: string): void {
    const { maxMemberBytes, maxTotalBytes, maxRatio } = this.#limits
    const size = entry.uncompressedSize
    if (size > maxMemberBytes)
      throw tooMuch(`${quotedName(path)} has ${size} octets`, maxMemberBytes)
    this.#totalBytes += size
    if (this.#totalBytes > maxTotalBytes)
      throw tooMuch(`the entries have ${this.#totalBytes} octets or more`, maxTotalBytes)
    if (this.#totalBytes > this.#archiveBytes * maxRatio)
      throw tooMuch(
        `the archive of ${this.#archiveBytes} octets unpacks to ${this.#totalBytes} or more`,
        this.#archiveBytes * maxRatio,
      )
  }
}

const UTF8_NAME = 0x0800
const UNICODE_PATH_FIELD = 0x7075

/** The entry's one name. Spellings that readers decode differently are refused. */
function nameOf(entry: Entry): string {
  const raw = entry.fileNameRaw
  if (entry.extraFields.some(({ id }) => id === UNICODE_PATH_FIELD))
    throw new ArchiveError(
      'ERR_ARCHIVE_NAME',
      `the entry ${quotedName(raw.toString('latin1'))} has a second name in an extra field`,
    )
  const isAscii = raw.every((octet) => octet < 0x80)
  if (!isAscii && (entry.generalPurposeBitFlag & UTF8_NAME) === 0)
    throw new ArchiveError(
      'ERR_ARCHIVE_NAME',
      `the entry ${quotedName(raw.toString('latin1'))} has a name in an unknown encoding; UTF-8 is read`,
    )
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)
  } catch {
    throw new ArchiveError(
      'ERR_ARCHIVE_NAME',
      `the entry ${quotedName(raw.toString('latin1'))} has a name that is not UTF-8`,
    )
  }
}

const FILE_TYPE_MASK = 0o170000
const REGULAR_FILE = 0o100000
const DIRECTORY = 0o040000

function verifyKind(entry: Entry, path: string, isFolder: boolean): void {
  const type = (entry.externalFileAttributes >>> 16) & FILE_TYPE_MASK
  if (type === 0 || type === (isFolder ? DIRECTORY : REGULAR_FILE)) {
    if (isFolder && entry.uncompressedSize !== 0)
      throw new ArchiveError('ERR_ARCHIVE_FORMAT', `the folder ${quotedName(path)} has content`)
    return
  }
  throw new ArchiveError(
    'ERR_ARCHIVE_LINK',
    `${quotedName(path)} is a symbolic link, a device or something else than its name says (type ${type.toString(8)}); only files and folders are accepted`,
  )
}

const STORED = 0
const DEFLATED = 8
/** Encrypted, patch data, strong encryption, masked header. */
const ODD_FLAGS = 0x0001 | 0x0020 | 0x0040 | 0x2000

function verifyMethod(entry: Entry, path: string): void {
  if ((entry.generalPurposeBitFlag & ODD_FLAGS) !== 0)
    throw new ArchiveError(
      'ERR_ARCHIVE_METHOD',
      `${quotedName(path)} is encrypted or packed in a way that is not read`,
    )
  if (entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED)
    throw new ArchiveError(
      'ERR_ARCHIVE_METHOD',
      `${quotedName(path)} is compressed with method ${entry.compressionMethod}; stored (0) and deflate (8) are read`,
      { method: entry.compressionMethod },
    )
}

class ZipArchive implements Archive {
  readonly size: number
  readonly files: Contents['files']
  readonly folders: ReadonlySet<string>
  readonly #zip: ZipFile
  readonly #limits: ArchiveLimits

  constructor(zip: ZipFile, limits: ArchiveLimits, { files, folders }: Contents) {
    this.size = zip.fileSize
    this.files = files
    this.folders = folders
    this.#zip = zip
    this.#limits = limits
  }

  async *read(path: string, { signal }: AbortOptions = {}): AsyncGenerator<Uint8Array, void> {
    const { entry } = this.#fileAt(path)
    let crc = 0
    let size = 0
    try {
      // Takes declared sizes for a bound, also while inflating: longer content is an error at the first octet over.
      const stream = await this.#zip.openReadStreamPromise(entry)
      try {
        for await (const chunk of stream) {
          signal?.throwIfAborted()
          if (!(chunk instanceof Uint8Array)) throw new TypeError('a stream of octets was expected')
          crc = crc32(chunk, crc)
          size += chunk.length
          if (size > this.#limits.maxMemberBytes)
            throw tooMuch(
              `${quotedName(path)} unpacks to ${size} octets`,
              this.#limits.maxMemberBytes,
            )
          yield chunk
        }
      } finally {
        stream.destroy()
      }
    } catch (cause) {
      if (cause instanceof ArchiveError || signal?.aborted === true) throw cause
      throw damaged(path, messageOf(cause), cause)
    }
    if (size !== entry.uncompressedSize)
      throw damaged(path, `${size} octets instead of ${entry.uncompressedSize}`)
    if (crc !== entry.crc32) throw damaged(path, 'the checksum is wrong')
  }

  async readWhole(path: string, maxBytes: number, options?: AbortOptions): Promise<Uint8Array> {
    const { size } = this.#fileAt(path)
    if (size > maxBytes) throw tooMuch(`${quotedName(path)} has ${size} octets`, maxBytes)
    const bytes = new Uint8Array(size)
    let position = 0
    for await (const chunk of this.read(path, options)) {
      if (position + chunk.length > size) throw damaged(path, `more than ${size} octets`)
      bytes.set(chunk, position)
      position += chunk.length
    }
    return bytes
  }

  members(folder = ''): readonly ArchiveMember[] {
    const prefix = folder === '' ? '' : `${folder}/`
    const members: ArchiveMember[] = []
    for (const path of this.folders)
      if (path.startsWith(prefix) && path.length > prefix.length)
        members.push({ kind: 'folder', path: path.slice(prefix.length) })
    for (const [path, { size }] of this.files)
      if (path.startsWith(prefix))
        members.push({
          kind: 'file',
          path: path.slice(prefix.length),
          size,
          read: () => this.read(path),
        })
    return members.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  }

  #fileAt(path: string): { readonly size: number; readonly entry: Entry } {
    const file = this.files.get(path)
    if (file === undefined)
      throw new ArchiveError(
        'ERR_ARCHIVE_ENTRY_UNKNOWN',
        `the archive has no file ${quotedName(path)}`,
      )
    return file
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#zip.close()
    return Promise.resolve()
  }
}

function unreadable(cause: unknown): ArchiveError {
  return new ArchiveError(
    'ERR_ARCHIVE_FORMAT',
    `the archive cannot be read as zip: ${messageOf(cause)}`,
    {},
    { cause },
  )
}

function damaged(path: string, what: string, cause?: unknown): ArchiveError {
  return new ArchiveError(
    'ERR_ARCHIVE_FORMAT',
    `${quotedName(path)} is damaged: ${what}`,
    {},
    { cause },
  )
}

function tooMuch(seen: string, limit: number): ArchiveError {
  return new ArchiveError('ERR_ARCHIVE_LIMIT', `${seen}; at most ${limit} are accepted`, { limit })
}

function twice(first: string, second: string): ArchiveError {
  return new ArchiveError(
    'ERR_ARCHIVE_NAME',
    first === second
      ? `the entry ${quotedName(first)} is there twice`
      : `the names ${quotedName(first)} and ${quotedName(second)} differ only in upper and lower case or accents`,
  )
}
