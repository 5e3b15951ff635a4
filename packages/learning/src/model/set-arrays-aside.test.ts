import { silentLogger } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import { isTensor, storedElementsOf, Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../../contract/test/memory-byte-store.ts'
import { releaseArrays, setArraysAside } from './set-arrays-aside.ts'

const piece = new Uint8Array(4096)
/** Tensors that are views on one received piece. */
const long = new Tensor('uint8', [3000], piece.subarray(0, 3000).fill(1))
const short = new Tensor('uint8', [4], piece.subarray(3000, 3004).fill(2))

describe('setArraysAside', () => {
  it('leaves no view on the piece: long arrays are stored, short ones copied', async () => {
    const store = new MemoryByteStore(1000)
    const moved = await setArraysAside(
      store,
      silentLogger,
    )(
      new Map([
        ['T0', long],
        ['T1', short],
      ]),
    )
    const [a, b] = [...(moved?.values() ?? [])] as Tensor[]
    expect(storedElementsOf(a!)).toBeDefined()
    expect(storedElementsOf(b!)).toBeUndefined()
    expect(b!.data.buffer).not.toBe(piece.buffer)
    expect([a!.data.at(-1), b!.data.at(-1)]).toEqual([1, 2])
    expect(store.held).toBe(1)
  })

  it.each([
    ['short arrays', new Map<string, unknown>([['T0', short]])],
    [
      'anything that is no array',
      new Map<string, unknown>([
        ['T0', long],
        ['T1', 'x'],
      ]),
    ],
  ])('leaves %s where they are', async (_name, items) => {
    const store = new MemoryByteStore(1000)
    expect(await setArraysAside(store, silentLogger)(items)).toBeUndefined()
    expect(store.held).toBe(0)
  })

  it('leaves the piece in memory when the disk is full, and nothing of it on the disk', async () => {
    const store = new MemoryByteStore(1000)
    store.roomBytes = 4000
    const items = new Map([
      ['T0', long],
      ['T1', long],
    ])
    expect(await setArraysAside(store, silentLogger)(items)).toBeUndefined()
    expect(store.held).toBe(0)
  })
})

describe('releaseArrays', () => {
  it('gives up every stored array of a message, wherever it is', async () => {
    const store = new MemoryByteStore(1000)
    const aside = setArraysAside(store, silentLogger)
    const moved = await aside(
      new Map([
        ['T0', long],
        ['T1', long],
      ]),
    )
    const [a, b] = [...(moved?.values() ?? [])].filter(isTensor)
    const message = new Shareable()
    message.content.set('DXO', new Map([['data', new Map([['w', a!]])]]))
    message.content.set('list', [b!, 1, 'x', null])
    releaseArrays(message)
    releaseArrays(message)
    expect(store.held).toBe(0)
    expect(() => a!.data).toThrow(RangeError)
  })
})
