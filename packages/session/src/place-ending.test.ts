import { expect, it } from 'vitest'
import { fakeClock } from '../../cellnet/test/fake-clock.ts'
import { PlaceEnding } from './place-ending.ts'

function setUp() {
  const clock = fakeClock()
  const outer = new AbortController()
  return { clock, outer, ending: new PlaceEnding(clock, outer.signal) }
}

it('ends a moment after it was asked to, as the first wished', () => {
  const { clock, ending } = setUp()
  ending.end('restart')
  ending.end('stop')
  expect(ending.signal.aborted).toBe(false)
  clock.advance(1_000)
  expect(ending.signal.aborted).toBe(true)
  expect(ending.how).toBe('restart')
})

it('stops when its process is told to, whatever a person asked before', () => {
  const { clock, outer, ending } = setUp()
  ending.end('restart')
  outer.abort(new Error('asked to stop'))
  clock.advance(1_000)
  expect(ending.how).toBe('stop')
  expect(ending.signal.reason).toBe(outer.signal.reason)
})

it('leaves nothing at the signal of its process', () => {
  const { clock, outer, ending } = setUp()
  ending.end('restart')
  ending[Symbol.dispose]()
  clock.advance(1_000)
  outer.abort()
  expect(ending.signal.aborted).toBe(false)
})

it('is over at once if its process was told before', () => {
  expect(new PlaceEnding(fakeClock(), AbortSignal.abort()).signal.aborted).toBe(true)
})
