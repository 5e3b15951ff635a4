import { describe, expect, it } from 'vitest'
import { SpareMemory } from './spare-memory.ts'

describe('SpareMemory', () => {
  it('uses memory again, and empties the views on it first', () => {
    const memory = new SpareMemory(1000)
    expect(memory.take(400)).toBeUndefined()
    const view = new Uint8Array(400).fill(5)
    const { buffer } = view
    memory.giveBack(buffer)
    expect(view).toHaveLength(0)
    memory.giveBack(buffer)
    expect(new Uint8Array(memory.take(390)!)[0]).toBe(5)
    expect(memory.take(390)).toBeUndefined()
  })

  it('hands out nothing much longer than asked for, and keeps no more than it may', () => {
    const memory = new SpareMemory(1000)
    memory.giveBack(new Uint8Array(900).buffer)
    expect(memory.take(100)).toBeUndefined()
    memory.giveBack(new Uint8Array(600).fill(2).buffer)
    expect(memory.take(800)).toBeUndefined()
    expect(new Uint8Array(memory.take(600)!)[0]).toBe(2)
    memory.giveBack(new Uint8Array(1001).buffer)
    expect(memory.take(1001)).toBeUndefined()
  })
})
