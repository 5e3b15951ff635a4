import { crc32 as nativeCrc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32, portableCrc32 } from './crc32.ts'

describe.each([
  ['crc32', crc32],
  ['portableCrc32', portableCrc32],
])('%s', (_name, own) => {
  it("is Node's, in one piece or continued", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
        const expected = nativeCrc32(bytes)
        expect(own(bytes)).toBe(expected)
        expect(own(bytes.subarray(cut), own(bytes.subarray(0, cut)))).toBe(expected)
      }),
    )
  })
})
