import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frameOf, patternFrame } from '../test/frames.ts'
import { FrameMemory } from './frame-memory.ts'
import { FrameSplitter } from './frame-splitter.ts'

const frame = fc.uint8Array({ maxLength: 300 }).map(frameOf)

function cut(bytes: Uint8Array, sizes: Iterator<number>): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = sizes.next().value ?? 1
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

function drain(splitter: FrameSplitter): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let next = splitter.next(); next !== undefined; next = splitter.next()) frames.push(next)
  return frames
}

describe('FrameSplitter', () => {
  it('yields the same frames however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 64 })),
        (frames, sizes) => {
          const splitter = new FrameSplitter(1024)
          const found = cut(Buffer.concat(frames), sizes).flatMap((chunk) => {
            splitter.chunks.push(chunk)
            return drain(splitter)
          })
          expect(found.map((one) => Buffer.from(one).toString('hex'))).toEqual(
            frames.map((one) => Buffer.from(one).toString('hex')),
          )
          expect(splitter.isEmpty).toBe(true)
        },
      ),
    )
  })

  it('yields the same frames when the stream is read into its place, with others between the reads', () => {
    const length = fc.oneof(
      fc.integer({ min: 16, max: 300 }),
      fc.integer({ min: 60_000, max: 70_000 }),
      fc.integer({ min: 66_000, max: 300_000 }),
    )
    fc.assert(
      fc.property(
        fc.array(length, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 65_536 })),
        fc.infiniteStream(fc.boolean()),
        (lengths, sizes, whims) => {
          const frames = lengths.map(patternFrame)
          const stream = Buffer.concat(frames)
          const memory = new FrameMemory()
          const splitter = new FrameSplitter(2 ** 20, { memory })
          const other = new FrameSplitter(2 ** 20)
          const found: Uint8Array[] = []
          const take = () => {
            for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
              found.push(frame.slice())
              // Whoever has the frame may make another connection read.
              other.chunks.space().fill(0xee)
              if (whims.next().value === true) memory.giveBack(frame)
            }
          }
          for (let at = 0; at < stream.length; ) {
            const space = splitter.chunks.space()
            const piece = stream.subarray(at, at + Math.min(sizes.next().value ?? 1, space.length))
            // Frames may be taken out after the space was given, before anything is read into it.
            if (whims.next().value === true) take()
            space.set(piece)
            splitter.chunks.filled(piece.length)
            if (whims.next().value === true) take()
            splitter.chunks.keep()
            at += piece.length
            other.chunks.space().fill(0xff)
          }
          take()
          expect(found.map(({ length }) => length)).toEqual(lengths)
          expect(found.every((frame, i) => Buffer.from(frame).equals(frames[i]!))).toBe(true)
          expect(splitter.isEmpty).toBe(true)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('reads a long frame into memory of one before, of which nobody has a view any more', () => {
    const memory = new FrameMemory()
    const splitter = new FrameSplitter(2 ** 20, { memory })
    splitter.chunks.push(patternFrame(200_000).slice(0, 50_000))
    expect(splitter.next()).toBeUndefined()
    splitter.chunks.push(patternFrame(200_000).slice(50_000))
    const first = splitter.next()!
    const view = first.subarray(16, 20)
    expect(memory.giveBack(first)).toBe(true)
    expect(memory.giveBack(first)).toBe(false)
    expect(view).toHaveLength(0)
    const spare = memory.takeSpare(199_000)
    expect(spare).toHaveLength(199_000)
    expect(spare?.subarray(20, 30)).toEqual(patternFrame(200_000).subarray(20, 30))
  })

  it('frees chunks of its own once they were joined, and no other memory', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 64 })),
        (frames, sizes) => {
          const splitter = new FrameSplitter(1024, { ownsChunks: true })
          const shared = Uint8Array.from(Buffer.concat(frames))
          // Every other chunk lies in a buffer together with the others.
          const chunks = cut(shared, sizes).map((chunk, i) => (i % 2 ? chunk : chunk.slice()))
          const found = chunks.flatMap((chunk) => {
            splitter.chunks.push(chunk)
            return drain(splitter)
          })
          expect(found.map((one) => Buffer.from(one).toString('hex'))).toEqual(
            frames.map((one) => Buffer.from(one).toString('hex')),
          )
          expect(Buffer.from(shared)).toEqual(Buffer.concat(frames))
          const views = new Set(found.map(({ buffer }) => buffer))
          for (const [i, { buffer }] of chunks.entries())
            if (i % 2 === 0) expect(buffer.byteLength > 0).toBe(views.has(buffer))
        },
      ),
    )
  })

  it('takes no memory for a frame before an eighth of it came', () => {
    const splitter = new FrameSplitter(2 ** 30, { ownsChunks: true, memory: new FrameMemory() })
    const long = frameOf(new Uint8Array(800_000 - 16))
    const chunk = long.slice(0, 99_999)
    splitter.chunks.push(chunk)
    expect(splitter.next()).toBeUndefined()
    expect(chunk).toHaveLength(99_999)
    splitter.chunks.push(long.slice(99_999, 100_000))
    expect(chunk).toHaveLength(0)
    splitter.chunks.push(long.slice(100_000))
    expect(splitter.next()).toHaveLength(800_000)
  })

  it('survives garbage with its own error only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => {
        const splitter = new FrameSplitter(64)
        splitter.chunks.push(garbage)
        try {
          drain(splitter)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_FRAME_LENGTH' })
        }
      }),
    )
  })

  it.each([
    ['shorter than a prefix', 15],
    ['zero', 0],
    ['over the limit', 65],
    ['the largest there is', 0xffffffff],
  ])('refuses a length that is %s before the body came', (_name, length) => {
    const splitter = new FrameSplitter(64)
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, length)
    splitter.chunks.push(bytes)
    expect(() => splitter.next()).toThrow(expect.objectContaining({ code: 'ERR_FRAME_LENGTH' }))
  })

  it('takes the bare prefix and the longest frame', () => {
    const splitter = new FrameSplitter(64)
    splitter.chunks.push(Buffer.concat([frameOf(new Uint8Array(0)), frameOf(new Uint8Array(48))]))
    expect(drain(splitter).map((one) => one.length)).toEqual([16, 64])
  })

  it('applies a raised limit to the next frame of the same chunk', () => {
    const splitter = new FrameSplitter(16)
    splitter.chunks.push(Buffer.concat([frameOf(new Uint8Array(0)), frameOf(new Uint8Array(100))]))
    expect(splitter.next()).toHaveLength(16)
    splitter.maxFrameBytes = 200
    expect(splitter.next()).toHaveLength(116)
  })

  it('gives views on the chunk, not copies, when a frame lies in one', () => {
    const splitter = new FrameSplitter(64)
    const chunk = Uint8Array.from(frameOf(new Uint8Array(4)))
    splitter.chunks.push(chunk)
    expect(splitter.next()?.buffer).toBe(chunk.buffer)
  })
})
