import { type BytePart, bytesOf, type StoredBytes, silentLogger, stretchOf } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { MemoryByteStore } from '../../../contract/test/memory-byte-store.ts'
import { ManualClock } from '../../test/streams/manual-clock.ts'
import { MemoryNetwork } from '../../test/streams/memory-network.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import type { StreamOptions } from '../streams/stream-options.ts'
import { createStreams } from '../streams/streams.ts'
import { createDownloads } from './downloads.ts'

const MIB = 1024 * 1024
const LONG = 5 * MIB

function stage(options: Partial<StreamOptions> = {}) {
  const network = new MemoryNetwork()
  const clock = new ManualClock()
  const cell = (fqcn: string) => {
    const parts = { port: network.port(fqcn), clock, logger: silentLogger, random: testRandom }
    const streams = createStreams(parts, { chunkBytes: 256 * 1024, ...options })
    return { ...parts, streams }
  }
  const [server, site] = [cell('server'), cell('site-1')]
  return { server, site, downloads: createDownloads(site) }
}

function bytes(length: number): Uint8Array {
  return new Uint8Array(length).map((_zero, index) => index * 7 + (index >> 9))
}

const CONTENT = bytes(LONG)

async function pull(
  { server, downloads }: ReturnType<typeof stage>,
  items: readonly (readonly BytePart[])[],
  store: MemoryByteStore,
): Promise<BytePart[]> {
  const offer = createDownloads(server).offer(
    [{ kind: 'items', count: items.length, item: (index) => items[index]!, pieceBytes: MIB }],
    { receivers: ['site-1'] },
  )
  const got: BytePart[] = []
  await downloads.pull(
    'server',
    offer.refIds[0]!,
    { kind: 'items', store },
    { piece: (data) => void got.push(...data) },
  )
  return got
}

const isStored = (part: BytePart): part is StoredBytes => !(part instanceof Uint8Array)

describe('downloads with a store', () => {
  it('go there as they come when they are long, and release it when they are released', async () => {
    const store = new MemoryByteStore()
    const [short, long] = [bytes(1000), CONTENT]
    const got = await pull(stage(), [[short], [long]], store)
    expect(got.map(isStored)).toEqual([false, true])
    expect(got.map((part) => Buffer.compare(bytesOf(part), isStored(part) ? long : short))).toEqual(
      [0, 0],
    )
    expect(store.held).toBe(1)
    got.filter(isStored)[0]!.release()
    expect(store.held).toBe(0)
  })

  it('are sent from a store without being in memory, in chunks that cross its parts', async () => {
    const source = new MemoryByteStore().reserve(LONG)
    source.write(CONTENT, 0)
    const reads: number[] = []
    const watched: StoredBytes = {
      ...source,
      read(target, offset) {
        reads.push(target.length)
        source.read(target, offset)
      },
    }
    const head = bytes(100)
    const item = [head, stretchOf(watched, 10, LONG - 20), head]
    const [got] = await pull(stage(), [item], new MemoryByteStore())
    const expected = Buffer.concat([head, CONTENT.subarray(10, LONG - 10), head])
    expect(Buffer.compare(bytesOf(got!), expected)).toBe(0)
    expect(Math.max(...reads)).toBeLessThanOrEqual(256 * 1024)
  })

  it('take no room of the memory for bodies', async () => {
    const store = new MemoryByteStore()
    const small = stage({ maxBufferedBytes: MIB, maxBufferedBytesPerPeer: MIB })
    const [got] = await pull(small, [[CONTENT]], store)
    expect(Buffer.compare(bytesOf(got!), CONTENT)).toBe(0)
  })

  it('come back to memory when the disk is full', async () => {
    const store = new MemoryByteStore()
    store.roomBytes = 3 * MIB
    const [got] = await pull(stage(), [[CONTENT]], store)
    expect(isStored(got!)).toBe(false)
    expect(Buffer.compare(bytesOf(got!), CONTENT)).toBe(0)
    expect(store.held).toBe(0)
  })

  it('fail when the disk is full and memory has no room for them', async () => {
    const store = new MemoryByteStore()
    store.roomBytes = 3 * MIB
    const small = stage({ maxBufferedBytes: MIB, maxBufferedBytesPerPeer: MIB })
    const pulling = pull(small, [[CONTENT]], store)
    pulling.catch(() => {})
    await expect.poll(() => store.held).toBe(0)
    expect(small.site.streams.stats().incoming).toBe(0)
  })

  it('stay in memory when a source answers with one long main section', async () => {
    const { server, site } = stage()
    const store = new MemoryByteStore()
    const body = { encoding: 'fobs', parts: [longMain(LONG)] } as const
    server.streams.handle('*', '*', () => ({ body }), { raw: true })
    const reply = await site.streams.request(
      'server',
      'c',
      't',
      { encoding: 'none', parts: [] },
      { store },
    )
    expect(reply.body.stored).toBeUndefined()
    expect(Buffer.compare(Buffer.concat(reply.body.parts), body.parts[0])).toBe(0)
    expect(store.held).toBe(0)
  })

  it('leave nothing in the store when the piece is no answer', async () => {
    const { server, downloads } = stage()
    const store = new MemoryByteStore()
    const main = longMain(100)
    const garbage = new Uint8Array(LONG)
    garbage.set(main)
    server.streams.handle('*', '*', () => ({ body: { encoding: 'fobs', parts: [garbage] } }), {
      raw: true,
    })
    const pulling = downloads.pull(
      'server',
      'ref',
      { kind: 'items', store },
      { piece: () => expect.fail('a piece') },
    )
    await expect(pulling).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_PROTOCOL' })
    expect(store.held).toBe(0)
  })
})

/** The start of an envelope whose main section fills `length` bytes. */
function longMain(length: number): Uint8Array {
  const envelope = new Uint8Array(length)
  const view = new DataView(envelope.buffer)
  view.setUint8(0, 100)
  view.setBigUint64(2, BigInt(length - 10))
  return envelope
}
