// Eight tables let the loop take eight bytes a step: about 5 times the speed of one table.
const TABLES = (() => {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256))
  for (let i = 0; i < 256; i++) {
    let value = i
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
    tables[0]![i] = value
  }
  for (let i = 0; i < 256; i++)
    for (let k = 1; k < 8; k++) {
      const previous = tables[k - 1]![i]!
      tables[k]![i] = (previous >>> 8) ^ tables[0]![previous & 0xff]!
    }
  return tables
})()

type Crc32 = (bytes: Uint8Array, previous?: number) => number

/** In JavaScript, which runs anywhere, at a fraction of the speed. */
export function portableCrc32(bytes: Uint8Array, previous = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ] // eight tables are built above
  let crc = previous ^ 0xffffffff
  let i = 0
  for (const end = bytes.length - 7; i < end; i += 8) {
    const low =
      crc ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24))
    crc =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[i]!) & 0xff]!
  return (crc ^ 0xffffffff) >>> 0
}

interface NodeLike {
  readonly process?: {
    readonly getBuiltinModule?: (id: string) => { readonly crc32?: Crc32 } | undefined
  }
}

/** The checksum of zip files, over bytes that follow those of checksum `previous`: Node's, where we run on it. */
export const crc32: Crc32 =
  (globalThis as NodeLike).process?.getBuiltinModule?.('node:zlib')?.crc32 ?? portableCrc32
