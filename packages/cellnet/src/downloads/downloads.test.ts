import { bytesOf, type LogFields, type Logger, silentLogger } from '@hanse/contract'
import {
  coreCodecs,
  createFobsRegistry,
  encode,
  type ItemOptions,
  LazyReference,
} from '@hanse/fobs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inMemory } from '../../test/streams/in-memory.ts'
import { ManualClock, settle } from '../../test/streams/manual-clock.ts'
import { joined, MemoryNetwork } from '../../test/streams/memory-network.ts'
import {
  encodedItems,
  StubArray,
  StubTensor,
  stubRegistry,
} from '../../test/streams/stub-arrays.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import { CellError } from '../cell-error.ts'
import type { EncodedBody } from '../streams/encoded-body.ts'
import { createStreams, type IncomingStreamReply } from '../streams/streams.ts'
import { type BodyCodecOptions, createBodyCodec } from './body-codec.ts'
import {
  readDownloadReply,
  readDownloadRequest,
  readSourceFailure,
  writeCancellation,
  writeConfirmation,
  writeEnd,
  writePiece,
  writePull,
} from './download-messages.ts'
import type { DownloadObject } from './download-object.ts'
import { DEFAULT_OFFER_LIMITS, DownloadOffers } from './download-offers.ts'
import { DOWNLOAD_CHANNEL, DOWNLOAD_TOPIC } from './download-protocol.ts'
import { DEFAULT_PULL_LIMITS, DownloadPuller, type PullSink } from './download-puller.ts'
import { createDownloads } from './downloads.ts'

const { signal } = new AbortController()

function stage(
  limits: Parameters<typeof createDownloads>[1] = {},
  codecOptions: BodyCodecOptions = {},
) {
  const network = new MemoryNetwork()
  const clock = new ManualClock()
  const lines: { level: string; message: string; fields: LogFields | undefined }[] = []
  const log = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields })
  }
  const logger: Logger = {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: () => logger,
  }
  const cell = (fqcn: string) => {
    const parts = { port: network.port(fqcn), clock, logger, random: testRandom }
    const streams = createStreams(parts, { chunkBytes: 1000, windowBytes: 5000 })
    const downloads = createDownloads({ ...parts, streams }, limits)
    const codec = createBodyCodec(
      { fqcn, registry: stubRegistry, downloads, random: testRandom },
      codecOptions,
    )
    return { streams, downloads, codec }
  }
  return { network, clock, lines, cell }
}

function bytes(length: number, seed = 7): Uint8Array {
  return Uint8Array.from({ length }, (_value, index) => (index * seed) & 0xff)
}

function fileOf(content: Uint8Array, pieceBytes?: number): DownloadObject {
  return {
    kind: 'bytes',
    pieceBytes,
    source: {
      size: content.length,
      read: async (offset, length) => content.slice(offset, offset + length),
    },
  }
}

function collector() {
  const pieces: Uint8Array[] = []
  const sink: PullSink = { piece: (data) => void pieces.push(...data.map(bytesOf)) }
  return { pieces, sink }
}

