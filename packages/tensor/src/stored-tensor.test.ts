import { describe, expect, it } from 'vitest'
import { MemoryArrayStore } from '../test/memory-array-store.ts'
import { encodeSafetensors, safetensorsParts } from './safetensors.ts'
import { elementBlocks, elementsWithin, storedElementsOf, storeTensor } from './stored-tensor.ts'
import { isTensor, Tensor, tensorBytes } from './tensor.ts'

const counting = (length: number): Tensor =>
  new Tensor(
    'float32',
    [length],
    Float32Array.from({ length }, (_, i) => i),
  )

describe('stored tensors', () => {
  it('are tensors like others, their elements fetched when somebody looks', async () => {
    const store = new MemoryArrayStore()
    const tensor = new Tensor('int16', [2, 3], Int16Array.of(1, 2, 3, 4, 5, -6), 'torch')
    const stored = await storeTensor(tensor, store)
    expect(isTensor(stored) && stored instanceof Tensor).toBe(true)
    expect(stored).toMatchObject({ dtype: 'int16', shape: [2, 3], framework: 'torch' })
    expect([...stored.data]).toEqual([1, 2, 3, 4, 5, -6])
    expect(tensorBytes(stored)).toEqual(tensorBytes(tensor))
    storedElementsOf(stored)?.release()
    expect(store.held).toBe(0)
    expect(storedElementsOf(tensor)).toBeUndefined()
  })

  it('fetch once for a loop over them', async () => {
    const store = new MemoryArrayStore()
    const stored = await storeTensor(counting(1000), store)
    expect(stored.data).toBe(stored.data)
  })

  it('cannot be read when they were given up', async () => {
    const stored = await storeTensor(counting(10), new MemoryArrayStore())
    storedElementsOf(stored)?.release()
    expect(() => stored.data).toThrow(RangeError)
  })

  it('leave nothing behind in a store that failed', async () => {
    const store = new MemoryArrayStore()
    store.roomBytes = 10
    await expect(storeTensor(counting(10), store)).rejects.toThrow('no space left')
    expect(store.held).toBe(0)
  })

  it('come in blocks that are the bytes of all', async () => {
    const tensor = counting(700_001)
    const stored = await storeTensor(tensor, new MemoryArrayStore())
    const blocks: Buffer[] = []
    for (const block of elementBlocks(stored)) blocks.push(Buffer.from(block))
    expect(blocks.length).toBe(3)
    expect(Buffer.concat(blocks).equals(tensorBytes(tensor))).toBe(true)
    expect([...elementBlocks(tensor)]).toEqual([tensorBytes(tensor)])
  })

  it('are written to safetensors files as others are', async () => {
    const store = new MemoryArrayStore()
    const tensors = new Map([
      ['b', counting(300_000)],
      ['a', counting(3)],
    ])
    const stored = new Map<string, Tensor>()
    for (const [name, tensor] of tensors) stored.set(name, await storeTensor(tensor, store))
    const parts: Buffer[] = []
    for (const part of safetensorsParts(stored)) parts.push(Buffer.from(part))
    expect(Buffer.concat(parts).equals(Buffer.concat(encodeSafetensors(tensors)))).toBe(true)
  })

  it('share a stretch, which is free when the last of them is given up', async () => {
    const store = new MemoryArrayStore()
    const whole = store.reserve(10)
    whole.writeNow(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0)
    const [first, second] = elementsWithin(whole, [
      { start: 0, byteLength: 4 },
      { start: 6, byteLength: 4 },
    ])
    const bytes = new Uint8Array(2)
    await second!.read(bytes, 1)
    expect([...bytes]).toEqual([7, 8])
    expect(() => first!.readNow(bytes, 3)).toThrow(RangeError)
    first!.release()
    first!.release()
    expect(() => first!.readNow(bytes, 0)).toThrow(RangeError)
    expect(store.held).toBe(1)
    second!.release()
    expect(store.held).toBe(0)
  })
})
