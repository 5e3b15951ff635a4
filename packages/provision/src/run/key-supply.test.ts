import { describe, expect, it } from 'vitest'
import { KeySupply } from './key-supply.ts'

describe('KeySupply', () => {
  it.each([0, 2])('gives each key once, %i of them wanted for certain', async (wanted) => {
    const keys = new KeySupply(wanted)
    const made = await Promise.all([keys.take(), keys.take(), keys.take()])
    expect(new Set(made.map((key) => key.exportPem())).size).toBe(3)
  })
})