describe('downloads', () => {
  it('lays a long item in memory so that arrays in it are aligned, and in no more than its own', async () => {
    const { cell } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const item = bytes(100_000)
    const offer = server.downloads.offer([{ kind: 'items', count: 1, item: () => [item] }], {
      receivers: ['site-1'],
    })
    const { pieces, sink } = collector()
    await site.downloads.pull('server', offer.refIds[0]!, { kind: 'items' }, sink)
    expect(Buffer.compare(pieces[0]!, item)).toBe(0)
    expect(pieces[0]!.byteOffset % 64).toBe(0)
    expect(pieces[0]!.buffer.byteLength).toBeLessThan(100_500)
  })

  it('carries any object in any pieces, whatever the lengths', async () => {
    const { cell } = stage()
    const server = cell('server')
    const site = cell('site-1')
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 100 }),
        async (items, pieceBytes) => {
          const whole = joined(items)
          const offer = server.downloads.offer(
            [
              { kind: 'items', count: items.length, item: (index) => [items[index]!], pieceBytes },
              fileOf(whole, pieceBytes),
            ],
            { receivers: ['site-1'] },
          )
          const list = collector()
          const file = collector()
          await site.downloads.pull('server', offer.refIds[0]!, { kind: 'items' }, list.sink)
          await site.downloads.pull('server', offer.refIds[1]!, { kind: 'bytes' }, file.sink)
          expect(list.pieces.map((item) => [...item])).toEqual(items.map((item) => [...item]))
          expect([...joined(file.pieces)]).toEqual([...whole])
          expect(await offer.ended).toEqual({
            status: 'completed',
            succeeded: ['site-1'],
            failed: [],
          })
        },
      ),
      { numRuns: 30 },
    )
  })

  it('serves the cells below a receiver, and nobody else who knows the reference', async () => {
    const { cell, lines } = stage()
    const server = cell('server')
    const offer = server.downloads.offer([fileOf(bytes(10))], { receivers: ['site-1.job'] })
    const [refId] = offer.refIds
    for (const thief of ['site-2', 'site-1', 'site-1.other', 'site-1.jobx']) {
      const { downloads } = cell(thief)
      await expect(
        downloads.pull('server', refId!, { kind: 'bytes' }, collector().sink),
      ).rejects.toMatchObject({
        code: 'ERR_DOWNLOAD_FAILED',
        details: { returnCode: 'invalid_request' },
      })
    }
    const { pieces, sink } = collector()
    await cell('site-1.job.trainer').downloads.pull('server', refId!, { kind: 'bytes' }, sink)
    expect(joined(pieces)).toEqual(bytes(10))
    expect(await offer.ended).toMatchObject({ status: 'completed', succeeded: ['site-1.job'] })
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(4)
    expect(JSON.stringify(lines)).not.toContain(refId)
  })

  it('counts a cell for the nearest of its declared receivers', async () => {
    const { cell } = stage()
    const server = cell('server')
    const receivers = ['site-1', 'site-1.job']
    const offer = server.downloads.offer([fileOf(bytes(10))], { receivers })
    for (const fqcn of ['site-1.job.trainer', 'site-1'])
      await cell(fqcn).downloads.pull(
        'server',
        offer.refIds[0]!,
        { kind: 'bytes' },
        collector().sink,
      )
    expect(await offer.ended).toMatchObject({ status: 'completed', succeeded: receivers })
  })

  it('does not let others cancel, confirm or see the end of a download', async () => {
    const offers = new DownloadOffers(
      { clock: new ManualClock(), logger: silentLogger, random: testRandom },
      DEFAULT_OFFER_LIMITS,
    )
    const offer = offers.offer([fileOf(bytes(10))], { receivers: ['site-1', 'site-2'] })
    const refId = offer.refIds[0]!
    const say = (origin: string, body: EncodedBody) =>
      offers.serve(
        {
          origin,
          channel: '',
          topic: '',
          headers: new Map(),
          body,
          secure: false,
          expectsReply: true,
          link: undefined,
        },
        { signal },
      )
    const pullAll = async (origin: string) => {
      await say(origin, writePull(refId, undefined))
      const { body } = await say(origin, writePull(refId, { kind: 'bytes', receivedBytes: 10 }))
      const reply = readDownloadReply(inMemory(body))
      return reply.status === 'ok' ? '' : (reply.nonce ?? '')
    }
    await say('site-1', writeCancellation(refId)) // has pulled nothing yet
    const nonce = await pullAll('site-1')
    await say('site-3', writeConfirmation(refId, false, nonce))
    await say('site-2', writeConfirmation(refId, false, nonce))
    await say('site-1', writeConfirmation(refId, false, 'guess'))
    await say('site-1', writeConfirmation(refId, true, nonce))
    await say('site-1', writeConfirmation(refId, false, nonce)) // decided already
    const second = await pullAll('site-2')
    await say('site-2', writeConfirmation(refId, true, second))
    expect(await offer.ended).toEqual({
      status: 'completed',
      succeeded: ['site-1', 'site-2'],
      failed: [],
    })
    // Remembered for its receivers, for a while, and only for them.
    const again = await say('site-1', writePull(refId, undefined))
    expect(readDownloadReply(inMemory(again.body)).status).toBe('eof')
    expect(await say('site-3', writePull(refId, undefined))).toEqual({
      returnCode: 'invalid_request',
    })
    offers[Symbol.dispose]()
  })

  it('does without checksums between Hanse cells, and with them to and from stock ones', async () => {
    const { cell } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const asked: ItemOptions[] = []
    const item = (_index: number, { checksums }: ItemOptions) => {
      asked.push({ checksums })
      return [bytes(10)]
    }
    const offer = server.downloads.offer([{ kind: 'items', count: 1, item }], {
      receivers: ['site-1', 'site-2'],
    })
    const told: ItemOptions[] = []
    const sink: PullSink = { piece: (_data, _release, options) => void told.push(options) }
    const refId = offer.refIds[0]!
    await site.downloads.pull('server', refId, { kind: 'items', checksums: false }, sink)
    const stockPull = encode(new Map([['ref_id', refId]]), createFobsRegistry(coreCodecs)).parts
    const { body } = await cell('site-2').streams.request(
      'server',
      DOWNLOAD_CHANNEL,
      DOWNLOAD_TOPIC,
      { encoding: 'fobs', parts: stockPull },
    )
    expect(asked).toEqual([{ checksums: false }, { checksums: true }])
    expect(readDownloadReply(body)).toMatchObject({ status: 'ok', checksums: true })

    const stockReplies = [
      writePiece({ kind: 'items', start: 0, count: 1 }, [[bytes(10)]]),
      writeEnd('eof', undefined),
    ]
    cell('stock').streams.handle(DOWNLOAD_CHANNEL, DOWNLOAD_TOPIC, () => ({
      body: stockReplies.shift()!,
    }))
    await site.downloads.pull('stock', 'R1', { kind: 'items', checksums: false }, sink)
    expect(told).toEqual([{ checksums: false }, { checksums: true }])
  })

  it('forgets an offer that nobody pulls, and one that is cancelled', async () => {
    const { cell, clock } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const idle = server.downloads.offer([fileOf(bytes(10))], {
      receivers: ['site-1'],
      idleTimeoutMs: 60_000,
    })
    const dropped = server.downloads.offer([fileOf(bytes(10))], { receivers: ['site-1'] })
    dropped.cancel()
    await clock.advance(70_000)
    expect(await idle.ended).toEqual({ status: 'timeout', succeeded: [], failed: ['site-1'] })
    expect(await dropped.ended).toMatchObject({ status: 'cancelled' })
    for (const { refIds } of [idle, dropped])
      await expect(
        site.downloads.pull('server', refIds[0]!, { kind: 'bytes' }, collector().sink),
      ).rejects.toMatchObject({ details: { returnCode: 'invalid_request' } })
  })

  it('gives up on receivers that never begin or fall silent', async () => {
    const { cell, clock, network } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const offer = server.downloads.offer([fileOf(bytes(10), 5)], {
      receivers: ['site-1', 'site-2'],
      acquireTimeoutMs: 20_000,
      receiverIdleTimeoutMs: 30_000,
    })
    const stuck = Promise.withResolvers<void>()
    const pulling = site.downloads.pull(
      'server',
      offer.refIds[0]!,
      { kind: 'bytes' },
      { piece: () => stuck.promise },
    )
    pulling.catch(() => {})
    await clock.advance(40_000)
    expect(await offer.ended).toEqual({
      status: 'failed',
      succeeded: [],
      failed: ['site-1', 'site-2'],
    })
    stuck.resolve()
    await settle()
    expect(network.log.length).toBeGreaterThan(0)
  })

  it('retries a failed production when the receiver asks again', async () => {
    const { cell } = stage()
    const server = cell('server')
    let failures = 1
    const offer = server.downloads.offer(
      [
        {
          kind: 'items',
          count: 1,
          item: () => {
            if (failures-- > 0) throw new Error('disk')
            return [bytes(3)]
          },
        },
      ],
      { receivers: ['site-1'] },
    )
    const site = cell('site-1')
    const pull = () =>
      site.downloads.pull('server', offer.refIds[0]!, { kind: 'items' }, collector().sink)
    await expect(pull()).rejects.toMatchObject({ details: { returnCode: 'process_exception' } })
    expect(await pull()).toEqual({ bytes: 3, items: 1 })
  })

  it('cancels at the source when the receiver cannot go on, and refuses data at the end', async () => {
    const { cell } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const offerTwo = () =>
      server.downloads.offer([fileOf(bytes(10), 5), fileOf(bytes(10))], { receivers: ['site-1'] })
    const broken = offerTwo()
    const boom = new Error('disk full')
    await expect(
      site.downloads.pull(
        'server',
        broken.refIds[0]!,
        { kind: 'bytes' },
        {
          piece: () => {
            throw boom
          },
        },
      ),
    ).rejects.toBe(boom)
    // Every reference of the offer is failed for this receiver.
    expect(await broken.ended).toEqual({ status: 'failed', succeeded: [], failed: ['site-1'] })

    const refused = offerTwo()
    await expect(
      site.downloads.pull(
        'server',
        refused.refIds[0]!,
        { kind: 'bytes' },
        {
          piece: () => {},
          end: () => Promise.reject(boom),
        },
      ),
    ).rejects.toBe(boom)
    await site.downloads.pull('server', refused.refIds[1]!, { kind: 'bytes' }, collector().sink)
    expect(await refused.ended).toMatchObject({ status: 'failed' })
  })

  it('stops on abort, at once and at the source', async () => {
    const { cell } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const offer = server.downloads.offer([fileOf(bytes(100), 5)], { receivers: ['site-1'] })
    const abort = new AbortController()
    let pieces = 0
    await expect(
      site.downloads.pull(
        'server',
        offer.refIds[0]!,
        { kind: 'bytes', signal: abort.signal },
        {
          piece: () => {
            pieces += 1
            if (pieces === 3) abort.abort(new Error('enough'))
          },
        },
      ),
    ).rejects.toThrow('enough')
    expect(pieces).toBe(3)
    expect(await offer.ended).toMatchObject({ status: 'failed' })
  })

  it('aborts downloads of a source whose parent reports its death, and believes nobody else', async () => {
    const { cell, network } = stage()
    cell('site-1.job.trainer')
    const parent = cell('site-1.job')
    const server = cell('server')
    const other = cell('site-2')
    network.intercept = (letter) => (letter.to === 'site-1.job.trainer' ? [] : undefined)
    const source = 'site-1.job.trainer'
    const pulling = server.downloads.pull(source, 'ref', { kind: 'items' }, collector().sink)
    let ended = false
    void pulling.catch(() => {
      ended = true
    })
    const failure = { source, refIds: ['ref'], reason: 'exit 1' }
    expect(await other.downloads.reportSourceFailure(['server'], failure)).toEqual([])
    await settle()
    expect(ended).toBe(false)
    expect(await parent.downloads.reportSourceFailure(['server'], failure)).toEqual(['server'])
    await expect(pulling).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_FAILED' })
    await expect(
      server.downloads.pull(source, 'ref', { kind: 'items' }, collector().sink),
    ).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_FAILED' })
  })

  it('refuses offers that make no sense', () => {
    const { cell } = stage({ maxOffers: 1 })
    const { downloads } = cell('server')
    const code = 'ERR_DOWNLOAD_OPTIONS'
    const refused = expect.objectContaining({ code })
    expect(() => downloads.offer([], { receivers: ['x'] })).toThrow(refused)
    expect(() => downloads.offer([fileOf(bytes(1))], { receivers: [] })).toThrow(refused)
    const twice = { receivers: ['x'], refIds: ['a', 'a'] }
    expect(() => downloads.offer([fileOf(bytes(1)), fileOf(bytes(1))], twice)).toThrow(refused)
    downloads.offer([fileOf(bytes(1))], { receivers: ['x'], refIds: ['a'] })
    expect(() => downloads.offer([fileOf(bytes(1))], { receivers: ['x'] })).toThrow(refused)
  })
})

