import { type BytePart, blocksOf, type StoredBytes, stretchOf } from '@hanse/contract'
import { crc32 } from './crc32.ts'

/** CRC-32's polynomial, and numbers of its field: the highest bit is x⁰. */
const POLYNOMIAL = 0xedb88320
const ONE = 0x80000000
/** x to the power of 8, 16, 32 …: what one, two, four … bytes that follow do to a checksum. */
const BYTE_POWERS = (() => {
  const powers = [0x00800000]
  for (let i = 1; i < 53; i++) powers.push(product(powers[i - 1]!, powers[i - 1]!))
  return powers
})()

/**
 * The checksum of bytes that follow those of checksum `previous`; what a store knows of its bytes is not read again.
 */
export function checksumOf(part: BytePart, previous = 0): number {
  if (part instanceof Uint8Array) return crc32(part, previous)
  const own = checksumBetween(part, 0, part.byteLength)
  return (followedBy(previous, part.byteLength) ^ own) >>> 0
}

/** The checksum of the bytes from `start` to before `end`. */
export function checksumIn(part: BytePart, start: number, end: number): number {
  return part instanceof Uint8Array
    ? crc32(part.subarray(start, end))
    : checksumBetween(part, start, end)
}

function checksumBetween(stored: StoredBytes, start: number, end: number): number {
  // A checksum of more bytes is that of fewer, moved on, plus that of the rest.
  const before = checksumUpTo(stored, start)
  return (followedBy(before, end - start) ^ checksumUpTo(stored, end)) >>> 0
}

function checksumUpTo(stored: StoredBytes, end: number): number {
  const known = stored.checksumUpTo?.(end) ?? { offset: 0, crc: 0 }
  let { crc } = known
  if (known.offset === end) return crc
  const rest = stretchOf(stored, known.offset, end - known.offset)
  for (const block of blocksOf([rest])) crc = crc32(block, crc)
  return crc
}

/** What a checksum contributes to that of bytes which go on for `byteLength`. */
function followedBy(crc: number, byteLength: number): number {
  let power = ONE
  for (let rest = byteLength, i = 0; rest > 0; rest = Math.floor(rest / 2), i++)
    if (rest % 2 === 1) power = product(power, BYTE_POWERS[i]!)
  return product(power, crc)
}

/** Product of two polynomials over GF(2), modulo CRC-32's. */
function product(a: number, b: number): number {
  let sum = 0
  let shifted = b
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted
    shifted = (shifted & 1) !== 0 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1
  }
  return sum >>> 0
}
