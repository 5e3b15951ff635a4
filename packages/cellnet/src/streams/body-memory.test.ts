import { describe, expect, it } from 'vitest'
import { BodyMemory } from './body-memory.ts'
import { PartList } from './part-list.ts'

describe('BodyMemory', () => {
  it('uses memory again, and empties the views on it first', () => {
    const memory = new BodyMemory(1000)
    const buffer = memory.take(400)
    const view = new Uint8Array(buffer).fill(5)
    memory.giveBack(buffer)
    expect(view).toHaveLength(0)
    memory.giveBack(buffer)
    expect(new Uint8Array(memory.take(390))[0]).toBe(5)
    expect(new Uint8Array(memory.take(390))[0]).toBe(0)
  })

  it('hands out nothing much longer than asked for, and keeps no more than it may', () => {
    const memory = new BodyMemory(1000)
    memory.giveBack(new Uint8Array(900).fill(1).buffer)
    expect(memory.take(100).byteLength).toBe(100)
    memory.giveBack(new Uint8Array(600).fill(2).buffer)
    expect(new Uint8Array(memory.take(800))[0]).toBe(0)
    expect(new Uint8Array(memory.take(600))[0]).toBe(2)
    memory.giveBack(new Uint8Array(1001).buffer)
    expect(memory.take(1001).byteLength).toBe(1001)
  })

  it('shows of a body that broke off nothing that another left there', () => {
    const memory = new BodyMemory(1_000_000)
    memory.giveBack(new Uint8Array(500_064).fill(7).buffer)
    const list = new PartList(memory)
    list.expect({ bytes: 500_000 })
    list.push(new Uint8Array(100_000).fill(1))
    expect(list.release).toBeDefined()
    const parts = list.take()
    expect(parts.map(({ length }) => length)).toEqual([100_000])
    expect(parts[0]!.every((byte) => byte === 1)).toBe(true)
  })
})
