import { crc32 } from 'node:zlib'
import type { AbortOptions } from '@hanse/contract'
import { ArchiveError } from './archive-error.ts'
import type { ArchiveMember } from './archive-member.ts'
import { collisionKey, quotedName, verifyEntryName } from './entry-name.ts'

export interface WriteArchiveOptions extends AbortOptions {
  /** Modification time of every entry, ms since the epoch; default 1980-01-01, so that equal content gives equal octets. */
  readonly modified?: number | undefined
  /** Sizes and offsets from here on are written in the zip64 form; for tests. */
  readonly zip64From?: number | undefined
}

/** Largest value of a 32-bit field; it is also the mark that the zip64 field has the value. */
const MARK_32 = 0xff_ff_ff_ff
const MARK_16 = 0xff_ff

interface WrittenEntry {
  readonly name: Buffer
  readonly isFolder: boolean
  readonly crc: number
  readonly size: number
  readonly offset: number
}

/**
 * Packs members as stock does (`spec/jobs.md` §1): folders as entries that end in `/`, files stored and not
 * compressed, sizes in front of the data. Yields the archive in pieces; each file is read twice, once for its
 * checksum, so that memory does not grow with it.
 * @throws {ArchiveError} `ERR_ARCHIVE_NAME`, `ERR_ARCHIVE_CHANGED`
 */
export async function* writeArchive(
  members: AsyncIterable<ArchiveMember> | Iterable<ArchiveMember>,
  options: WriteArchiveOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const { signal } = options
  const header = new HeaderWriter(options.modified ?? 0, options.zip64From ?? MARK_32)
  const entries: WrittenEntry[] = []
  const names = new Set<string>()
  let offset = 0
  for await (const member of members) {
    signal?.throwIfAborted()
    verifyEntryName(member.path, { maxDepth: 64 })
    const key = collisionKey(member.path)
    if (names.has(key))
      throw new ArchiveError(
        'ERR_ARCHIVE_NAME',
        `two entries are called ${quotedName(member.path)}, or differ only in upper and lower case`,
      )
    names.add(key)
    const isFolder = member.kind === 'folder'
    const entry: WrittenEntry = {
      name: Buffer.from(isFolder ? `${member.path}/` : member.path, 'utf8'),
      isFolder,
      crc: member.kind === 'file' ? await checksum(member) : 0,
      size: member.kind === 'file' ? member.size : 0,
      offset,
    }
    entries.push(entry)
    const local = header.local(entry)
    yield local
    offset += local.length
    if (member.kind === 'file') {
      yield* unchanged(member, entry.crc, signal)
      offset += member.size
    }
  }
  const start = offset
  for (const entry of entries) {
    const central = header.central(entry)
    yield central
    offset += central.length
  }
  yield header.end(entries.length, start, offset - start)
}

type FileMember = ArchiveMember & { readonly kind: 'file' }

async function checksum(member: FileMember): Promise<number> {
  let crc = 0
  let size = 0
  for await (const chunk of member.read()) {
    crc = crc32(chunk, crc)
    size += chunk.length
  }
  if (size !== member.size) throw changed(member)
  return crc
}

