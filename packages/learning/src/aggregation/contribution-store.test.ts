import { silentLogger } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  type DType,
  fromNumbers,
  storedElementsOf,
  storeTensor,
  Tensor,
  type TypedArray,
  tensorBytes,
  toNumbers,
  weightedMean,
} from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../../contract/test/memory-byte-store.ts'
import { settled } from '../../test/manual-clock.ts'
import { MemorySpools } from '../../test/memory-spools.ts'
import {
  type Contribution,
  type ContributionStore,
  createContributionStores,
} from './contribution-store.ts'

const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const contribution = (
  site: string,
  params: Record<string, FobsValue>,
  weight = 1,
  kind = 'FULL',
): Contribution => ({ site, params: new Map(Object.entries(params)), weight, kind })

function setUp(
  options: Parameters<typeof createContributionStores>[1] = {},
  spools?: MemorySpools,
) {
  return createContributionStores({ log: silentLogger, ...(spools ? { spools } : {}) }, options)
}

async function meanOf(contributions: readonly Contribution[], store: ContributionStore) {
  for (const one of contributions) expect(await store.add(one)).toMatchObject({ accepted: true })
  return store.mean()
}

/** Equal in every bit, NaN and signed zeros included. */
function bitsOf(params: ReadonlyMap<string, FobsValue>): unknown {
  return [...params].map(([name, value]) =>
    value instanceof Tensor
      ? [name, value.dtype, value.shape, Buffer.from(tensorBytes(value)).toString('hex')]
      : [name, value],
  )
}

const arbitraryTensor = fc
  .record({
    dtype: fc.constantFrom<DType>('float16', 'float32', 'float64', 'int32', 'complex64'),
    shape: fc.constantFrom<readonly number[]>([], [1], [3], [2, 3], [2, 1, 2], [1, 2, 1, 3]),
    seed: fc.integer(),
  })
  .map(({ dtype, shape, seed }) => {
    const count =
      shape.reduce((product, size) => product * size, 1) * (dtype === 'complex64' ? 2 : 1)
    const values = Array.from(
      { length: count },
      (_, i) => Math.sin(seed + i * 7919) * 10 ** (i % 5),
    )
    return new Tensor(dtype, shape, fromNumbers(dtype, values))
  })

