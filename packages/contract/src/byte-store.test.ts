import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../test/memory-byte-store.ts'
import { blocksOf, bytesOf, stretchesOf, stretchOf } from './byte-store.ts'

describe('stored bytes', () => {
  it('can be had in stretches, and are free when the last of them is given up', async () => {
    const store = new MemoryByteStore()
    const whole = store.reserve(10)
    whole.write(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0)
    const [first, second] = stretchesOf(whole, [
      { start: 0, byteLength: 4 },
      { start: 6, byteLength: 4 },
    ])
    const bytes = new Uint8Array(2)
    await second!.read(bytes, 1)
    expect([...bytes]).toEqual([7, 8])
    expect(() => first!.read(bytes, 3)).toThrow(RangeError)
    first!.release()
    first!.release()
    expect(() => first!.read(bytes, 0)).toThrow(RangeError)
    expect(store.held).toBe(1)
    second!.release()
    expect(store.held).toBe(0)
  })

  it('stay when a stretch that was borrowed is given up', () => {
    const store = new MemoryByteStore()
    const whole = store.reserve(4)
    whole.write(Uint8Array.of(1, 2, 3, 4), 0)
    const stretch = stretchOf(whole, 1, 2)
    expect([...bytesOf(stretch)]).toEqual([2, 3])
    stretch.release()
    expect(() => bytesOf(stretch)).toThrow(RangeError)
    expect([...bytesOf(whole)]).toEqual([1, 2, 3, 4])
  })

  it('come in blocks, one after the other in the same memory, between those that are in memory', () => {
    const whole = new MemoryByteStore().reserve(2.5 * 1024 * 1024)
    whole.write(
      Uint8Array.from({ length: whole.byteLength }, (_, i) => i * 7),
      0,
    )
    const before = Uint8Array.of(5)
    const blocks: { buffer: ArrayBufferLike; copy: Buffer }[] = []
    for (const block of blocksOf([before, whole, before]))
      blocks.push({ buffer: block.buffer, copy: Buffer.from(block) })
    expect(blocks.map(({ copy }) => copy.length)).toEqual([1, 1 << 20, 1 << 20, 1 << 19, 1])
    expect(new Set(blocks.map(({ buffer }) => buffer)).size).toBe(2)
    const bytes = Buffer.concat(blocks.slice(1, -1).map(({ copy }) => copy))
    expect(bytes.equals(bytesOf(whole))).toBe(true)
  })
})
