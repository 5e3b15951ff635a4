import type { FrameProofs } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createFrameKeyShare, type FrameKeyOptions } from './frame-proofs.ts'

const transcript = new TextEncoder().encode('what both said')

/** The two ends of one link. */
function agree(
  dialler: Partial<FrameKeyOptions> = {},
  listener: Partial<FrameKeyOptions> = {},
): [FrameProofs, FrameProofs] {
  const [a, b] = [createFrameKeyShare(), createFrameKeyShare()]
  const options = { transcript, coversPayload: true }
  return [
    a.agree(b.share, { ...options, side: 'dialler', ...dialler }),
    b.agree(a.share, { ...options, side: 'listener', ...listener }),
  ]
}

describe('frame proofs', () => {
  it('hold for every frame in its place, both ways, however a frame is cut into parts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.array(fc.uint8Array({ maxLength: 40 }))), {
          maxLength: 8,
        }),
        (frames) => {
          const [a, b] = agree()
          for (const [forth, parts] of frames) {
            const [from, to] = forth ? [a, b] : [b, a]
            const code = from.seal(parts)
            expect(code).toHaveLength(16)
            expect(to.verify([Buffer.concat(parts)], code)).toBe(true)
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('do not hold for a frame of which one bit was changed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), (frame, at) => {
        const [a, b] = agree()
        const code = a.seal([frame])
        const changed = frame.slice()
        changed[at % frame.length]! ^= 1 << (at % 8)
        expect(b.verify([changed], code)).toBe(false)
      }),
      { numRuns: 50 },
    )
  })

  const frame = (text: string) => [new TextEncoder().encode(text)]

  it('do not hold for a frame that comes twice, late, early or back to its sender', () => {
    const [a, b] = agree()
    const first = a.seal(frame('1'))
    expect(b.verify(frame('1'), first)).toBe(true)
    expect(b.verify(frame('1'), first)).toBe(false)

    const [c, d] = agree()
    c.seal(frame('1'))
    expect(d.verify(frame('2'), c.seal(frame('2')))).toBe(false)

    const [e] = agree()
    expect(e.verify(frame('1'), e.seal(frame('1')))).toBe(false)
  })

  it('do not hold for another login, nor where the two sides heard different things', () => {
    const [a] = agree()
    const [, b] = agree()
    expect(b.verify(frame('1'), a.seal(frame('1')))).toBe(false)
    const [c, d] = agree({}, { transcript: new TextEncoder().encode('something else') })
    expect(d.verify(frame('1'), c.seal(frame('1')))).toBe(false)
  })

  it('do not hold with a code of another length', () => {
    const [a, b] = agree()
    expect(b.verify(frame('1'), a.seal(frame('1')).subarray(0, 8))).toBe(false)
  })

  it.each([
    ['of another length', new Uint8Array(31)],
    ['of no bytes', new Uint8Array(0)],
    ['that makes every secret zero', new Uint8Array(32)],
  ])('take no share %s', (_what, share) => {
    expect(() =>
      createFrameKeyShare().agree(share, { side: 'dialler', transcript, coversPayload: true }),
    ).toThrow(expect.objectContaining({ code: 'ERR_KEY_SHARE' }))
  })
})
