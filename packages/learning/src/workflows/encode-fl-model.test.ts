import { storeTensor, Tensor } from '@hanse/tensor'
import { expect, it } from 'vitest'
import { MemoryByteStore } from '../../../contract/test/memory-byte-store.ts'
import { encodeFLModel } from './encode-fl-model.ts'

const bytesOf = (parts: Iterable<Uint8Array>): Buffer => {
  const copies: Buffer[] = []
  for (const part of parts) copies.push(Buffer.from(part))
  return Buffer.concat(copies)
}

it('writes stored arrays as others', async () => {
  const store = new MemoryByteStore()
  const tensor = (length: number, framework?: 'torch') =>
    new Tensor(
      'float32',
      [length],
      Float32Array.from({ length }, (_, i) => length + i),
      framework,
    )
  const params = new Map([
    ['long', tensor(600_000)],
    ['in memory', tensor(300_001)],
    ['torch', tensor(300_000, 'torch')],
    ['short', tensor(2)],
  ])
  const stored = new Map(params)
  for (const name of ['long', 'torch', 'short'])
    stored.set(name, storeTensor(params.get(name)!, store))
  const model = { meta: new Map([['round', 3]]), currentRound: 3 }
  expect(
    bytesOf(encodeFLModel({ ...model, params: stored })).equals(
      bytesOf(encodeFLModel({ ...model, params })),
    ),
  ).toBe(true)
})
