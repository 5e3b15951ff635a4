import type { StoredBytes } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import { checksumIn, checksumOf } from './checksum.ts'
import { crc32 } from './crc32.ts'

/** Bytes whose store knows their checksum up to some places. */
function stored(bytes: Uint8Array, places: readonly number[]): StoredBytes {
  const reserved = new MemoryByteStore().reserve(bytes.length)
  reserved.write(bytes, 0)
  return {
    ...reserved,
    checksumUpTo(limit) {
      const offset = Math.max(0, ...places.filter((place) => place <= limit))
      return { offset, crc: crc32(bytes.subarray(0, offset)) }
    },
  }
}

describe('checksums of stored bytes', () => {
  const sample = fc.uint8Array({ minLength: 1, maxLength: 300 }).chain((bytes) =>
    fc.record({
      bytes: fc.constant(bytes),
      places: fc.array(fc.nat(bytes.length)),
      range: fc.tuple(fc.nat(bytes.length), fc.nat(bytes.length)),
    }),
  )

  it('are those of the same bytes in memory, whatever the store knows of them', () => {
    fc.assert(
      fc.property(sample, fc.uint8Array(), ({ bytes, places, range }, before) => {
        const part = stored(bytes, places)
        const previous = crc32(before)
        expect(checksumOf(part, previous)).toBe(crc32(bytes, previous))
        const [start, end] = [Math.min(...range), Math.max(...range)]
        for (const whole of [part, bytes])
          expect(checksumIn(whole, start, end)).toBe(crc32(bytes.subarray(start, end)))
      }),
    )
  })

  it('read nothing that the store knows', () => {
    const bytes = new Uint8Array(3_000_000).map((_, i) => i * 11)
    const part = { ...stored(bytes, [1_000_000, 3_000_000]), read: () => expect.fail('read') }
    expect(checksumOf(part)).toBe(crc32(bytes))
    expect(checksumIn(part, 1_000_000, 3_000_000)).toBe(crc32(bytes.subarray(1_000_000)))
  })
})
