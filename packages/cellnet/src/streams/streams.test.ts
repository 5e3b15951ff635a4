import { silentLogger } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock, settle } from '../../test/streams/manual-clock.ts'
import { type Letter, MemoryNetwork } from '../../test/streams/memory-network.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import { CellError } from '../cell-error.ts'
import type { HeaderValue } from '../headers.ts'
import type { EncodedBody } from './encoded-body.ts'
import type { IncomingByteStream } from './incoming-byte-stream.ts'
import type { SendOutcome } from './outgoing-stream.ts'
import type { StreamOptions } from './stream-options.ts'
import { createStreams, type StreamsComponents } from './streams.ts'

const SMALL: Partial<StreamOptions> = { chunkBytes: 100, windowBytes: 500, ackIntervalBytes: 200 }

function stage(options: Partial<StreamOptions> = SMALL, parts: Partial<StreamsComponents> = {}) {
  const network = new MemoryNetwork()
  const clock = new ManualClock()
  const cell = (fqcn: string) => {
    const port = network.port(fqcn)
    return { port, ...withStreams(port) }
  }
  const withStreams = (port: StreamsComponents['port']) => ({
    streams: createStreams(
      { port, clock, logger: silentLogger, random: testRandom, ...parts },
      { ...SMALL, ...options },
    ),
  })
  const server = cell('server')
  const site = cell('site-1')
  return { network, clock, server, site }
}

function bytes(length: number, seed = 7): Uint8Array {
  return Uint8Array.from({ length }, (_value, index) => (index * seed) & 0xff)
}

function body(...parts: Uint8Array[]): EncodedBody {
  return { encoding: 'bytes', parts }
}

function textOf(encoded: EncodedBody): string {
  return Buffer.concat(encoded.parts).toString('latin1')
}

/** A DATA message as a peer without our code might send it. */
function chunk(
  headers: Record<string, HeaderValue>,
  payload: Uint8Array = new Uint8Array(),
  from = 'site-1',
): Letter {
  return {
    from,
    to: 'server',
    channel: 'sm__STREAM',
    topic: 'sm__DATA',
    headers: new Map<string, HeaderValue>([
      ['cn__secure', false],
      ...Object.entries({
        sm__id: 77,
        sm__dt: 2,
        sm__sq: 0,
        sm__os: 0,
        sm__sz: payload.length,
        sm__ch: 'c',
        sm__tp: 't',
        ...headers,
      }),
    ]),
    payload,
    parts: [payload],
  }
}

