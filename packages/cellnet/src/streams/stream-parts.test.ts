import { bytesOf, releaseMemory, SpareMemory } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../test/streams/manual-clock.ts'
import { joined } from '../../test/streams/memory-network.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import { type Chunk, chunksOf } from './chunk-source.ts'
import { HandlerRegistry } from './handler-registry.ts'
import { PartList } from './part-list.ts'
import { familyOf, isAtOrBelow } from './peer-family.ts'
import { randomNonce, randomStreamId, randomUuid } from './random-source.ts'
import { Ticker } from './ticker.ts'
import { Tombstones } from './tombstones.ts'

describe('chunksOf', () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 })

  it('cuts any source into full chunks and one last, and shows which is the last', async () => {
    await fc.assert(
      fc.asyncProperty(
        parts,
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        async (list, size, lazy) => {
          async function* source() {
            yield* list
          }
          const chunks: Chunk[] = []
          for await (const chunk of chunksOf(lazy ? source() : list, size)) chunks.push(chunk)
          const whole = joined(list)
          expect([...joined(chunks.flatMap((chunk) => chunk.parts.map(bytesOf)))]).toEqual([
            ...whole,
          ])
          expect(chunks.map(({ final }) => final)).toEqual(
            chunks.map((_c, at) => at === chunks.length - 1),
          )
          for (const chunk of chunks.slice(0, -1)) expect(chunk.bytes).toBe(size)
          expect(chunks.length).toBe(Math.max(1, Math.ceil(whole.length / size)))
        },
      ),
    )
  })
})

