import { describe, expect, it } from 'vitest'
import { FrameMemory } from './frame-memory.ts'

const MIB = 1024 * 1024

describe('FrameMemory', () => {
  it('gives memory that was given back to frames of about the same length', () => {
    const memory = new FrameMemory()
    expect(memory.takeSpare(MIB)).toBeUndefined()
    const frame = memory.take(MIB)
    frame[0] = 7
    expect(memory.giveBack(frame.subarray(16))).toBe(true)
    expect(frame).toHaveLength(0)
    const next = memory.takeSpare(MIB - 100)
    expect(next).toHaveLength(MIB - 100)
    expect(next?.[0]).toBe(7)
    expect(memory.takeSpare(MIB)).toBeUndefined()
  })

  it('has none for frames that a peer may send before it is admitted', () => {
    const memory = new FrameMemory()
    memory.giveBack(memory.take(64 * 1024 + 1))
    expect(memory.takeSpare(64 * 1024)).toBeUndefined()
    const short = memory.take(64 * 1024)
    expect(memory.giveBack(short)).toBe(false)
    expect(short).toHaveLength(64 * 1024)
  })

  it('takes nothing back twice, and nothing that was not had here', () => {
    const memory = new FrameMemory()
    const frame = memory.take(MIB)
    const [copy, other] = [frame.slice(), new FrameMemory().take(MIB)]
    expect([copy, other, frame, frame].map((it) => memory.giveBack(it))).toEqual([
      false,
      false,
      true,
      false,
    ])
    expect([copy.length, other.length]).toEqual([MIB, MIB])
  })

  it('keeps no more than a window', () => {
    const memory = new FrameMemory()
    const frames = Array.from({ length: 20 }, () => memory.take(MIB))
    for (const frame of frames) memory.giveBack(frame)
    const spare = Array.from({ length: 20 }, () => memory.takeSpare(MIB))
    expect(spare.filter((it) => it !== undefined)).toHaveLength(16)
  })
})
