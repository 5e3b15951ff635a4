import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frameOf } from '../test/frames.ts'
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
            splitter.push(chunk)
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
            splitter.push(chunk)
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
    const splitter = new FrameSplitter(2 ** 30, { ownsChunks: true })
    const long = frameOf(new Uint8Array(800_000 - 16))
    const chunk = long.slice(0, 99_999)
    splitter.push(chunk)
    expect(splitter.next()).toBeUndefined()
    expect(chunk).toHaveLength(99_999)
    splitter.push(long.slice(99_999, 100_000))
    expect(chunk).toHaveLength(0)
    splitter.push(long.slice(100_000))
    expect(splitter.next()).toHaveLength(800_000)
  })

  it('survives garbage with its own error only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => {
        const splitter = new FrameSplitter(64)
        splitter.push(garbage)
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
    splitter.push(bytes)
    expect(() => splitter.next()).toThrow(expect.objectContaining({ code: 'ERR_FRAME_LENGTH' }))
  })

  it('takes the bare prefix and the longest frame', () => {
    const splitter = new FrameSplitter(64)
    splitter.push(Buffer.concat([frameOf(new Uint8Array(0)), frameOf(new Uint8Array(48))]))
    expect(drain(splitter).map((one) => one.length)).toEqual([16, 64])
  })

  it('applies a raised limit to the next frame of the same chunk', () => {
    const splitter = new FrameSplitter(16)
    splitter.push(Buffer.concat([frameOf(new Uint8Array(0)), frameOf(new Uint8Array(100))]))
    expect(splitter.next()).toHaveLength(16)
    splitter.maxFrameBytes = 200
    expect(splitter.next()).toHaveLength(116)
  })

  it('gives views on the chunk, not copies, when a frame lies in one', () => {
    const splitter = new FrameSplitter(64)
    const chunk = Uint8Array.from(frameOf(new Uint8Array(4)))
    splitter.push(chunk)
    expect(splitter.next()?.buffer).toBe(chunk.buffer)
  })
})