describe('requests', () => {
  it('carries any body in any cuts there and back', async () => {
    const { server, site } = stage()
    server.streams.handle('c', '*', (request) => ({ body: request.body }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 6 }),
        async (parts) => {
          const reply = await site.streams.request('server', 'c', 'echo', body(...parts))
          expect(reply.returnCode).toBe('ok')
          expect(textOf(reply.body)).toBe(textOf(body(...parts)))
        },
      ),
      { numRuns: 50 },
    )
    await settle()
    const idle = { incoming: 0, outgoing: 0, reservedBytes: 0 }
    expect(site.streams.stats()).toEqual(idle)
    expect(server.streams.stats()).toEqual(idle)
  })

  it('sends views on the given parts, without copying them', async () => {
    const { network, server, site } = stage({ chunkBytes: 64 })
    server.streams.handle('c', 't', () => ({}))
    const part = bytes(1000)
    await site.streams.request('server', 'c', 't', body(part))
    const sent = network.sent('sm__DATA', 'site-1').flatMap((letter) => letter.parts)
    expect(sent.length).toBeGreaterThan(10)
    for (const view of sent) expect(view.buffer).toBe(part.buffer)
  })

  it('hands a body of one chunk over as the view that arrived', async () => {
    const { network, server } = stage()
    const arrived = bytes(50)
    const seen: Uint8Array[] = []
    server.streams.handle('c', 't', (request) => {
      seen.push(...request.body.parts)
      return undefined
    })
    network.deliver(chunk({}, arrived))
    await settle()
    expect(seen).toEqual([arrived])
    expect(seen[0]).toBe(arrived)
  })

  it('does not keep long frames alive for short chunks', async () => {
    const { network, server } = stage()
    const frame = new Uint8Array(100_000)
    let held: readonly Uint8Array[] = []
    server.streams.handle('c', 't', (request) => {
      held = request.body.parts
      return undefined
    })
    network.deliver(chunk({ sm__dt: 1, sm__sz: 4 }, frame.subarray(0, 2)))
    network.deliver(chunk({ sm__sq: 1, sm__os: 2, sm__sz: 4 }, frame.subarray(2, 4)))
    await settle()
    expect(textOf({ encoding: 'bytes', parts: held })).toBe('\0\0\0\0')
    for (const part of held) expect(part.buffer).not.toBe(frame.buffer)
  })

  it('repeats application headers on every chunk and never lets them pose as stream headers', async () => {
    const { network, server, site } = stage()
    server.streams.handle('c', 't', () => ({}))
    const headers = new Map<string, HeaderValue>([
      ['token', 'abc'],
      ['sm__sz', 1],
    ])
    const reply = await site.streams.request('server', 'c', 't', body(bytes(350)), { headers })
    expect(reply.returnCode).toBe('ok')
    const sent = network.sent('sm__DATA', 'site-1')
    expect(sent).toHaveLength(4)
    for (const { headers: got } of sent) {
      expect(got.get('token')).toBe('abc')
      expect(got.get('sm__sz')).toBe(350)
    }
  })

  it('answers a failing handler, an unreadable body and an unknown channel in so many words', async () => {
    const { server, site } = stage(SMALL, {
      prepare: async (request) => {
        if (request.topic === 'bad') throw new CellError('ERR_BODY', 'secret path /etc/x')
        return `value of ${request.topic}`
      },
    })
    const values: unknown[] = []
    server.streams.handle('c', '*', (request, value) => {
      values.push(value)
      if (request.topic === 'throws') throw new Error('secret path /etc/x')
      return {}
    })
    const ask = (topic: string, channel = 'c') =>
      site.streams.request('server', channel, topic, body(bytes(3)))
    expect(await ask('bad')).toMatchObject({
      returnCode: 'invalid_request',
      error: 'body refused: ERR_BODY',
    })
    expect(await ask('throws')).toMatchObject({
      returnCode: 'process_exception',
      error: 'the request handler failed',
    })
    expect(await ask('t', 'nobody')).toMatchObject({ returnCode: 'comm_error' })
    expect(values).toEqual(['value of throws'])
  })

  it('times out each stage by itself and renews it on progress', async () => {
    const { clock, server, site } = stage()
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    server.streams.handle('c', '*', async (request) => {
      await gates[request.topic === 'slow' ? 0 : 1]!.promise
      return { body: request.body }
    })
    const slow = site.streams.request('server', 'c', 'slow', body(bytes(3)), { timeoutMs: 1000 })
    const patient = site.streams.request('server', 'c', 'fine', body(bytes(3)), { timeoutMs: 3000 })
    await clock.advance(1500)
    expect(await slow).toMatchObject({ returnCode: 'timeout' })
    gates[1]!.resolve()
    expect(await patient).toMatchObject({ returnCode: 'ok' })
    // Its late reply finds nobody, and is not resent for a minute.
    gates[0]!.resolve()
    await clock.advance(20_000)
    expect(site.port.inbox.filter((letter) => letter.topic === 'sm__DATA')).toHaveLength(2)
  })

  it('rejects with the reason of an abort and tells the receiver of a stream half sent', async () => {
    const { network, server, site } = stage()
    server.streams.handle('c', 't', () => ({}))
    network.intercept = (letter) => (letter.topic === 'sm__ACK' ? [] : undefined)
    const abort = new AbortController()
    const asking = site.streams.request('server', 'c', 't', body(bytes(5000)), {
      signal: abort.signal,
    })
    await settle()
    expect(network.sent('sm__DATA')).toHaveLength(6) // window 500, chunk 100: one more than fits
    abort.abort(new Error('enough'))
    await expect(asking).rejects.toThrow('enough')
    const last = network.sent('sm__DATA').at(-1)!
    expect(last.headers.get('sm__dt')).toBe(6)
    await expect(
      site.streams.request('server', 'c', 't', body(), { signal: abort.signal }),
    ).rejects.toThrow('enough')
  })

  it('says so when the target cannot be reached', async () => {
    const { network, site } = stage()
    network.unreachable.add('server')
    expect(await site.streams.request('server', 'c', 't', body(bytes(3)))).toMatchObject({
      returnCode: 'target_unreachable',
      origin: 'server',
    })
    expect(await site.streams.notify('server', 'c', 't', body(bytes(3)))).toBe('target_unreachable')
  })

  it('takes a reply only from the cell that was asked', async () => {
    const { network, clock, site } = stage()
    network.port('site-2')
    network.ports.delete('server')
    network.port('server')
    const asking = site.streams.request('server', 'c', 't', body(bytes(3)), { timeoutMs: 1000 })
    await settle()
    const [request] = network.sent('sm__DATA')
    const forged = chunk(
      { sm__ch: 'return_only', sm__tp: 'c:t', sm__ri: request!.headers.get('sm__ri')! },
      bytes(3),
      'site-2',
    )
    network.deliver({ ...forged, to: 'site-1' })
    await clock.advance(1000)
    expect(await asking).toMatchObject({ returnCode: 'timeout' })
  })

  it('refuses a reply that is longer than the request allows', async () => {
    const { server, site } = stage()
    server.streams.handle('c', 't', () => ({ body: body(bytes(2000)) }))
    const reply = await site.streams.request('server', 'c', 't', body(), { maxReplyBytes: 1000 })
    expect(reply).toMatchObject({ returnCode: 'comm_error' })
    expect(reply.error).toContain('2000 bytes')
  })

  it('fails what waits when the cell closes', async () => {
    const { server, site } = stage()
    server.streams.handle('c', 't', (_request, _value, { signal }) => {
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(undefined), { once: true })
      })
    })
    const asking = site.streams.request('server', 'c', 't', body(bytes(3)))
    await settle()
    await site.streams[Symbol.asyncDispose]()
    expect(await asking).toMatchObject({ returnCode: 'comm_error' })
    await server.streams[Symbol.asyncDispose]()
    expect(await site.streams.request('server', 'c', 't', body())).toMatchObject({
      returnCode: 'comm_error',
    })
  })
})

