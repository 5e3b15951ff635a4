import { crc32, deflateRawSync } from 'node:zlib'

/** One entry, as wrong as it is wanted. */
export interface ZipEntry {
  readonly name: string
  readonly content: Uint8Array
  /** POSIX mode with the type of file; default a plain file. */
  readonly mode?: number
  readonly deflate?: boolean
  /** What the entry says of its unpacked length, instead of the truth. */
  readonly declaredSize?: number
  /** General purpose flags; 1 is "encrypted". */
  readonly flags?: number
  /** Say that the content is that of the entry before. */
  readonly overlaps?: boolean
}

const POSIX = 3 << 8

/** Writes a zip archive without looking at what is in it. */
export function zipOf(entries: readonly ZipEntry[]): Uint8Array {
  const local: Buffer[] = []
  const central: Buffer[] = []
  let offset = 0
  let before = 0
  for (const entry of entries) {
    const name = Buffer.from(entry.name, 'utf8')
    const data =
      entry.deflate === true ? deflateRawSync(entry.content, { level: 9 }) : entry.content
    const size = entry.declaredSize ?? entry.content.length
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE((entry.flags ?? 0) | 0x800, 2)
    common.writeUInt16LE(entry.deflate === true ? 8 : 0, 4)
    common.writeUInt16LE(0x21, 8)
    common.writeUInt32LE(crc32(entry.content), 10)
    common.writeUInt32LE(data.length, 14)
    common.writeUInt32LE(size, 18)
    common.writeUInt16LE(name.length, 22)
    const at = entry.overlaps === true ? before : offset
    before = at
    if (entry.overlaps !== true) {
      const parts = [signature(0x04034b50), common, name, data]
      local.push(...parts.map((part) => Buffer.from(part)))
      offset += parts.reduce((sum, part) => sum + part.length, 0)
    }
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 6)
    rest.writeUInt32LE(at, 10)
    central.push(signature(0x02014b50), version(), common, rest, name)
  }
  const directory = Buffer.concat(central)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 4)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(offset, 12)
  return Buffer.concat([...local, directory, signature(0x06054b50), end])
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function version(): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(POSIX | 20)
  return bytes
}
