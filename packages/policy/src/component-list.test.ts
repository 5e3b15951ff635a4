import { describe, expect, it } from 'vitest'
import { allowsComponent } from './component-list.ts'

describe('a list of components', () => {
  it.each([
    ['a.b.C', 'a.b.C', true],
    ['a.b', 'a.b.C', true],
    ['a.b.', 'a.b.C', true],
    ['*', 'x.Y', true],
    ['a.b.C', 'a.b.CD', false],
    ['a.b.C', 'a.b', false],
    ['a.b.', 'a.bc.D', false],
    ['', 'a.b', false],
    ['.', 'a.b', false],
  ])('%j and %j: %s', (entry, path, allowed) => {
    expect(allowsComponent(['other.X', entry], path)).toBe(allowed)
  })

  it('without entries allows nothing', () => {
    expect(allowsComponent([], 'a.B')).toBe(false)
  })
})