describe('PartList', () => {
  it('keeps long chunks as they are and gathers short ones, in order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1, 100, 65_535, 65_536, 70_000), { maxLength: 8 }),
        (lengths) => {
          const list = new PartList()
          const chunks = lengths.map((length, seed) => new Uint8Array(length).fill(seed + 1))
          for (const chunk of chunks) list.push(chunk)
          expect(list.length).toBe(joined(chunks).length)
          const parts = list.take()
          expect(Buffer.compare(joined(parts), joined(chunks))).toBe(0)
          for (const chunk of chunks.filter(({ length }) => length >= 65_536))
            expect(parts).toContain(chunk)
          expect(parts.length).toBeLessThanOrEqual(2 * lengths.length)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('holds a constant multiple of what a sender of tiny chunks sent', () => {
    const list = new PartList()
    const frame = new Uint8Array(1000)
    for (let index = 0; index < 100_000; index++)
      list.push(frame.subarray(index % 999, (index % 999) + 1))
    const held = list.take().reduce((sum, part) => sum + part.buffer.byteLength, 0)
    expect(held).toBeLessThan(200_000)
  })

  it('puts an expected body together in one aligned buffer, whenever it learns of it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(1, 100, 65_535, 65_536, 200_000), { minLength: 1, maxLength: 8 }),
        fc.nat(8),
        fc.nat(),
        (lengths, learned, place) => {
          const list = new PartList()
          const chunks = lengths.map((length, seed) => new Uint8Array(length).fill(seed + 1))
          const whole = joined(chunks)
          const expectIt = () =>
            list.expect({
              bytes: whole.length,
              alignedAt: (head) => {
                expect(head[0]).toBe(1)
                return place
              },
            })
          for (const [index, chunk] of chunks.entries()) {
            if (index === learned) expectIt()
            list.push(chunk)
          }
          if (learned >= chunks.length) expectIt()
          expect(list.length).toBe(whole.length)
          const parts = list.take()
          expect(parts).toHaveLength(1)
          expect(Buffer.compare(parts[0]!, whole)).toBe(0)
          expect((parts[0]!.byteOffset + place) % 64).toBe(0)
          expect(list.length).toBe(0)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('gives chunks back when it copied them, all of an expected body', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(1, 100, 65_535, 65_536, 200_000), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (lengths, isExpected) => {
          const list = new PartList()
          const chunks = lengths.map((length, seed) => new Uint8Array(length).fill(seed + 1))
          const whole = joined(chunks)
          if (isExpected) list.expect({ bytes: whole.length })
          for (const chunk of chunks) list.push(chunk, () => releaseMemory(chunk))
          expect(chunks.filter(({ length }) => length > 0).map(({ length }) => length)).toEqual(
            isExpected ? [] : lengths.filter((length) => length >= 65_536),
          )
          expect(Buffer.compare(joined(list.take()), whole)).toBe(0)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('takes no memory for what was announced before an eighth of it came', () => {
    const list = new PartList()
    list.expect({ bytes: 8_000_000 })
    const chunk = new Uint8Array(999_999)
    list.push(chunk)
    expect(list.take()).toEqual([chunk])
  })

  it('shows of a body that broke off nothing that another left there', () => {
    const memory = new SpareMemory(1_000_000)
    memory.giveBack(new Uint8Array(500_064).fill(7).buffer)
    const list = new PartList(memory)
    list.expect({ bytes: 500_000 })
    list.push(new Uint8Array(100_000).fill(1))
    expect(list.release).toBeDefined()
    const parts = list.take()
    expect(parts.map(({ length }) => length)).toEqual([100_000])
    expect(parts[0]!.every((byte) => byte === 1)).toBe(true)
  })

  it('hands over what there is of an expected body that broke off', () => {
    const list = new PartList()
    list.expect({ bytes: 1_000_000 })
    list.push(new Uint8Array(200_000).fill(1))
    list.push(new Uint8Array(10).fill(2))
    expect(list.take().map(({ length }) => length)).toEqual([200_010])
  })
})

describe('Tombstones', () => {
  it('forgets by time and by number, the oldest first', () => {
    const graves = new Tombstones<number>(2)
    graves.set('a', 1, 100)
    graves.set('b', 2, 50)
    expect(graves.get('b', 50)).toBeUndefined()
    graves.set('c', 3, 100)
    graves.set('a', 4, 100) // renewed: now the youngest
    graves.set('d', 5, 100)
    expect([graves.get('a', 0), graves.get('c', 0), graves.get('d', 0)]).toEqual([4, undefined, 5])
    graves.sweep(100)
    expect(graves.size).toBe(0)
  })
})

describe('Ticker', () => {
  it('ticks only while there is something to watch', async () => {
    const clock = new ManualClock()
    let left = 3
    using ticker = new Ticker(clock, 1000, () => --left > 0)
    ticker.wake()
    ticker.wake()
    await clock.advance(10_000)
    expect(left).toBe(0)
    expect(clock.pending).toBe(0)
    ticker.wake()
    ticker[Symbol.dispose]()
    ticker.wake()
    expect(clock.pending).toBe(0)
  })
})

describe('names and numbers', () => {
  it('finds handlers from exact to general', () => {
    const registry = new HandlerRegistry<string>()
    registry.set('*', '*', 'any')
    registry.set('c', '*', 'channel')
    registry.set('c', 't', 'exact')
    expect([registry.find('c', 't'), registry.find('c', 'x'), registry.find('d', 't')]).toEqual([
      'exact',
      'channel',
      'any',
    ])
  })

  it('keeps families apart by whole segments', () => {
    expect(familyOf('site-1.job.x')).toBe('site-1')
    expect(isAtOrBelow('site-1.job', 'site-1')).toBe(true)
    expect(isAtOrBelow('site-10', 'site-1')).toBe(false)
  })

  it('makes ids of the right shape', () => {
    const seen = new Set<number>()
    for (let round = 0; round < 200; round++) {
      const id = randomStreamId(testRandom)
      expect(Number.isSafeInteger(id)).toBe(true)
      seen.add(id)
      expect(randomUuid(testRandom)).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      )
      expect(randomNonce(testRandom)).toMatch(/^[0-9a-f]{32}$/)
    }
    expect(seen.size).toBe(200)
    expect(Math.max(...seen)).toBeGreaterThan(2 ** 50)
  })
})