describe('pulling from a source that misbehaves', () => {
  function pullerOf(
    answer: (turn: number) => Partial<IncomingStreamReply>,
    clock = new ManualClock(),
  ) {
    const asked: EncodedBody[] = []
    const told: string[] = []
    const puller = new DownloadPuller(
      {
        clock,
        logger: silentLogger,
        streams: {
          request: async (target, _channel, _topic, body) => {
            asked.push(inMemory(body))
            const reply = answer(asked.length - 1)
            return {
              returnCode: 'ok',
              headers: new Map(),
              body: { encoding: 'none', parts: [] },
              origin: target,
              secure: false,
              ...reply,
            }
          },
          notify: async (_target, _channel, _topic, body) => {
            told.push(readDownloadRequest(inMemory(body)).action)
            return 'ok'
          },
        },
      },
      { ...DEFAULT_PULL_LIMITS, maxBytes: 1000, maxItems: 20 },
    )
    return { puller, clock, asked, told }
  }
  const items = (start: number, count: number, data: Uint8Array[]) => ({
    body: inMemory(
      writePiece(
        { kind: 'items', start, count },
        data.map((item) => [item]),
      ),
    ),
  })
  const pull = ({ puller }: ReturnType<typeof pullerOf>) =>
    puller.pull('server', 'ref', { kind: 'items' }, collector().sink)

  it.each([
    ['repeats a piece', () => items(0, 1, [bytes(3)])],
    ['skips items', (turn: number) => items(turn * 2, 1, [bytes(3)])],
    ['miscounts', () => items(0, 2, [bytes(3)])],
    ['sends nothing', () => items(0, 0, [])],
    [
      'sends bytes for items',
      () => ({ body: inMemory(writePiece({ kind: 'bytes', receivedBytes: 3 }, [[bytes(3)]])) }),
    ],
    ['sends garbage', () => ({ body: { encoding: 'fobs' as const, parts: [bytes(40)] } })],
    ['sends no map', () => ({ body: { encoding: 'bytes' as const, parts: [bytes(40)] } })],
  ])('fails when it %s', async (_name, answer) => {
    await expect(pull(pullerOf(answer))).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_PROTOCOL' })
  })

  it('fails past its limits on bytes and on items, and tells the source', async () => {
    const long = pullerOf((turn) => items(turn, 1, [bytes(400)]))
    await expect(pull(long)).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_LIMIT' })
    expect(long.told).toEqual(['cancel'])
    const many = pullerOf((turn) => items(turn, 1, [bytes(1)]))
    await expect(pull(many)).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_LIMIT' })
  })

  it.each(['timeout', 'comm_error', 'target_unreachable'])(
    'repeats a request that ended with %s after 2, 4 and 8 seconds, and no more',
    async (returnCode) => {
      const lost = pullerOf(() => ({ returnCode }))
      const failing = expect(pull(lost)).rejects.toMatchObject({
        code: 'ERR_DOWNLOAD_FAILED',
        details: { returnCode },
      })
      const counts: number[] = []
      for (const seconds of [0, 2, 4, 8, 100]) {
        await lost.clock.advance(seconds * 1000)
        counts.push(lost.asked.length)
      }
      expect(counts).toEqual([1, 2, 3, 4, 4])
      await failing
      expect(lost.told).toEqual([]) // never said that it understands a cancellation

      const shaky = pullerOf((turn) =>
        turn % 2 === 0
          ? { returnCode }
          : turn < 7
            ? items((turn - 1) / 2, 1, [bytes(1)])
            : { body: writeEnd('eof', 'n') },
      )
      const summary = pull(shaky)
      await shaky.clock.advance(60_000)
      expect(await summary).toEqual({ bytes: 3, items: 3 })
      expect(shaky.told).toEqual(['confirm'])
    },
  )

  it('asks again for nothing that the source refuses', async () => {
    const refused = pullerOf(() => ({ returnCode: 'unauthenticated' }))
    await expect(pull(refused)).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_FAILED' })
    expect(refused.asked).toHaveLength(1)
  })

  it('takes no longer than allowed altogether', async () => {
    const slow = pullerOf(() => ({ returnCode: 'timeout' }))
    const failing = expect(
      slow.puller.pull('server', 'ref', { kind: 'items', totalTimeoutMs: 3000 }, collector().sink),
    ).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_LIMIT' })
    await slow.clock.advance(5000)
    await failing
  })

  it('confirms a failure when the source reports an error', async () => {
    const failing = pullerOf(() => ({ body: writeEnd('error', 'nonce') }))
    await expect(pull(failing)).rejects.toMatchObject({ code: 'ERR_DOWNLOAD_FAILED' })
    expect(failing.told).toEqual(['confirm'])
  })

  it('reads any bytes as a message or throws its own error', () => {
    const readers = [readDownloadRequest, readDownloadReply, readSourceFailure]
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.constantFrom(...readers),
        (content, read) => {
          try {
            read({ encoding: 'fobs', parts: [content] })
          } catch (error) {
            expect(error).toBeInstanceOf(CellError)
          }
        },
      ),
    )
  })
})