describe('ContributionStore', () => {
  it('gives the weighted mean per parameter, over the sites that sent it', async () => {
    const { params, sites } = await meanOf(
      [
        contribution('site-2', { a: f32(1.75), b: f32(8), n: 3 }, 40),
        contribution(
          'site-1',
          { a: f32(0.25), c: new Tensor('int32', [], Int32Array.of(7)), n: 0 },
          20,
        ),
      ],
      setUp().create(),
    )
    expect(sites).toEqual(['site-1', 'site-2'])
    expect(params).toEqual(
      new Map<string, FobsValue>([
        ['a', f32(1.25)],
        ['c', new Tensor('float64', [], Float64Array.of(7))],
        ['n', 2],
        ['b', f32(8)],
      ]),
    )
  })

  it('gives the same bits whatever the order of arrival, in memory or spooled', async () => {
    const weights = fc.oneof(
      fc.integer({ min: 1, max: 1000 }),
      fc.double({ min: 0.01, max: 100, noNaN: true }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            weight: weights,
            keys: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
            scale: fc.float({ noNaN: true }),
          }),
          { minLength: 1, maxLength: 6 },
        ),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), arbitraryTensor, { minKeys: 3, maxKeys: 3 }),
        fc.infiniteStream(fc.nat()),
        async (parts, shapes, randoms) => {
          const all = parts.map(({ weight, keys, scale }, i) =>
            contribution(
              `site-${i}`,
              Object.fromEntries(
                keys.map((key) => {
                  const { dtype, shape, data } = shapes[key]!
                  const scaled = fromNumbers(
                    dtype,
                    Float64Array.from(toNumbers(dtype, data)).map((v) => v * (scale % 100)),
                  )
                  return [key, new Tensor(dtype, shape, scaled)]
                }),
              ),
              weight,
            ),
          )
          const shuffled = all
            .map((one) => [randoms.next().value, one] as const)
            .sort(([a], [b]) => a - b)
            .map(([, one]) => one)
          const straight = await meanOf(all, setUp().create())
          const other = await meanOf(
            shuffled,
            setUp({ memoryBytes: 30 }, new MemorySpools()).create(),
          )
          expect(bitsOf(other.params)).toEqual(bitsOf(straight.params))
          // And they are those of the plain kernel in sorted order.
          for (const [name, value] of straight.params) {
            const own = all.flatMap(({ params, weight }) => {
              const tensor = params.get(name)
              return tensor instanceof Tensor ? [{ tensor, weight }] : []
            })
            expect(bitsOf(new Map([[name, value]]))).toEqual(
              bitsOf(new Map([[name, weightedMean(own)]])),
            )
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  it('spools what is over the budget, reads it in blocks and deletes it', async () => {
    const spools = new MemorySpools()
    const stores = setUp({ memoryBytes: 1_000_000 }, spools)
    const length = 200_000
    const big = (k: number): Tensor =>
      new Tensor(
        'float32',
        [length],
        Float32Array.from({ length }, (_, i) => i * k),
      )
    {
      await using store = stores.create()
      const { params } = await meanOf(
        ['a', 'b', 'c'].map((site, i) => contribution(site, { w: big(i + 1) }, 1)),
        store,
      )
      expect((params.get('w') as Tensor).data).toEqual(big(2).data)
      expect(spools).toMatchObject({ created: 2, alive: 2, largestRead: 64 * 1024 * 4 })
    }
    expect(spools.alive).toBe(0)
    // The budget is free again.
    await using store = stores.create()
    expect(await store.add(contribution('a', { w: big(1) }))).toMatchObject({ accepted: true })
    expect(spools.created).toBe(2)
  })

  it('gives the same bits when arrays are stored, and releases those of contributions', async () => {
    const arrays = new MemoryByteStore(1000)
    const tensor = (seed: number) =>
      new Tensor(
        'float32',
        [100_003],
        Float32Array.from({ length: 100_003 }, (_, i) => Math.sin(seed + i)),
      )
    const sites = [1, 2, 3].map((seed) => ({ site: `site-${seed}`, w: tensor(seed), b: f32(seed) }))
    await using inMemory = setUp().create()
    const expected = await meanOf(
      sites.map(({ site, w, b }) => contribution(site, { w, b })),
      inMemory,
    )
    const stores = createContributionStores({ log: silentLogger, arrays }, { memoryBytes: 100 })
    const store = stores.create()
    const stored = await Promise.all(
      sites.map(async ({ site, w, b }) => contribution(site, { w: storeTensor(w, arrays), b })),
    )
    const mean = await meanOf(stored.reverse(), store)
    expect(arrays.held).toBe(4)
    await store.clear()
    expect(arrays.held).toBe(1)
    expect(storedElementsOf(mean.params.get('w') as Tensor)).toBeDefined()
    expect(bitsOf(mean.params)).toEqual(bitsOf(expected.params))
  })

  it('says what does not fit when a mean cannot be written, and keeps nothing of it', async () => {
    const arrays = new MemoryByteStore()
    await using store = createContributionStores({ log: silentLogger, arrays }).create()
    await store.add(contribution('a', { w: new Tensor('float32', [1000], new Float32Array(1000)) }))
    arrays.roomBytes = 100
    await expect(store.mean()).rejects.toThrow(
      'the mean of 1 MB does not fit on the disk beside the contributions: no space left',
    )
    expect(arrays.held).toBe(0)
  })

  it('lets other work have its turn during a long sum', async () => {
    const store = setUp().create()
    const big = new Tensor('float32', [3_000_000], new Float32Array(3_000_000))
    await store.add(contribution('a', { w: big }))
    let turns = 0
    const ticking = setInterval(() => turns++, 0)
    await store.mean()
    clearInterval(ticking)
    expect(turns).toBeGreaterThanOrEqual(2)
  })

  it('counts nothing of a contribution whose spool fails', async () => {
    const spools = new MemorySpools()
    const store = setUp({ memoryBytes: 0 }, spools).create()
    await store.add(contribution('a', { w: f32(1) }))
    spools.failAppend = true
    await expect(store.add(contribution('b', { w: f32(100) }))).rejects.toThrow('disk full')
    expect(spools.alive).toBe(1)
    expect((await store.mean()).params).toEqual(new Map([['w', f32(1)]]))
    // The site may try again.
    spools.failAppend = false
    expect(await store.add(contribution('b', { w: f32(3) }))).toMatchObject({ accepted: true })
    expect((await store.mean()).params).toEqual(new Map([['w', f32(2)]]))
  })

  it('does not count what is still being spooled when the round is over', async () => {
    const spools = new MemorySpools()
    const gate = Promise.withResolvers<void>()
    spools.gate = gate.promise
    const store = setUp({ memoryBytes: 0 }, spools).create()
    const arriving = store.add(contribution('a', { w: f32(1) }))
    await settled()
    expect(await store.add(contribution('a', { w: f32(1) }))).toMatchObject({ accepted: false })
    await store.clear()
    gate.resolve()
    expect(await arriving).toEqual({ accepted: false, reason: 'the round is over' })
    expect(spools.alive).toBe(0)
  })

  it.each<[string, Contribution, RegExp]>([
    ['a second one of a site', contribution('known', { w: f32(1) }), /before/],
    ['an empty one', contribution('x', {}), /empty/],
    ['a weight that is no number', contribution('x', { w: f32(1) }, Number.NaN), /weight NaN/],
    ['a negative weight', contribution('x', { w: f32(1) }, -1), /weight -1/],
    ['text as a parameter', contribution('x', { w: 'text' }), /neither an array nor a number/],
    ['a list as a parameter', contribution('x', { w: [1, 2] }), /neither an array nor a number/],
    ['too many parameters', contribution('x', { a: 1, b: 2, c: 3 }), /more than 2/],
    [
      'what does not fit the memory without a spool',
      contribution('x', { w: f32(...Array<number>(100).fill(0)) }),
      /no spool/,
    ],
  ])('refuses %s', async (_, one, reason) => {
    const store = setUp({ maxParams: 2, memoryBytes: 100 }).create()
    await store.add(contribution('known', { w: f32(1) }))
    expect(await store.add(one)).toEqual({ accepted: false, reason: expect.stringMatching(reason) })
    expect((await store.mean()).sites).toEqual(['known'])
  })

  it('limits the number of contributions', async () => {
    const store = setUp({ maxContributions: 1 }).create()
    await store.add(contribution('a', { w: f32(1) }))
    expect(await store.add(contribution('b', { w: f32(1) }))).toMatchObject({ accepted: false })
  })

  it('leaves out whole what does not fit the majority, in any order', async () => {
    const all = [
      contribution('a-liar', { w: f32(1, 1), other: f32(5) }),
      contribution('b', { w: f32(2) }),
      contribution('c', { w: f32(4) }),
      contribution('d', { w: f32(9) }, 1, 'DIFF'),
      contribution('e', { w: 3 }),
    ]
    for (const order of [all, all.toReversed()]) {
      const { params, sites, leftOut } = await meanOf(order, setUp().create())
      expect(params).toEqual(new Map([['w', f32(3)]]))
      expect(sites).toEqual(['b', 'c'])
      expect(leftOut.map(({ site }) => site)).toEqual(['a-liar', 'd', 'e'])
    }
  })

  it('lets a site without weight take part without adding anything', async () => {
    const { params, sites } = await meanOf(
      [contribution('a', { w: f32(Number.NaN) }, 0), contribution('b', { w: f32(2) }, 5)],
      setUp().create(),
    )
    expect(params).toEqual(new Map([['w', f32(2)]]))
    expect(sites).toEqual(['a', 'b'])
    const store = setUp().create()
    await store.add(contribution('a', { w: f32(1) }, 0))
    await expect(store.mean()).rejects.toMatchObject({ code: 'ERR_ROUND' })
  })

  it('says so when there is nothing', async () => {
    await expect(setUp().create().mean()).rejects.toMatchObject({ code: 'ERR_ROUND' })
  })

  it('keeps PyTorch tensors what they are', async () => {
    const torch = (dtype: DType, data: TypedArray): Tensor => new Tensor(dtype, [1], data, 'torch')
    const { params } = await meanOf(
      [
        contribution('a', {
          w: torch('bfloat16', Uint16Array.of(0x3f80)),
          n: torch('int64', BigInt64Array.of(3n)),
        }),
        contribution('b', {
          w: torch('bfloat16', Uint16Array.of(0x4040)),
          n: torch('int64', BigInt64Array.of(4n)),
        }),
      ],
      setUp().create(),
    )
    expect(params).toEqual(
      new Map([
        ['w', torch('bfloat16', Uint16Array.of(0x4000))],
        ['n', torch('float32', Float32Array.of(3.5))],
      ]),
    )
  })
})
