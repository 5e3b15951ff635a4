import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openArrayFile } from './array-file.ts'
import { Room, type Stretch } from './room.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-array-file-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('the file of arrays', () => {
  it('gives back what was written, to readers that wait and others', async () => {
    await using file = await openArrayFile(join(folder, 'spool'))
    const first = file.reserve(10_000)
    const second = file.reserve(5)
    await first.write(new Uint8Array(6_000).fill(1), 0)
    first.write(new Uint8Array(4_000).fill(2), 6_000)
    await second.write(Uint8Array.of(9, 8, 7, 6, 5), 0)
    const bytes = new Uint8Array(4)
    await first.read(bytes, 5_998)
    expect([...bytes]).toEqual([1, 1, 2, 2])
    second.read(bytes, 1)
    expect([...bytes]).toEqual([8, 7, 6, 5])
  })

  it('has no name: nothing stays behind, however the process ends', async () => {
    await using file = await openArrayFile(join(folder, 'spool'))
    file.reserve(10).write(Uint8Array.of(1), 0)
    expect(await readdir(join(folder, 'spool'))).toEqual([])
  })

  it('knows the checksums of what is written in order once one was asked for, and forgets it where that is written over', async () => {
    await using file = await openArrayFile(folder)
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i * 5)
    const first = file.reserve(100)
    first.write(bytes, 0)
    // Nobody had asked for any: summing costs as much as writing.
    expect(first.checksumUpTo?.(100)).toEqual({ offset: 0, crc: 0 })
    const elements = file.reserve(100)
    elements.write(bytes.subarray(0, 30), 0)
    elements.write(bytes.subarray(30, 80), 30)
    const upTo = (offset: number) => elements.checksumUpTo?.(offset)
    expect(upTo(29)).toEqual({ offset: 0, crc: 0 })
    expect(upTo(79)).toEqual({ offset: 30, crc: crc32(bytes.subarray(0, 30)) })
    expect(upTo(100)).toEqual({ offset: 80, crc: crc32(bytes.subarray(0, 80)) })
    elements.write(bytes.subarray(90), 90)
    expect(upTo(100)).toEqual({ offset: 80, crc: crc32(bytes.subarray(0, 80)) })
    elements.write(Uint8Array.of(1), 40)
    expect(upTo(100)).toEqual({ offset: 30, crc: crc32(bytes.subarray(0, 30)) })
  })

  it('notes checksums of one use only, in the same room', async () => {
    await using file = await openArrayFile(folder)
    const means = file.apart()
    means.reserve(10).checksumUpTo?.(10)
    const [mean, contribution] = [means.reserve(10), file.reserve(10)]
    for (const elements of [mean, contribution]) elements.write(new Uint8Array(10), 0)
    expect(mean.checksumUpTo?.(10)?.offset).toBe(10)
    expect(contribution.checksumUpTo?.(10)?.offset).toBe(0)
    expect(file.fileBytes).toBe(3 * 4096)
  })

  it('refuses to read or write outside of an array, or after it was given up', async () => {
    await using file = await openArrayFile(folder)
    const elements = file.reserve(10)
    for (const offset of [-1, 8, 1e9]) {
      expect(() => elements.read(new Uint8Array(3), offset)).toThrow(RangeError)
      expect(() => elements.write(new Uint8Array(3), offset)).toThrow(RangeError)
    }
    elements.release()
    elements.release()
    expect(() => elements.read(new Uint8Array(3), 0)).toThrow(/given up/)
    expect(() => elements.write(new Uint8Array(3), 0)).toThrow(/given up/)
  })

  it('uses room again that was given back, and no other', async () => {
    await using file = await openArrayFile(folder)
    const old = file.reserve(1_000_000)
    old.write(new Uint8Array(1_000_000).fill(7), 0)
    const other = file.reserve(1_000_000)
    other.write(new Uint8Array(1_000_000).fill(8), 0)
    const seen = new Uint8Array(1_000_000)
    old.read(seen, 0)
    expect(seen.every((byte) => byte === 7)).toBe(true)
    const { fileBytes } = file
    other.release()
    for (let i = 0; i < 10; i++) {
      const next = file.reserve(900_000)
      next.write(new Uint8Array(10), 0)
      next.release()
    }
    expect(file.fileBytes).toBe(fileBytes)
  })
})

describe('room in a file', () => {
  it('never hands out the same bytes twice, and is whole again when all is given back', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.nat(100_000),
            fc.nat(9).map((at) => -1 - at),
          ),
          { maxLength: 60 },
        ),
        (steps) => {
          const room = new Room()
          const held: Stretch[] = []
          for (const step of steps) {
            if (step < 0) {
              const [back] = held.splice(-1 - step, 1)
              if (back !== undefined) room.giveBack(back)
              continue
            }
            const taken = room.take(step)
            expect(taken.length).toBeGreaterThanOrEqual(step)
            for (const other of held)
              expect(
                taken.start + taken.length <= other.start ||
                  other.start + other.length <= taken.start,
              ).toBe(true)
            held.push(taken)
          }
          for (const stretch of held) room.giveBack(stretch)
          const { end } = room
          if (end > 0) expect(room.take(end)).toEqual({ start: 0, length: end })
          expect(room.end).toBe(end)
        },
      ),
    )
  })
})