describe('bodies', () => {
  it('leaves arrays behind and fetches them at the other end', async () => {
    const { cell, network } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const shared = new StubArray(bytes(100_000))
    const value = new Map<string, unknown>([
      ['a', shared],
      ['b', [shared, new StubTensor(bytes(10))]],
    ])
    encodedItems.length = 0
    const { body, offer } = server.codec.encode(value, { receivers: ['site-1'] })
    expect(joined(body.parts).length).toBeLessThan(1500)
    expect(encodedItems).toEqual([]) // nothing before it is asked for
    const decoded = (await site.codec.decode(body, { origin: 'server' })) as Map<string, unknown>
    const a = decoded.get('a')
    expect(a).toBeInstanceOf(StubArray)
    const [first, tensor] = decoded.get('b') as unknown[]
    expect(first).toBe(a)
    expect(tensor).toBeInstanceOf(StubTensor)
    expect(encodedItems).toEqual(['T0', 'T0'])
    expect(await offer?.ended).toMatchObject({ status: 'completed' })
    // The array's bytes went out as views on the array.
    const views = network.log.flatMap(({ parts }) => parts)
    expect(views.filter((view) => view.buffer === shared.item.buffer).length).toBeGreaterThan(99)
  })

  it('sends arrays along without receivers, and needs no offer for bodies without arrays', async () => {
    const { cell } = stage()
    const { codec } = cell('server')
    const native = codec.encode([new StubArray(bytes(5))])
    expect(native.offer).toBeUndefined()
    expect(await codec.decode(native.body, { origin: 'x' })).toEqual([new StubArray(bytes(5))])
    const plain = codec.encode(new Map([['k', 1]]), { receivers: ['site-1'] })
    expect(plain.offer).toBeUndefined()
    for (const [value, expected] of [
      [null, null],
      [undefined, null],
      [new Uint8Array(), null],
      [bytes(4), bytes(4)],
      ['text', 'text'],
    ])
      expect(await codec.decode(codec.encode(value).body, { origin: 'x' })).toEqual(expected)
  })

  it('asks no cell for which the sender may not speak', async () => {
    const { cell, network } = stage()
    const server = cell('server')
    const site = cell('site-1')
    const { body } = server.codec.encode([new StubArray(bytes(5))], { receivers: ['site-1'] })
    const before = network.log.length
    for (const origin of ['site-2', 'server.job', 'serv'])
      await expect(site.codec.decode(body, { origin })).rejects.toMatchObject({
        code: 'ERR_DOWNLOAD_SOURCE',
      })
    expect(network.log.length).toBe(before)
    await site.codec.decode(body, { origin: 'site-2', allowSource: (fqcn) => fqcn === 'server' })
  })

  it('asks in confidence only whoever sent in confidence', async () => {
    const { cell, network } = stage()
    const server = cell('server')
    const trainer = cell('server.job')
    const site = cell('site-1')
    for (const [source, origin, secure] of [
      [server, 'server', true],
      [trainer, 'server', false],
    ] as const) {
      const { body } = source.codec.encode([new StubArray(bytes(5))], { receivers: ['site-1'] })
      const from = network.log.length
      await site.codec.decode(body, { origin, secure: true })
      const pulls = network.log
        .slice(from)
        .filter(({ headers }) => headers.get('sm__ch') === 'download_service__')
      expect(pulls.length).toBeGreaterThan(0)
      for (const { headers } of pulls) expect(headers.get('cn__secure')).toBe(secure)
    }
  })

  it('limits what one message may pull', async () => {
    const { cell } = stage({}, { maxDownloadBytes: 1000 })
    const server = cell('server')
    const site = cell('site-1')
    const value = [new StubArray(bytes(600)), new StubTensor(bytes(600))]
    const { body } = server.codec.encode(value, { receivers: ['site-1'] })
    await expect(site.codec.decode(body, { origin: 'server' })).rejects.toMatchObject({
      code: 'ERR_DOWNLOAD_LIMIT',
    })
  })

  it('passes references on without fetching them', async () => {
    const { cell, network } = stage()
    const server = cell('server')
    const job = cell('site-1.job')
    const trainer = cell('site-1.job.trainer')
    const { body, offer } = server.codec.encode([new StubArray(bytes(5))], {
      receivers: ['site-1.job'],
    })
    const before = network.log.length
    const passed = await job.codec.decode(body, { origin: 'server', passThrough: true })
    expect((passed as unknown[])[0]).toBeInstanceOf(LazyReference)
    const onward = job.codec.encode(passed, { receivers: ['site-1.job.trainer'] })
    expect(onward.offer).toBeUndefined()
    expect(network.log.length).toBe(before)
    const value = await trainer.codec.decode(onward.body, {
      origin: 'site-1.job',
      allowSource: (fqcn) => fqcn === 'server',
    })
    expect((value as unknown[])[0]).toBeInstanceOf(StubArray)
    expect(await offer?.ended).toMatchObject({ status: 'completed', succeeded: ['site-1.job'] })
  })
})