describe('sending', () => {
  it('stops at the window and goes on with each ACK', async () => {
    const { network, server, site } = stage()
    const readers: IncomingByteStream[] = []
    server.streams.consume('c', 't', async (stream) => {
      readers.push(stream)
      await new Promise(() => {})
    })
    void site.streams.send('server', 'c', 't', [bytes(5000)])
    await settle()
    expect(network.sent('sm__DATA')).toHaveLength(6)
    const reader = readers[0]![Symbol.asyncIterator]()
    await reader.next()
    await settle()
    expect(network.sent('sm__DATA')).toHaveLength(6) // 100 consumed: below the ACK interval of 200
    await reader.next()
    await settle()
    expect(network.sent('sm__DATA')).toHaveLength(8)
  })

  it('fails when ACKs make no progress, counted from when it blocks', async () => {
    const { network, clock, site } = stage()
    network.ports.delete('server')
    network.port('server') // takes everything, acknowledges nothing
    const parts = Promise.withResolvers<void>()
    async function* source() {
      yield bytes(100)
      await parts.promise
      yield bytes(2000)
    }
    const sending = site.streams.send('server', 'c', 't', source())
    await clock.advance(120_000) // a slow source is no failure
    parts.resolve()
    await clock.advance(58_000)
    let done = false
    void sending.then(() => {
      done = true
    })
    await settle()
    expect(done).toBe(false)
    await clock.advance(3_000)
    expect(await sending).toMatchObject({
      returnCode: 'comm_error',
      error: { code: 'ERR_STREAM_TIMEOUT' },
    })
    expect(network.log.at(-1)!.headers.get('sm__dt')).toBe(6)
  })

  it.each([
    ['another cell', { from: 'site-2' }, {}],
    ['more bytes than were sent', {}, { sm__os: 5000 }],
    ['a chunk that was never sent', {}, { sm__sq: 40 }],
    ['a float offset', {}, { sm__os: 0.5 }],
    ['a negative offset', {}, { sm__os: -1 }],
  ])('ignores an ACK of %s', async (_name, letter, headers) => {
    const { network, site } = stage()
    network.ports.delete('server')
    network.port('server')
    network.port('site-2')
    void site.streams.send('server', 'c', 't', [bytes(5000)])
    await settle()
    const id = network.log[0]!.headers.get('sm__id')!
    network.deliver({
      ...chunk({}),
      from: 'server',
      to: 'site-1',
      topic: 'sm__ACK',
      headers: new Map<string, HeaderValue>(
        Object.entries({ sm__id: id, sm__dt: 3, sm__os: 600, sm__sq: 5, ...headers }),
      ),
      ...letter,
    })
    await settle()
    expect(network.sent('sm__DATA')).toHaveLength(6)
  })

  it('ignores an error that does not match the stream, and believes one that does', async () => {
    const { network, site } = stage()
    network.ports.delete('server')
    network.port('server')
    const asking = site.streams.request('server', 'c', 't', body(bytes(10)))
    await settle()
    const sent = network.log[0]!.headers
    const right = {
      sm__id: sent.get('sm__id')!,
      sm__dt: 6,
      sm__ch: 'c',
      sm__tp: 't',
      sm__ri: sent.get('sm__ri')!,
      sm__em: 'no way',
    }
    const report = (headers: Record<string, HeaderValue>, from: string): Letter => ({
      ...chunk({}),
      from,
      to: 'site-1',
      topic: 'sm__ERROR',
      headers: new Map(Object.entries(headers)),
    })
    network.deliver(report(right, 'site-2'))
    network.deliver(report({ ...right, sm__ri: 'guess' }, 'server'))
    network.deliver(report({ ...right, sm__tp: 'x' }, 'server'))
    let settled = false
    void asking.then(() => {
      settled = true
    })
    await settle()
    expect(settled).toBe(false)
    network.deliver(report({ ...right, sm__fd: 'server' }, 'relay'))
    expect(await asking).toMatchObject({ returnCode: 'comm_error', error: 'no way' })
  })

  it('is not held by a first hop that takes nothing', async () => {
    const { clock, network, site } = stage()
    site.port.gate = new Promise(() => {})
    const abort = new AbortController()
    const options = { signal: abort.signal, timeoutMs: 1000 }
    const asking = site.streams.request('server', 'c', 't', body(bytes(10)), options)
    const sending = site.streams.notify('server', 'c', 't', body(bytes(10)), options)
    sending.catch(() => {})
    await settle()
    site.port.gate = undefined // for the report to the receiver
    await clock.advance(1000)
    expect(await asking).toMatchObject({ returnCode: 'timeout' })
    abort.abort(new Error('enough'))
    await expect(sending).rejects.toThrow('enough')
    expect(network.sent('sm__DATA').map(({ headers }) => headers.get('sm__dt'))).toEqual([6, 6])
    expect(site.streams.stats().outgoing).toBe(0)
  })

  it('is not held by a source that hangs', async () => {
    const { server, site } = stage()
    server.streams.consume('c', 't', () => Promise.reject(new Error('no')))
    async function* source() {
      yield bytes(250)
      await new Promise(() => {})
    }
    const outcome = await site.streams.send('server', 'c', 't', source())
    expect(outcome).toMatchObject({ error: { code: 'ERR_STREAM_REMOTE' } })
  })

  it('reports a source that breaks off, to the caller and to the receiver', async () => {
    const { network, server, site } = stage()
    const ended: unknown[] = []
    server.streams.consume('c', 't', async (stream) => {
      try {
        for await (const _part of stream);
      } catch (error) {
        ended.push(error)
      }
    })
    async function* source() {
      yield bytes(250)
      throw new Error('disk /secret failed')
    }
    const outcome = await site.streams.send('server', 'c', 't', source())
    expect(outcome.error).toMatchObject({ code: 'ERR_STREAM_CANCELLED' })
    await settle()
    expect(ended).toMatchObject([{ code: 'ERR_STREAM_REMOTE' }])
    expect(JSON.stringify(network.log.map(({ headers }) => [...headers]))).not.toContain('secret')
  })

  it('resends what is lost, the same bytes, until everything is acknowledged', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 1500 }),
        fc.array(fc.nat(9), { minLength: 1, maxLength: 30 }),
        async (content, luck) => {
          const { network, clock, server, site } = stage()
          const got: string[] = []
          server.streams.handle('c', 't', (request) => {
            got.push(textOf(request.body))
            return undefined
          })
          const held: Letter[] = []
          let turn = 0
          network.intercept = (letter) => {
            const chance = turn < 40 ? luck[turn % luck.length]! : 9
            turn += 1
            if (chance < 3) return [] // lost
            if (chance < 4) return [letter, letter] // twice
            if (chance < 5) {
              held.push(letter) // late
              return []
            }
            return [letter, ...held.splice(0)]
          }
          const sending = site.streams.send('server', 'c', 't', [content], { reliable: true })
          let outcome: SendOutcome | undefined
          void sending.then((value) => {
            outcome = value
          })
          for (let round = 0; outcome === undefined && round < 40; round++)
            await clock.advance(5_000)
          expect(outcome).toBeDefined()
          if (outcome?.error === undefined) expect(got).toEqual([textOf(body(content))])
          // Lost for longer than the retry time: a clear error, and at most one delivery.
          else expect([[], [textOf(body(content))]]).toContainEqual(got)
        },
      ),
      { numRuns: 30 },
    )
  })

  it('waits five seconds before resending and gives up a minute after', async () => {
    const { network, clock, site } = stage()
    network.ports.delete('server')
    network.port('server')
    const sending = site.streams.send('server', 'c', 't', [bytes(10)], { reliable: true })
    await clock.advance(4_000)
    expect(network.sent('sm__DATA')).toHaveLength(1)
    await clock.advance(2_000)
    const [first, second] = network.sent('sm__DATA')
    expect([...second!.headers]).toEqual([...first!.headers])
    expect(second!.payload).toEqual(first!.payload)
    await clock.advance(70_000)
    expect(await sending).toMatchObject({ error: { code: 'ERR_STREAM_TIMEOUT' } })
  })

  it('goes on with a reliable stream when a hop has no way for a while', async () => {
    const { network, clock, server, site } = stage()
    const far = network.port('server.job')
    let isCut = true
    network.intercept = (letter) => {
      if (letter.to !== 'server.job' || !isCut) return undefined
      const { headers } = letter
      const forward = server.port.unreachableHandlers.get('sm__STREAM')
      forward?.({ headers, returnCode: 'target_unreachable', link: undefined })
      return []
    }
    const sending = site.streams.send('server.job', 'c', 't', [bytes(10)], {
      reliable: true,
      optional: true,
    })
    await clock.advance(1_000)
    expect(network.sent('sm__ERROR', 'server')).toHaveLength(1)
    isCut = false
    await clock.advance(6_000)
    expect(far.inbox.map(({ topic }) => topic)).toEqual(['sm__DATA'])
    // Nobody there acknowledges.
    await clock.advance(70_000)
    expect(await sending).toMatchObject({ error: { code: 'ERR_STREAM_TIMEOUT' } })
  })

  it('ends an unreliable stream when its link is lost', async () => {
    const { network, site } = stage()
    network.ports.delete('server')
    network.port('server')
    const sending = site.streams.send('server', 'c', 't', [bytes(5000)])
    await settle()
    network.loseLinks('server')
    expect(await sending).toMatchObject({
      returnCode: 'target_unreachable',
      error: { code: 'ERR_STREAM_UNREACHABLE' },
    })
  })

  it('tells the origin when it could not forward a chunk', async () => {
    const { network, server, site } = stage()
    network.port('server.job')
    network.intercept = (letter) => {
      if (letter.to !== 'server.job') return undefined
      const { headers } = letter
      const forward = server.port.unreachableHandlers.get('sm__STREAM')
      forward?.({ headers, returnCode: 'target_unreachable', link: undefined })
      return []
    }
    const reply = await site.streams.request('server.job', 'c', 't', body(bytes(10)))
    expect(reply).toMatchObject({
      returnCode: 'comm_error',
      error: 'stream forwarding to server.job failed: target_unreachable',
    })
  })
})

