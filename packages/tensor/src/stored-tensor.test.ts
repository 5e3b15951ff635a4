import { blocksOf, bytesOf } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../contract/test/memory-byte-store.ts'
import { encodeSafetensors } from './safetensors.ts'
import { elementBlocks, storedElementsOf, storeTensor } from './stored-tensor.ts'
import { isTensor, Tensor, tensorBytes } from './tensor.ts'

const counting = (length: number): Tensor =>
  new Tensor(
    'float32',
    [length],
    Float32Array.from({ length }, (_, i) => i),
  )

describe('stored tensors', () => {
  it('are tensors like others, their elements fetched when somebody looks', async () => {
    const store = new MemoryByteStore()
    const tensor = new Tensor('int16', [2, 3], Int16Array.of(1, 2, 3, 4, 5, -6), 'torch')
    const stored = storeTensor(tensor, store)
    expect(isTensor(stored) && stored instanceof Tensor).toBe(true)
    expect(stored).toMatchObject({ dtype: 'int16', shape: [2, 3], framework: 'torch' })
    expect([...stored.data]).toEqual([1, 2, 3, 4, 5, -6])
    expect(tensorBytes(stored)).toEqual(tensorBytes(tensor))
    storedElementsOf(stored)?.release()
    expect(store.held).toBe(0)
    expect(storedElementsOf(tensor)).toBeUndefined()
  })

  it('fetch once for a loop over them', async () => {
    const store = new MemoryByteStore()
    const stored = storeTensor(counting(1000), store)
    expect(stored.data).toBe(stored.data)
  })

  it('cannot be read when they were given up', async () => {
    const stored = storeTensor(counting(10), new MemoryByteStore())
    storedElementsOf(stored)?.release()
    expect(() => stored.data).toThrow(RangeError)
  })

  it('leave nothing behind in a store that failed', async () => {
    const store = new MemoryByteStore()
    store.roomBytes = 10
    expect(() => storeTensor(counting(10), store)).toThrow('no space left')
    expect(store.held).toBe(0)
  })

  it('come in blocks that are the bytes of all', async () => {
    const tensor = counting(700_001)
    const stored = storeTensor(tensor, new MemoryByteStore())
    const blocks: Buffer[] = []
    for (const block of elementBlocks(stored)) blocks.push(Buffer.from(block))
    expect(blocks.length).toBe(3)
    expect(Buffer.concat(blocks).equals(tensorBytes(tensor))).toBe(true)
    expect([...elementBlocks(tensor)]).toEqual([tensorBytes(tensor)])
  })

  it('are written to safetensors files as others are', async () => {
    const store = new MemoryByteStore()
    const tensors = new Map([
      ['b', counting(300_000)],
      ['a', counting(3)],
    ])
    const stored = new Map<string, Tensor>()
    for (const [name, tensor] of tensors) stored.set(name, storeTensor(tensor, store))
    const parts: Buffer[] = []
    for (const part of blocksOf(encodeSafetensors(stored))) parts.push(Buffer.from(part))
    expect(
      Buffer.concat(parts).equals(Buffer.concat(encodeSafetensors(tensors).map(bytesOf))),
    ).toBe(true)
  })
})
