import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Turns } from './turns.ts'

describe('turns', () => {
  it('let acts on one thing follow each other, and forget what is over', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: fc.constantFrom('a', 'b'), fails: fc.boolean() })),
        async (acts) => {
          const turns = new Turns()
          const busy = new Set<string>()
          const done: Record<string, number[]> = { a: [], b: [] }
          await Promise.allSettled(
            acts.map(({ key, fails }, index) =>
              turns.take(key, async () => {
                expect(busy.has(key)).toBe(false)
                busy.add(key)
                await Promise.resolve()
                busy.delete(key)
                done[key]!.push(index)
                if (fails) throw new Error('no')
              }),
            ),
          )
          for (const key of ['a', 'b'])
            expect(done[key]).toEqual(
              acts.flatMap((act, index) => (act.key === key ? [index] : [])),
            )
          await new Promise((resolve) => setImmediate(resolve))
          expect(turns.size).toBe(0)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('give back what the act gives', async () => {
    const turns = new Turns()
    expect(await turns.take('a', async () => 7)).toBe(7)
    await expect(turns.take('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  })
})