describe('receiving', () => {
  it('survives any headers with nothing worse than an error sent back', async () => {
    const value = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer({ min: -2, max: 5 }),
      fc.double(),
      fc.constantFrom('', 'c', 't', 'x'.repeat(600), 'fobs'),
      fc.bigInt(),
      fc.constant([1, 'a'] as HeaderValue),
    )
    const keys = [
      'id',
      'dt',
      'sq',
      'os',
      'sz',
      'ch',
      'tp',
      'ri',
      'pe',
      'rs',
      'cs',
      'ws',
      'ai',
      'rw',
      'rt',
    ]
    const headers = fc.dictionary(fc.constantFrom(...keys.map((key) => `sm__${key}`)), value)
    const { network, server } = stage()
    server.streams.handle('c', 't', () => ({}))
    fc.assert(
      fc.property(
        headers,
        fc.uint8Array({ maxLength: 8 }),
        fc.constantFrom('sm__DATA', 'sm__ACK', 'sm__ERROR'),
        (given, payload, topic) => {
          const letter = { ...chunk({}, payload), topic, headers: new Map(Object.entries(given)) }
          expect(() => network.ports.get('server')!.take(letter)).not.toThrow()
          const sane = chunk(given, payload)
          expect(() => network.ports.get('server')!.take({ ...sane, topic })).not.toThrow()
        },
      ),
      { numRuns: 500 },
    )
    await settle()
    for (const letter of network.sent('sm__ERROR')) expect(letter.payload).toHaveLength(0)
  })

  it('refuses an announced body that is too long before any of it is kept', async () => {
    const { network, server } = stage()
    let called = false
    server.streams.handle(
      'c',
      't',
      () => {
        called = true
        return undefined
      },
      { maxBodyBytes: 1000 },
    )
    network.deliver(chunk({ sm__sz: 1001, sm__dt: 1 }, bytes(100)))
    await settle()
    const [error] = network.sent('sm__ERROR')
    expect(error!.headers.get('sm__et')).toBe('BlobSizeError')
    // Further chunks of it are not even answered.
    network.deliver(chunk({ sm__sz: 1001, sm__dt: 1, sm__sq: 1, sm__os: 100 }, bytes(100)))
    await settle()
    expect(network.sent('sm__ERROR')).toHaveLength(1)
    expect(called).toBe(false)
  })

  it('never acknowledges the end of a stream that is short, long or shifted', async () => {
    for (const headers of [{ sm__sz: 11 }, { sm__sz: 9 }, { sm__os: 1 }]) {
      const { network, server } = stage()
      server.streams.handle('c', 't', () => undefined)
      network.deliver(chunk(headers, bytes(10)))
      await settle()
      expect(network.sent('sm__ACK').map(({ headers: got }) => got.get('sm__dt'))).toEqual([6])
    }
  })

  it('refuses clear chunks inside an encrypted stream', async () => {
    const { network, server } = stage()
    server.streams.handle('c', 't', () => undefined)
    const first = chunk({ sm__dt: 1, sm__sz: 4 }, bytes(2))
    network.deliver({ ...first, headers: new Map(first.headers).set('cn__secure', true) })
    network.deliver(chunk({ sm__sq: 1, sm__os: 2, sm__sz: 4 }, bytes(2)))
    await settle()
    expect(network.sent('sm__ERROR')).toHaveLength(1)
  })

  it('limits the streams and running requests of one peer, and only of that peer', async () => {
    const { network, clock, server } = stage({ ...SMALL, maxStreamsPerPeer: 3 })
    network.port('site-2')
    const gate = Promise.withResolvers<undefined>()
    let running = 0
    server.streams.handle('c', 't', () => {
      running += 1
      return gate.promise
    })
    for (let id = 1; id <= 5; id++)
      network.deliver(chunk({ sm__id: id }, bytes(3), `site-1.j${id}`))
    network.deliver(chunk({ sm__id: 9 }, bytes(3), 'site-2'))
    await settle()
    expect(running).toBe(4)
    expect(network.sent('sm__ERROR')).toHaveLength(2)
    gate.resolve(undefined)
    await clock.advance(10)
    network.deliver(chunk({ sm__id: 10 }, bytes(3)))
    await settle()
    expect(running).toBe(5)
  })

  it('lets bodies wait without ACKs while memory is short, then takes them in', async () => {
    const { network, server } = stage({
      ...SMALL,
      maxBufferedBytes: 1000,
      maxBufferedBytesPerPeer: 1000,
      maxWaitingBytesPerPeer: 350,
    })
    const gate = Promise.withResolvers<undefined>()
    const done: number[] = []
    server.streams.handle('c', 't', async (request) => {
      done.push(request.body.parts.reduce((sum, part) => sum + part.length, 0))
      await gate.promise
      return undefined
    })
    const common = { sm__ai: 100, sm__ws: 500, sm__cs: 100 }
    const send = (id: number, sequence: number, size: number, last = false) =>
      network.deliver(
        chunk(
          {
            ...common,
            sm__id: id,
            sm__sq: sequence,
            sm__os: sequence * 100,
            sm__sz: size,
            sm__dt: last ? 2 : 1,
          },
          bytes(100),
        ),
      )
    for (let sequence = 0; sequence < 8; sequence++) send(1, sequence, 800, sequence === 7)
    await settle()
    expect(done).toEqual([800]) // holds its 800 bytes while its handler runs
    for (let sequence = 0; sequence < 3; sequence++) send(2, sequence, 400)
    await settle()
    const acksOf = (id: number) =>
      network.sent('sm__ACK').filter(({ headers }) => headers.get('sm__id') === id)
    expect(acksOf(2)).toHaveLength(0)
    gate.resolve(undefined)
    await settle()
    expect(acksOf(2).at(-1)!.headers.get('sm__os')).toBe(300)
    // What was let in waits no longer: there is room for another to wait.
    for (let sequence = 0; sequence < 3; sequence++) send(3, sequence, 800)
    await settle()
    expect(network.sent('sm__ERROR')).toHaveLength(0)
    expect(acksOf(3)).toHaveLength(0)
    send(2, 3, 400, true)
    await settle()
    expect(done).toEqual([800, 400])
  })

  it('refuses what waits for memory past its limit', async () => {
    const { network, server } = stage({
      ...SMALL,
      maxBufferedBytes: 1000,
      maxWaitingBytesPerPeer: 150,
    })
    server.streams.handle('c', 't', () => new Promise(() => {}))
    network.deliver(chunk({ sm__id: 1, sm__sz: 1000, sm__dt: 1 }, bytes(100)))
    network.deliver(chunk({ sm__id: 2, sm__sz: 500, sm__dt: 1 }, bytes(100)))
    network.deliver(
      chunk({ sm__id: 2, sm__sz: 500, sm__dt: 1, sm__sq: 1, sm__os: 100 }, bytes(100)),
    )
    await settle()
    const [error] = network.sent('sm__ERROR')
    expect(error!.headers.get('sm__id')).toBe(2)
    expect(error!.headers.get('sm__em')).toContain('wait for memory')
  })

  it('gives up on a sender that falls silent and frees everything', async () => {
    const { network, clock, server } = stage()
    server.streams.handle('c', 't', () => undefined)
    network.deliver(chunk({ sm__sz: 400, sm__dt: 1 }, bytes(100)))
    await clock.advance(299_000)
    expect(network.sent('sm__ERROR')).toHaveLength(0)
    await clock.advance(2_000)
    expect(network.sent('sm__ERROR')).toHaveLength(1)
    expect(server.streams.stats()).toEqual({ incoming: 0, outgoing: 0, reservedBytes: 0 })
    await clock.advance(60_000)
    expect(clock.pending).toBe(0) // nothing is watched any more
  })

  it('acknowledges a repeated reliable stream again, without delivering it twice', async () => {
    const { network, server } = stage()
    let count = 0
    server.streams.handle('c', 't', () => {
      count += 1
      return undefined
    })
    const letter = chunk({ sm__rs: true, sm__rw: 5, sm__rt: 60 }, bytes(10))
    for (let round = 0; round < 3; round++) network.deliver(letter)
    await settle()
    expect(count).toBe(1)
    expect(network.sent('sm__ACK').map(({ headers }) => headers.get('sm__os'))).toEqual([
      10, 10, 10,
    ])
  })

  it('stops a byte stream whose sender ignores the window', async () => {
    const { network, server } = stage()
    server.streams.consume('c', 't', () => new Promise(() => {}))
    for (let sequence = 0; sequence < 8; sequence++)
      network.deliver(
        chunk(
          {
            sm__sz: 5000,
            sm__dt: 1,
            sm__ws: 500,
            sm__cs: 100,
            sm__sq: sequence,
            sm__os: sequence * 100,
          },
          bytes(100),
        ),
      )
    await settle()
    expect(network.sent('sm__ERROR')[0]!.headers.get('sm__em')).toContain('ran past its window')
  })

  it('tells the sender when the consumer stops reading', async () => {
    const { server, site } = stage()
    server.streams.consume('c', 't', async (stream) => {
      for await (const _part of stream) break
    })
    const outcome = await site.streams.send('server', 'c', 't', [bytes(5000)])
    expect(outcome).toMatchObject({ error: { code: 'ERR_STREAM_REMOTE' } })
  })

  it('ends half-received streams of a lost link', async () => {
    const { network, server } = stage()
    const failures: unknown[] = []
    server.streams.consume('c', 't', async (stream) => {
      try {
        for await (const _part of stream);
      } catch (error) {
        failures.push(error)
      }
    })
    network.deliver(chunk({ sm__sz: 400, sm__dt: 1 }, bytes(100)))
    await settle()
    network.loseLinks('site-1')
    await settle()
    expect(failures).toMatchObject([{ code: 'ERR_STREAM_UNREACHABLE' }])
  })
})
