import { describe, expect, it } from 'vitest'
import { releaseMemory } from './release-memory.ts'

describe('releaseMemory', () => {
  it('empties every view on memory that is the bytes\u2019 alone', () => {
    const bytes = new Uint8Array(100_000).fill(7)
    const other = bytes.subarray(10, 20)
    releaseMemory(bytes)
    expect([bytes.length, other.length, other[0]]).toEqual([0, 0, undefined])
  })

  it.each([
    ['begins later', new Uint8Array(10).subarray(1)],
    ['ends earlier', new Uint8Array(10).subarray(0, 9)],
    ['lies in shared memory', new Uint8Array(new SharedArrayBuffer(10))],
  ])('leaves memory alone in which something else may lie: it %s', (_name, bytes) => {
    const { length } = bytes
    releaseMemory(bytes)
    expect(bytes).toHaveLength(length)
  })

  it('does nothing the second time', () => {
    const bytes = new Uint8Array(10)
    releaseMemory(bytes)
    expect(() => releaseMemory(bytes)).not.toThrow()
  })
})