async function* unchanged(
  member: FileMember,
  expected: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void> {
  let crc = 0
  let size = 0
  for await (const chunk of member.read()) {
    signal?.throwIfAborted()
    crc = crc32(chunk, crc)
    size += chunk.length
    if (size > member.size) throw changed(member)
    if (chunk.length > 0) yield chunk
  }
  if (size !== member.size || crc !== expected) throw changed(member)
}

function changed(member: FileMember): ArchiveError {
  return new ArchiveError(
    'ERR_ARCHIVE_CHANGED',
    `${quotedName(member.path)} changed while it was packed; try again when nothing writes to it`,
  )
}

/** Made by Unix, so that the upper half of the external attributes is a mode. */
const MADE_BY = (3 << 8) | 45
const NEEDS_ZIP64 = 45
const NEEDS = 20
const UTF8_NAME = 0x0800
const FILE_ATTRIBUTES = 0o100644 * 0x1_00_00
const FOLDER_ATTRIBUTES = 0o40755 * 0x1_00_00 + 0x10

/** The records of the zip format (APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16). */
class HeaderWriter {
  readonly #time: number
  readonly #date: number
  readonly #zip64From: number

  constructor(modified: number, zip64From: number) {
    const when = new Date(Math.max(modified, Date.UTC(1980, 0, 1)))
    this.#time =
      (when.getUTCHours() << 11) | (when.getUTCMinutes() << 5) | (when.getUTCSeconds() >> 1)
    this.#date =
      ((when.getUTCFullYear() - 1980) << 9) | ((when.getUTCMonth() + 1) << 5) | when.getUTCDate()
    this.#zip64From = zip64From
  }

  local({ name, crc, size }: WrittenEntry): Uint8Array {
    const wide = size >= this.#zip64From
    const record = new ByteRecord(30 + name.length + (wide ? 20 : 0))
    record.uint32(0x04_03_4b_50)
    this.#common(record, name, crc, size, wide, wide ? 20 : 0)
    record.bytes(name)
    if (wide) {
      record.uint16(0x0001)
      record.uint16(16)
      record.uint64(size)
      record.uint64(size)
    }
    return record.result
  }

  central({ name, isFolder, crc, size, offset }: WrittenEntry): Uint8Array {
    const wideSize = size >= this.#zip64From
    const wideOffset = offset >= this.#zip64From
    const fields = (wideSize ? 16 : 0) + (wideOffset ? 8 : 0)
    const extra = fields === 0 ? 0 : 4 + fields
    const record = new ByteRecord(46 + name.length + extra)
    record.uint32(0x02_01_4b_50)
    record.uint16(MADE_BY)
    this.#common(record, name, crc, size, wideSize, extra)
    record.uint16(0) // comment
    record.uint16(0) // disk
    record.uint16(0) // internal attributes
    record.uint32(isFolder ? FOLDER_ATTRIBUTES : FILE_ATTRIBUTES)
    record.uint32(wideOffset ? MARK_32 : offset)
    record.bytes(name)
    if (extra > 0) {
      record.uint16(0x0001)
      record.uint16(fields)
      if (wideSize) record.uint64(size)
      if (wideSize) record.uint64(size)
      if (wideOffset) record.uint64(offset)
    }
    return record.result
  }

  end(count: number, start: number, length: number): Uint8Array {
    const wide = count >= MARK_16 || start >= this.#zip64From || length >= this.#zip64From
    const record = new ByteRecord(22 + (wide ? 76 : 0))
    if (wide) {
      record.uint32(0x06_06_4b_50)
      record.uint64(44) // octets that follow in this record
      record.uint16(MADE_BY)
      record.uint16(NEEDS_ZIP64)
      record.uint32(0)
      record.uint32(0)
      record.uint64(count)
      record.uint64(count)
      record.uint64(length)
      record.uint64(start)
      record.uint32(0x07_06_4b_50)
      record.uint32(0)
      record.uint64(start + length)
      record.uint32(1)
    }
    record.uint32(0x06_05_4b_50)
    record.uint16(0)
    record.uint16(0)
    record.uint16(wide ? MARK_16 : count)
    record.uint16(wide ? MARK_16 : count)
    record.uint32(wide ? MARK_32 : length)
    record.uint32(wide ? MARK_32 : start)
    record.uint16(0)
    return record.result
  }

  /** The fields that the local and the central record share, in their order. */
  #common(
    record: ByteRecord,
    name: Buffer,
    crc: number,
    size: number,
    wide: boolean,
    extra: number,
  ): void {
    record.uint16(wide ? NEEDS_ZIP64 : NEEDS)
    record.uint16(name.some((octet) => octet > 0x7f) ? UTF8_NAME : 0)
    record.uint16(0) // stored
    record.uint16(this.#time)
    record.uint16(this.#date)
    record.uint32(crc)
    record.uint32(wide ? MARK_32 : size)
    record.uint32(wide ? MARK_32 : size)
    record.uint16(name.length)
    record.uint16(extra)
  }
}

/** Little-endian numbers one after another into a record of known length. */
class ByteRecord {
  readonly result: Uint8Array
  readonly #view: DataView
  #position = 0

  constructor(length: number) {
    this.result = new Uint8Array(length)
    this.#view = new DataView(this.result.buffer)
  }

  uint16(value: number): void {
    this.#view.setUint16(this.#position, value, true)
    this.#position += 2
  }

  uint32(value: number): void {
    this.#view.setUint32(this.#position, value, true)
    this.#position += 4
  }

  uint64(value: number): void {
    this.#view.setBigUint64(this.#position, BigInt(value), true)
    this.#position += 8
  }

  bytes(value: Uint8Array): void {
    this.result.set(value, this.#position)
    this.#position += value.length
  }
}
