import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReceiveBudget, type Reservation } from './receive-budget.ts'

describe('ReceiveBudget', () => {
  it('never promises more than it has, and forgets nobody who waits', () => {
    const step = fc.record({
      family: fc.constantFrom('site-1', 'site-2', 'site-3'),
      bytes: fc.integer({ min: 0, max: 60 }),
      wait: fc.boolean(),
      release: fc.nat(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const budget = new ReceiveBudget(100, 60)
        const held: { family: string; reservation: Reservation }[] = []
        let waiting = 0
        for (const { family, bytes, wait, release } of steps) {
          const granted = (reservation: Reservation) => held.push({ family, reservation })
          if (wait) {
            waiting += 1
            budget.whenRoom(family, bytes, (reservation) => {
              waiting -= 1
              granted(reservation)
            })
          } else {
            const reservation = budget.tryReserve(family, bytes)
            if (reservation !== undefined) granted(reservation)
          }
          if (held.length > 0) held.splice(release % held.length, 1)[0]!.reservation.release()
          const sum = held.reduce((total, { reservation }) => total + reservation.bytes, 0)
          expect(budget.used).toBe(sum)
          expect(sum).toBeLessThanOrEqual(100)
          for (const name of ['site-1', 'site-2', 'site-3']) {
            const ofFamily = held.filter((it) => it.family === name)
            expect(
              ofFamily.reduce((total, { reservation }) => total + reservation.bytes, 0),
            ).toBeLessThanOrEqual(60)
          }
        }
        for (let guard = 0; held.length > 0 && guard < 1000; guard++)
          held.shift()!.reservation.release()
        // Waiting is woken by a release only: make one.
        budget.tryReserve('site-1', 0)?.release()
        while (held.length > 0) held.shift()!.reservation.release()
        expect(waiting).toBe(0)
        expect(budget.used).toBe(0)
      }),
    )
  })

  it('gives back once, however often it is asked to', () => {
    const budget = new ReceiveBudget(10, 10)
    const reservation = budget.tryReserve('site-1', 4)!
    reservation.release()
    reservation.release()
    expect(budget.used).toBe(0)
  })

  it('does not let small bodies starve a large one of the same peer', () => {
    const budget = new ReceiveBudget(10, 10)
    const first = budget.tryReserve('site-1', 6)!
    const granted: number[] = []
    budget.whenRoom('site-1', 8, () => granted.push(8))
    budget.whenRoom('site-1', 2, () => granted.push(2))
    budget.tryReserve('site-2', 1)!.release()
    expect(granted).toEqual([])
    first.release()
    expect(granted).toEqual([8, 2])
  })
})
