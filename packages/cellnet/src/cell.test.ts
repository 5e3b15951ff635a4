import type { LinkSecurity, LogFields, Logger } from '@hanse/contract'
import { createFobsRegistry, type FobsValue, joinBytes } from '@hanse/fobs'
import { afterEach, describe, expect, it } from 'vitest'
import { captured } from '../test/captured.ts'
import { type FakeClock, fakeClock } from '../test/fake-clock.ts'
import { MemoryNetwork } from '../test/memory-driver.ts'
import { type RawMessage, RawPeer, requestHeaders } from '../test/raw-peer.ts'
import { type CellComponents, type CellOptions, createCell } from './cell.ts'
import type { Cell, RequestHandler } from './cell-api.ts'
import { CellError } from './cell-error.ts'
import type { Connector, ConnectorEvents } from './connector.ts'
import type { HeaderValue } from './headers.ts'
import { encodePrefix, FRAME } from './sfm/frame.ts'
import { encodeMap } from './sfm/wire-map.ts'

const CLEAR: LinkSecurity = { mode: 'clear' }
const SERVER_URL = new URL('memory://server:1')
const echo: RequestHandler = ({ body }) => ({ body })

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function cell(
  fqcn: string,
  network = new MemoryNetwork(),
  components: Partial<CellComponents> = {},
  options: CellOptions = {},
): Cell {
  const made = createCell(
    fqcn,
    { drivers: [network.driver()], registry: createFobsRegistry(), random: () => 0, ...components },
    { closeTimeoutMs: 50, ...options },
  )
  open.push(made)
  return made
}

function rawPeer(...claim: ConstructorParameters<typeof RawPeer>): RawPeer {
  const peer = new RawPeer(...claim)
  open.push(peer)
  return peer
}

function nextEvent<Name extends keyof ConnectorEvents>(
  connector: Connector,
  name: Name,
): Promise<ConnectorEvents[Name]> {
  return new Promise((resolve) => {
    const subscription = connector.on(name, (event) => {
      subscription[Symbol.dispose]()
      resolve(event)
    })
  })
}

/** A server and the named cells, all linked to it. */
async function league(
  names: readonly string[],
  options: CellOptions = {},
): Promise<{ network: MemoryNetwork; server: Cell; cells: Cell[] }> {
  const network = new MemoryNetwork()
  const server = cell('server', network, {}, options)
  await server.listen(SERVER_URL, CLEAR)
  const cells: Cell[] = []
  for (const name of names) {
    const one = cell(name, network, {}, options)
    await nextEvent(one.dial(SERVER_URL, CLEAR), 'connected')
    cells.push(one)
  }
  return { network, server, cells }
}

/** Lets everything happen that is ready to. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

function collect(): { logger: Logger; entries: [string, LogFields][] } {
  const entries: [string, LogFields][] = []
  const write = (message: string, fields: LogFields = {}): void =>
    void entries.push([message, fields])
  const logger: Logger = {
    debug: write,
    info: write,
    warn: write,
    error: write,
    child: () => logger,
  }
  return { logger, entries }
}

async function admit(server: Cell, peer: RawPeer, name: string): Promise<void> {
  server.adopt(peer.connection, 'passive')
  await peer.hello(name)
  expect((await peer.next()).type).toBe(FRAME.ready)
}

describe('requests', () => {
  it.each<[string, unknown, FobsValue]>([
    ['nothing', undefined, null],
    ['bytes', Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 3)],
    ['a text', 'hello', 'hello'],
    ['a map', new Map([['a', [1, 2.5, null, true]]]), new Map([['a', [1, 2.5, null, true]]])],
  ])('carry %s there and back', async (_name, body, expected) => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'echo', echo)
    const reply = await cells[0]!.request('server', 'task', 'echo', body)
    expect(reply).toMatchObject({ returnCode: 'ok', origin: 'server' })
    expect(reply.body).toEqual(expected)
  })

  it('show the handler origin, headers and link', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', '*', ({ origin, topic, channel, headers, link }) => ({
      body: [origin, topic, channel, String(headers.get('client_name')), link?.fqcn ?? ''],
    }))
    const reply = await cells[0]!.request('server', 'task', 'x', null, {
      headers: { client_name: 'C' },
    })
    expect(reply.body).toEqual(['site-1', 'x', 'task', 'C', 'site-1'])
  })

  it('carry return code, error and headers of the reply', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'x', () => ({
      returnCode: 'invalid_session',
      error: 'log in again',
      headers: { job_id: 'J' },
    }))
    const reply = await cells[0]!.request('server', 'task', 'x', null)
    expect(reply).toMatchObject({
      returnCode: 'invalid_session',
      error: 'log in again',
      body: null,
    })
    expect(reply.headers.get('job_id')).toBe('J')
  })

  it('work from the listening side, and to oneself without a link', async () => {
    const { server, cells } = await league(['site-1'])
    cells[0]!.handle('admin', 'echo', echo)
    server.handle('admin', 'echo', ({ body, link }) => ({ body: [body, link === undefined] }))
    expect((await server.request('site-1', 'admin', 'echo', 'a')).body).toBe('a')
    expect((await server.request('server', 'admin', 'echo', 'b')).body).toEqual(['b', true])
  })

  it('fall back to the handler of all topics, then to that of everything', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('*', '*', () => ({ body: 'any' }))
    server.handle('task', '*', () => ({ body: 'channel' }))
    server.handle('task', 'x', () => ({ body: 'topic' }))
    const ask = async (channel: string, topic: string): Promise<FobsValue> =>
      (await cells[0]!.request('server', channel, topic, null)).body
    expect(await ask('task', 'x')).toBe('topic')
    expect(await ask('task', 'y')).toBe('channel')
    expect(await ask('admin', 'y')).toBe('any')
  })

  it('are refused for unknown topics as stock cells do', async () => {
    const { cells } = await league(['site-1'])
    for (const [channel, topic] of [
      ['task', 'nope'],
      ['_net_manager', 'peers'],
      ['cellnet.channel', 'nope'],
    ] as const)
      expect(await cells[0]!.request('server', channel, topic, null)).toMatchObject({
        returnCode: 'process_exception',
        error: 'no callback',
      })
  })

  it.each([
    ['ERR_INVALID_REQUEST', 'invalid_request'],
    ['ERR_SERVICE_UNAVAILABLE', 'service_unavailable'],
    ['ERR_INVALID_SESSION', 'invalid_session'],
    ['ERR_AUTHENTICATION', 'authentication_error'],
    ['ERR_ABORT_RUN', 'abort_run'],
  ] as const)('answer %s with %s', async (code, returnCode) => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'x', () => {
      throw new CellError(code, 'because')
    })
    const reply = await cells[0]!.request('server', 'task', 'x', null)
    expect(reply).toMatchObject({ returnCode, error: 'because' })
  })

  it('do not tell peers what an unexpected error said', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'x', () => {
      throw new Error('/etc/secret')
    })
    const reply = await cells[0]!.request('server', 'task', 'x', null)
    expect(reply.returnCode).toBe('process_exception')
    expect(reply.error).not.toContain('secret')
  })

  it('time out, and ignore the late reply', async () => {
    const clock = fakeClock()
    const network = new MemoryNetwork()
    const server = cell('server', network)
    await server.listen(SERVER_URL, CLEAR)
    const site = cell('site-1', network, { clock })
    await nextEvent(site.dial(SERVER_URL, CLEAR), 'connected')
    const gate = Promise.withResolvers<undefined>()
    const asked = Promise.withResolvers<void>()
    server.handle('task', 'slow', async () => {
      asked.resolve()
      await gate.promise
      return { body: 'late' }
    })
    const pending = site.request('server', 'task', 'slow', null, { timeoutMs: 3000 })
    await asked.promise
    clock.advance(3000)
    expect(await pending).toMatchObject({ returnCode: 'timeout', error: 'no reply within 3000 ms' })
    gate.resolve(undefined)
    server.handle('task', 'echo', echo)
    expect((await site.request('server', 'task', 'echo', 'x')).body).toBe('x')
  })

  it('stop waiting when the signal fires', async () => {
    const { server, cells } = await league(['site-1'])
    const abort = new AbortController()
    server.handle('task', 'never', () => {
      abort.abort(new Error('enough'))
      return undefined
    })
    await expect(cells[0]!.request('server', 'task', 'never', null, abort)).rejects.toThrow(
      'enough',
    )
    await expect(cells[0]!.request('server', 'task', 'x', null, abort)).rejects.toThrow('enough')
  })

  it('say at once that there is no way', async () => {
    const lone = cell('server')
    expect(await lone.request('site-1', 'task', 'x', null)).toMatchObject({
      returnCode: 'target_unreachable',
      error: 'no way to site-1',
    })
    expect(await lone.request('a..b', 'task', 'x', null)).toMatchObject({
      returnCode: 'invalid_target',
    })
  })

  it('refuse what cannot be encoded or is too large for one message', async () => {
    const { cells } = await league(['site-1'], { maxMessageBytes: 1000 })
    const reply = await cells[0]!.request('server', 'task', 'x', new Uint8Array(1001))
    expect(reply.returnCode).toBe('msg_too_big')
    const alien = await cells[0]!.request('server', 'task', 'x', Symbol('x'))
    expect(alien.returnCode).toBe('invalid_request')
  })

  it('learn that the reply is too large', async () => {
    const { server, cells } = await league(['site-1'], { maxMessageBytes: 1000 })
    server.handle('task', 'big', () => ({ body: new Uint8Array(1001) }))
    expect((await cells[0]!.request('server', 'task', 'big', null)).returnCode).toBe('msg_too_big')
  })

  it('fail at once when the link is lost, and stop the handler', async () => {
    const { network, server, cells } = await league(['site-1'])
    const stopped = Promise.withResolvers<unknown>()
    server.handle('task', 'slow', (_request, { signal }) => {
      signal.addEventListener('abort', () => stopped.resolve(signal.reason))
      network.cutAll()
      return stopped.promise.then(() => undefined)
    })
    expect(await cells[0]!.request('server', 'task', 'slow', null)).toMatchObject({
      returnCode: 'comm_error',
      error: expect.stringContaining('link to server was lost'),
    })
    expect(await stopped.promise).toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('are refused past the limit of one link', async () => {
    const { server, cells } = await league(['site-1'], { maxRequestsPerLink: 1 })
    const gate = Promise.withResolvers<undefined>()
    const asked = Promise.withResolvers<void>()
    server.handle('task', 'slow', () => {
      asked.resolve()
      return gate.promise
    })
    server.handle('task', 'echo', echo)
    const first = cells[0]!.request('server', 'task', 'slow', null, { timeoutMs: 50 })
    await asked.promise
    const second = await cells[0]!.request('server', 'task', 'echo', null)
    expect(second.returnCode).toBe('service_unavailable')
    gate.resolve(undefined)
    await first
    expect((await cells[0]!.request('server', 'task', 'echo', 'x')).body).toBe('x')
  })
})

describe('broadcast and notify', () => {
  it('collect one outcome for each target', async () => {
    const { server, cells } = await league(['site-1', 'site-2'])
    for (const one of cells) one.handle('task', 'name', () => ({ body: one.fqcn }))
    const replies = await server.broadcast(['site-1', 'site-2', 'site-9'], 'task', 'name', null)
    expect(
      [...replies].map(([target, { returnCode, body }]) => [target, returnCode, body]),
    ).toEqual([
      ['site-1', 'ok', 'site-1'],
      ['site-2', 'ok', 'site-2'],
      ['site-9', 'target_unreachable', null],
    ])
  })

  it('deliver without a reply', async () => {
    const { server, cells } = await league(['site-1'])
    const got = Promise.withResolvers<FobsValue>()
    server.handle('task', 'note', ({ body }) => {
      got.resolve(body)
      return { body: 'unwanted' }
    })
    expect(await cells[0]!.notify('server', 'task', 'note', 'n')).toBe('ok')
    expect(await got.promise).toBe('n')
    expect(await cells[0]!.notify('site-9.x', 'task', 'note', 'n')).toBe('ok')
    expect(await server.notify('site-9', 'task', 'note', 'n')).toBe('target_unreachable')
  })
})

describe('forwarding', () => {
  it('passes requests and replies between sites and their jobs', async () => {
    const { network, server, cells } = await league(['site-1', 'site-2'])
    const job = cell('site-2.job', network)
    await cells[1]!.listen(new URL('memory://site-2:1'), CLEAR)
    await nextEvent(job.dial(new URL('memory://site-2:1'), CLEAR), 'connected')
    job.handle('task', 'echo', ({ body, origin, headers }) => ({
      body: [body, origin, String(headers.get('x'))],
    }))
    const reply = await cells[0]!.request('site-2.job', 'task', 'echo', 'hi', {
      headers: { x: 'y' },
    })
    expect(reply).toMatchObject({ returnCode: 'ok', origin: 'site-2.job' })
    expect(reply.body).toEqual(['hi', 'site-1', 'y'])
    expect(server.peers.size).toBe(2)
  })

  it('returns what it cannot deliver, at once', async () => {
    const { cells } = await league(['site-1'])
    const started = performance.now()
    const reply = await cells[0]!.request('site-9', 'task', 'x', null)
    expect(reply).toMatchObject({
      returnCode: 'comm_error',
      error: 'cannot forward',
      origin: 'server',
    })
    expect(performance.now() - started).toBeLessThan(1000)
  })

  it('can be turned off', async () => {
    const network = new MemoryNetwork()
    const server = cell('server', network, {}, { forwards: false })
    await server.listen(SERVER_URL, CLEAR)
    const cells = ['site-1', 'site-2'].map((name) => cell(name, network))
    for (const one of cells) await nextEvent(one.dial(SERVER_URL, CLEAR), 'connected')
    cells[1]!.handle('task', 'echo', echo)
    expect(await cells[0]!.request('site-2', 'task', 'echo', null)).toMatchObject({
      returnCode: 'comm_error',
    })
  })

  it('carries unknown headers and the payload through unchanged', async () => {
    const server = cell('server')
    const [a, b] = [rawPeer(), rawPeer()]
    await admit(server, a, 'site-1')
    await admit(server, b, 'site-2')
    const headers = requestHeaders('site-1', 'site-2', 'x', {
      odd: new Map([['k', [1, null, Uint8Array.of(9)]]]),
      cn__payload_encoding: 'fobs',
      cn__encrypted: true,
      cn__payload_len: 5,
    })
    await a.sendMessage(headers, Uint8Array.of(1, 2, 3))
    const { map, payload } = await b.next()
    expect(payload).toEqual(Uint8Array.of(1, 2, 3))
    const own = ['cn__from', 'cn__to', 'cn__route', 'cn__send_time', 'cn__payload_len']
    for (const [key, value] of Object.entries(headers))
      if (!own.includes(key)) expect(map.get(key)).toEqual(value)
    expect(map.get('cn__from')).toBe('server')
    expect(map.get('cn__to')).toBe('site-2')
    expect(map.get('cn__payload_len')).toBe(3)
    expect(map.get('cn__route')).toEqual([
      ['site-1', 1.5],
      ['server', expect.any(Number)],
    ])
  })
})

describe('filters', () => {
  it('see and change every message that leaves, also those passing through', async () => {
    const { server, cells } = await league(['site-1', 'site-2'])
    cells[0]!.outgoing(({ headers }) => headers.set('__token__', 'T'))
    const passed: [string, boolean][] = []
    server.outgoing(({ headers, nextHop, forwarded }) => {
      passed.push([nextHop, forwarded])
      headers.delete('__token__')
    })
    cells[1]!.handle('task', 'x', ({ headers }) => ({ body: headers.has('__token__') }))
    server.handle('task', 'x', ({ headers }) => ({ body: headers.get('__token__') ?? null }))
    expect((await cells[0]!.request('site-2', 'task', 'x', null)).body).toBe(false)
    expect(passed).toEqual([
      ['site-2', true],
      ['site-1', true],
    ])
    expect((await cells[0]!.request('server', 'task', 'x', null)).body).toBe('T')
  })

  it('drop or reject what arrives, also what passes through', async () => {
    const { server, cells } = await league(['site-1', 'site-2'])
    for (const one of [server, cells[1]!]) one.handle('task', '*', echo)
    const seen: boolean[] = []
    server.incoming(({ headers, link, forMe }) => {
      if (link?.fqcn !== 'site-1') return undefined
      seen.push(forMe)
      if (headers.get('cn__topic') === 'quiet') return { drop: 'not interested' }
      return { reject: 'unauthenticated', reason: 'no token' }
    })
    const site = cells[0]!
    for (const target of ['server', 'site-2'])
      expect(await site.request(target, 'task', 'x', null)).toMatchObject({
        returnCode: 'unauthenticated',
        error: 'no token',
      })
    expect(seen).toEqual([true, false])
    const quiet = await site.request('server', 'task', 'quiet', null, { timeoutMs: 20 })
    expect(quiet.returnCode).toBe('timeout')
  })

  it('refuse a message when they fail', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'x', echo)
    const broken = (): never => {
      throw new Error('broken')
    }
    server.incoming(broken)
    expect((await cells[0]!.request('server', 'task', 'x', null)).returnCode).toBe('filter_error')
    cells[0]!.outgoing(broken)
    expect((await cells[0]!.request('server', 'task', 'x', null)).returnCode).toBe('filter_error')
  })

  it('send a message across the server by setting the transit flag', async () => {
    const { network, server, cells } = await league(['site-1', 'site-2'])
    await cells[1]!.listen(new URL('memory://site-2:1'), CLEAR)
    await nextEvent(cells[0]!.dial(new URL('memory://site-2:1'), CLEAR), 'connected')
    cells[1]!.handle('task', 'x', ({ link }) => ({ body: link?.fqcn ?? '' }))
    expect((await cells[0]!.request('site-2', 'task', 'x', null)).body).toBe('site-1')
    cells[0]!.outgoing(({ headers }) => headers.set('cn__server_transit_required', true))
    expect((await cells[0]!.request('site-2', 'task', 'x', null)).body).toBe('server')
    expect(server.peers.size).toBe(2)
    expect(network.openLinks).toBe(3)
  })
})

describe('links', () => {
  it('tell when peers come and go', async () => {
    const network = new MemoryNetwork()
    const server = cell('server', network)
    await server.listen(SERVER_URL, CLEAR)
    const seen: string[] = []
    server.onPeer('connected', ({ fqcn, role }) => seen.push(`+${fqcn} ${role}`))
    const gone = new Promise<void>((resolve) =>
      server.onPeer('disconnected', ({ fqcn }) => {
        seen.push(`-${fqcn}`)
        resolve()
      }),
    )
    const site = cell('site-1', network)
    await nextEvent(site.dial(SERVER_URL, CLEAR), 'connected')
    await site[Symbol.asyncDispose]()
    await gone
    expect(seen).toEqual(['+site-1 passive', '-site-1'])
  })

  it('come back after a loss, with growing waits up to the maximum', async () => {
    const clock = fakeClock()
    const network = new MemoryNetwork()
    const server = cell('server', network)
    const site = cell('site-1', network, { clock, random: () => 0.5 })
    const connector = site.dial(SERVER_URL, CLEAR, { maxBackoffMs: 4000 })
    for (const waitMs of [1000, 2000, 4000, 4000]) {
      const { retryInMs, reason } = await nextEvent(connector, 'failed')
      expect(retryInMs).toBe(waitMs)
      expect(reason).toContain('nothing listens')
      await settle()
      if (waitMs === 4000) await server.listen(SERVER_URL, CLEAR)
      const connected = nextEvent(connector, 'connected')
      clock.advance(waitMs)
      if (waitMs < 4000) continue
      await connected
      break
    }
    expect(connector.link?.fqcn).toBe('server')
    clock.advance(11_000)
    await settle()
    const lost = nextEvent(connector, 'lost')
    network.cutAll()
    expect((await lost).link.fqcn).toBe('server')
    expect(connector.link).toBeUndefined()
    // It had lasted: the wait starts anew.
    const again = nextEvent(connector, 'connected')
    await settle()
    clock.advance(1000)
    await again
  })

  it('jitter their waits', async () => {
    const clock = fakeClock()
    const site = cell('site-1', new MemoryNetwork(), { clock, random: () => 0.999 })
    const { retryInMs } = await nextEvent(site.dial(SERVER_URL, CLEAR), 'failed')
    expect(retryInMs).toBe(1250)
  })

  it('end when the connector is disposed, and stay away', async () => {
    const { server, cells, network } = await league([])
    expect(cells).toEqual([])
    const site = cell('site-1', network)
    const connector = site.dial(SERVER_URL, CLEAR)
    await nextEvent(connector, 'connected')
    connector.on('lost', () => expect.unreachable('disposal is no loss'))
    const gone = new Promise((resolve) => server.onPeer('disconnected', resolve))
    await connector[Symbol.asyncDispose]()
    await gone
    expect(site.peers.size).toBe(0)
  })

  it('say so when a stock listener closes right after its READY', async () => {
    const network = new MemoryNetwork()
    await network.driver().listen(SERVER_URL, CLEAR, (connection) => {
      void connection.receive(async () => {
        const payload = encodeMap(new Map([['endpoint_name', 'server']]))
        const prefix = { type: FRAME.ready, appId: 0, streamId: 1, sequence: 1 }
        await connection.send([encodePrefix(prefix, 0, payload.length), payload])
        void connection[Symbol.asyncDispose]()
      })
    })
    const connector = cell('site-1', network).dial(SERVER_URL, CLEAR)
    expect(await nextEvent(connector, 'refused')).toMatchObject({
      code: 'closed_after_ready',
      reason: expect.stringContaining('does not accept our name or certificate'),
    })
  })

  it('ping a silent peer and close when nothing comes back', async () => {
    const clock = fakeClock()
    const server = cell('server', new MemoryNetwork(), { clock }, { heartbeatIntervalMs: 1000 })
    const peer = rawPeer()
    const session = server.adopt(peer.connection, 'passive')
    await peer.hello('site-1')
    await peer.next()
    await session.ready
    clock.advance(1000)
    for (let ping = 0; ping < 2; ping++) {
      clock.advance(1000)
      const { type, payload } = await peer.next()
      expect([type, [...payload]]).toEqual([FRAME.ping, [0xc0]])
    }
    // A sign of life starts the count anew.
    await peer.sendFrame(FRAME.pong, new Uint8Array(0), Uint8Array.of(0xc0))
    await settle()
    clock.advance(1000)
    for (let ping = 0; ping < 3; ping++) {
      clock.advance(1000)
      await peer.next()
    }
    clock.advance(1000)
    expect(await session.closed).toMatchObject({ code: 'ERR_PEER_SILENT' })
    await peer.over
  })

  it('answer pings once the greeting is done', async () => {
    const server = cell('server')
    const peer = rawPeer()
    server.adopt(peer.connection, 'passive')
    await peer.sendFrame(FRAME.ping, new Uint8Array(0), Uint8Array.of(0xc0))
    await peer.hello('site-1')
    expect((await peer.next()).type).toBe(FRAME.ready)
    await peer.sendFrame(FRAME.ping, new Uint8Array(0), Uint8Array.of(0xc0))
    const { type, payload, headers } = await peer.next()
    expect([type, headers.length, [...payload]]).toEqual([FRAME.pong, 0, [0xc0]])
  })

  it('hold the first message to a stock listener, not to a Hanse one', async () => {
    const cases: [Record<string, HeaderValue>, boolean][] = [
      [{}, true],
      [{ hanse: [] }, false],
    ]
    for (const [properties, held] of cases) {
      const clock = fakeClock()
      const site = cell('site-1', new MemoryNetwork(), { clock })
      const peer = rawPeer()
      const session = site.adopt(peer.connection, 'active')
      expect((await peer.next()).type).toBe(FRAME.hello)
      await peer.greet(FRAME.ready, { endpoint_name: 'server', ...properties })
      await session.ready
      void site.notify('server', 'task', 'x', null)
      await settle()
      expect(peer.unread).toHaveLength(held ? 0 : 1)
      clock.advance(60)
      expect((await peer.next()).type).toBe(FRAME.data)
    }
  })

  it('say goodbye, and take a goodbye', async () => {
    const server = cell('server')
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    const closing = server[Symbol.asyncDispose]()
    const { map } = await peer.next()
    expect(map.get('cn__topic')).toBe('bye')
    expect(map.get('cn__optional')).toBe(true)
    await closing
    await peer.over
  })

  it('fail everything that waits when the cell closes', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('task', 'never', () => undefined)
    const pending = cells[0]!.request('server', 'task', 'never', null)
    await cells[0]!.notify('server', 'task', 'never', null)
    await cells[0]![Symbol.asyncDispose]()
    expect((await pending).returnCode).toBe('comm_error')
    expect((await cells[0]!.request('server', 'task', 'x', null)).returnCode).toBe('comm_error')
    expect(() => cells[0]!.dial(SERVER_URL, CLEAR)).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED' }),
    )
  })
})

/** Compares all but what differs from one sending to the next. */
function comparable({ map, payload, type }: RawMessage): unknown {
  const volatile = ['cn__req_id', 'cn__route', 'cn__send_time']
  return {
    type,
    headers: Object.fromEntries([...map].filter(([key]) => !volatile.includes(key))),
    payload: Buffer.from(payload).toString('hex'),
  }
}

describe('captured conversations', () => {
  it('go the same way with our listener', async () => {
    const server = cell('server')
    server.handle('task', 'echo', echo)
    server.handle('task', 'silent', () => undefined)
    server.handle('task', 'boom', () => {
      throw new Error('boom')
    })
    const peer = rawPeer()
    server.adopt(peer.connection, 'passive')
    for (const scenario of [
      'handshake_site_1',
      'request_reply_bytes',
      'request_reply_fobs',
      'request_reply_none',
      'request_unknown_topic',
      'request_callback_exception',
      'request_no_reply_timeout',
      'fire_and_forget',
      'forward_unreachable',
      'bye_site_1',
    ])
      for (const { direction, bytes, decoded, name } of captured(scenario)) {
        if (direction === 'active->passive') {
          await peer.sendBytes(bytes)
          continue
        }
        const got = await peer.next()
        const { headers } = decoded
        if (headers === null) {
          expect(got.type, name).toBe(decoded.prefix.type)
          continue
        }
        const { cn__req_id: _id, cn__route: _route, cn__send_time: _time, ...stable } = headers
        // Ours says a little more than nothing about the error.
        if (scenario === 'request_callback_exception') got.map.delete('cn__error')
        const original = got.map.get('cn__original_headers')
        if (original instanceof Map)
          got.map.set('cn__original_headers', Object.fromEntries(original) as never)
        expect(comparable(got), name).toEqual({
          type: decoded.prefix.type,
          headers: stable,
          payload: decoded.payload_hex ?? '',
        })
      }
    expect(peer.unread).toEqual([])
    expect(server.peers.size).toBe(0)
  })

  it('go the same way with our dialler', async () => {
    const sent = captured('request_reply_bytes')
    const requestId = String(sent[0]!.decoded.headers!['cn__req_id'])
    const site = cell('site-1', new MemoryNetwork(), { randomId: () => requestId })
    site.handle('task', 'echo', echo)
    const peer = rawPeer()
    site.adopt(peer.connection, 'active')
    const [hello, ready] = captured('handshake_site_1')
    const first = await peer.next()
    expect(first.type).toBe(hello!.decoded.prefix.type)
    await peer.sendBytes(ready!.bytes)

    const asked = site.request('server', 'task', 'echo', new TextEncoder().encode('hello'))
    const request = await peer.next()
    const {
      cn__route: _route,
      cn__send_time: _time,
      cn__req_id,
      ...stable
    } = sent[0]!.decoded.headers!
    expect(comparable(request)).toEqual({ type: 1, headers: stable, payload: '68656c6c6f' })
    expect(request.map.get('cn__req_id')).toBe(cn__req_id)
    await peer.sendBytes(sent[1]!.bytes)
    expect((await asked).body).toEqual(new TextEncoder().encode('hello'))

    const [broadcast, , , answer] = captured('broadcast')
    await peer.sendBytes(broadcast!.bytes)
    const { cn__route: _r, cn__send_time: _t, cn__req_id: id, ...reply } = answer!.decoded.headers!
    const got = await peer.next()
    expect(comparable(got)).toEqual({
      type: 1,
      headers: reply,
      payload: answer!.decoded.payload_hex,
    })
    expect(got.map.get('cn__req_id')).toBe(id)
  })

  it('unpack bulk messages', async () => {
    const server = cell('server')
    const items: [FobsValue, string][] = []
    server.handle('bulk_ch', 'item', ({ body, origin }) => {
      items.push([body, origin])
      return undefined
    })
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    for (const { bytes } of captured('bulk')) await peer.sendBytes(bytes)
    await settle()
    expect(items).toEqual([
      [new Map([['i', 0]]), 'site-1'],
      [Uint8Array.of(1), 'site-1'],
      [new Map([['i', 2]]), 'site-1'],
    ])
  })
})

describe('attacks', () => {
  it('a name that is in use and alive cannot be taken', async () => {
    const clock = fakeClock()
    const network = new MemoryNetwork()
    const server = cell('server', network)
    await server.listen(SERVER_URL, CLEAR)
    const first = cell('site-1', network)
    await nextEvent(first.dial(SERVER_URL, CLEAR), 'connected')
    const thief = cell('site-1', network, { clock })
    const connector = thief.dial(SERVER_URL, CLEAR)
    expect(await nextEvent(connector, 'refused')).toMatchObject({
      code: 'name_in_use',
      reason: expect.stringContaining('already connected and alive'),
    })
    expect(connector.link).toBeUndefined()
    first.handle('task', 'echo', echo)
    expect((await server.request('site-1', 'task', 'echo', 'still me')).body).toBe('still me')
  })

  it('a name whose holder is silent goes to the newer connection', async () => {
    const clock: FakeClock = fakeClock()
    const server = cell('server', new MemoryNetwork(), { clock })
    const [dead, fresh] = [rawPeer(), rawPeer()]
    await admit(server, dead, 'site-1')
    const deadLink = server.peers.get('site-1')
    const session = server.adopt(fresh.connection, 'passive')
    await fresh.hello('site-1')
    expect((await dead.next()).type).toBe(FRAME.ping)
    expect(fresh.unread).toHaveLength(0)
    clock.advance(2000)
    expect((await fresh.next()).type).toBe(FRAME.ready)
    expect(server.peers.get('site-1')).toBe(await session.ready)
    expect(server.peers.get('site-1')).not.toBe(deadLink)
    await dead.over
  })

  it('of several newcomers under a silent name one gets it, the others are refused', async () => {
    const clock = fakeClock()
    const server = cell('server', new MemoryNetwork(), { clock })
    const [dead, second, third] = [rawPeer(), rawPeer(), rawPeer()]
    await admit(server, dead, 'site-1')
    for (const peer of [second, third]) {
      server.adopt(peer.connection, 'passive')
      await peer.greet(FRAME.hello, { endpoint_name: 'site-1', hanse: [] })
    }
    await dead.next()
    clock.advance(2000)
    const { type, payload } = await second.next()
    expect(type).toBe(FRAME.ready)
    expect(Buffer.from(payload).toString()).not.toContain('refused')
    expect(Buffer.from((await third.next()).payload).toString()).toContain('name_in_use')
    await third.over
    expect(server.peers.size).toBe(1)
  })

  it('a stock dialler that is refused just sees its connection closed', async () => {
    const server = cell('server')
    const peer = rawPeer()
    server.adopt(peer.connection, 'passive')
    await peer.hello('not a name')
    await peer.over
    expect(peer.unread).toEqual([])
  })

  it.each([
    ['another name than its certificate', 'site-2', 'site-1', 'identity_mismatch'],
    ['a job of another site', 'site-2.job', 'site-1', 'identity_mismatch'],
    ['the server', 'server', 'site-1', 'own_name'],
    ['a certificate without a name', 'site-1', undefined, 'identity_mismatch'],
    [
      'an admin name on an ordinary listener',
      '_admin_3778b489-d73a-42ed-a3aa-e68ae97468d8',
      'admin@x',
      'admin_not_allowed',
    ],
  ])('HELLO with %s is refused', async (_what, name, peerName, code) => {
    const server = cell('server', new MemoryNetwork(), {}, { ownName: 'fl.example.com' })
    const peer = rawPeer({ mode: 'mtls', peerName })
    const session = server.adopt(peer.connection, 'passive')
    await peer.greet(FRAME.hello, { endpoint_name: name, hanse: [] })
    const { payload, type } = await peer.next()
    expect(type).toBe(FRAME.ready)
    expect(Buffer.from(payload).toString()).toContain(code)
    await peer.over
    await expect(session.ready).rejects.toMatchObject({
      code: 'ERR_REFUSED',
      details: { reason: code },
    })
    expect(server.peers.size).toBe(0)
  })

  it('the right names come in', async () => {
    const server = cell('server', new MemoryNetwork(), {}, { ownName: 'fl.example.com' })
    const admin = '_admin_3778b489-d73a-42ed-a3aa-e68ae97468d8'
    for (const [name, peerName, adminNames] of [
      ['site-1', 'site-1', false],
      ['site-1.job', 'site-1', false],
      [admin, 'admin@x', true],
    ] as const) {
      const peer = rawPeer({ mode: 'mtls', peerName })
      const session = server.adopt(peer.connection, 'passive', { adminNames })
      await peer.hello(name)
      expect(await session.ready).toMatchObject({ fqcn: name, peerName })
    }
  })

  it('a dialler checks the name of the listener against its certificate', async () => {
    const identities = new Map([['server', 'fl.example.com']])
    const site = cell('site-1', new MemoryNetwork(), {}, { ownName: 'site-1', identities })
    const peer = rawPeer({ mode: 'mtls', peerName: 'site-2' })
    const session = site.adopt(peer.connection, 'active')
    await peer.next()
    await peer.greet(FRAME.ready, { endpoint_name: 'server' })
    await expect(session.ready).rejects.toMatchObject({ details: { reason: 'identity_mismatch' } })
  })

  it('a private pipe is for the expected cell only', async () => {
    const site = cell('site-1')
    const peer = rawPeer()
    const session = site.adopt(peer.connection, 'passive', { expectedName: 'site-1.job' })
    await peer.hello('server')
    await expect(session.ready).rejects.toMatchObject({ details: { reason: 'unexpected_name' } })
  })

  it('data before HELLO closes the connection', async () => {
    const server = cell('server')
    const called = { count: 0 }
    server.handle('task', 'x', () => {
      called.count += 1
      return undefined
    })
    const peer = rawPeer()
    const session = server.adopt(peer.connection, 'passive')
    await peer.sendMessage(requestHeaders('site-1', 'server', 'x'))
    expect(await session.closed).toMatchObject({ code: 'ERR_FRAME' })
    expect(called.count).toBe(0)
  })

  it('no HELLO at all closes the connection in time', async () => {
    const clock = fakeClock()
    const server = cell('server', new MemoryNetwork(), { clock })
    const peer = rawPeer()
    const session = server.adopt(peer.connection, 'passive')
    clock.advance(10_000)
    expect(await session.closed).toMatchObject({ code: 'ERR_HANDSHAKE_TIMEOUT' })
  })

  it('large frames are accepted from admitted peers only', async () => {
    const server = cell('server')
    const [stranger, friend] = [rawPeer(), rawPeer()]
    const session = server.adopt(stranger.connection, 'passive')
    const claim = new Uint8Array(16)
    new DataView(claim.buffer).setUint32(0, 65_537)
    stranger.write(claim)
    expect(await session.closed).toMatchObject({ code: 'ERR_FRAME_LENGTH' })
    server.handle('task', 'size', ({ body }) => ({
      body: body instanceof Uint8Array ? body.length : 0,
    }))
    await admit(server, friend, 'site-1')
    await friend.sendMessage(requestHeaders('site-1', 'server', 'size'), new Uint8Array(100_000))
    expect((await friend.next()).map.get('cn__return_code')).toBe('ok')
  })

  it('a second HELLO with another name closes the connection', async () => {
    const server = cell('server')
    const peer = rawPeer()
    const session = server.adopt(peer.connection, 'passive')
    await peer.hello('site-1')
    await peer.next()
    await peer.hello('site-2')
    expect(await session.closed).toMatchObject({ code: 'ERR_FRAME' })
  })

  it('more connections without a name than allowed are closed', async () => {
    const network = new MemoryNetwork()
    const server = cell('server', network, {}, { maxUnadmitted: 1 })
    await server.listen(SERVER_URL, CLEAR)
    const driver = network.driver()
    const first = await driver.connect(SERVER_URL, CLEAR)
    const second = await driver.connect(SERVER_URL, CLEAR)
    await second.receive(() => {})
    await first[Symbol.asyncDispose]()
    await settle()
    const site = cell('site-1', network)
    await nextEvent(site.dial(SERVER_URL, CLEAR), 'connected')
  })

  it('a forged origin is refused, not served', async () => {
    const { logger, entries } = collect()
    const server = cell('server', new MemoryNetwork(), { logger })
    let served = 0
    server.handle('task', 'x', () => {
      served += 1
      return { body: 'secret' }
    })
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    for (const origin of ['site-2', 'server', 'server.job', 'site-10']) {
      await peer.sendMessage({ ...requestHeaders('site-1', 'server', 'x'), cn__origin: origin })
      const { map, payload } = await peer.next()
      expect(map.get('cn__return_code')).toBe('unauthenticated')
      expect(payload).toHaveLength(0)
    }
    expect(served).toBe(0)
    expect(entries.filter(([message]) => message.includes('forged origin'))).toHaveLength(4)
  })

  it('bye for another cell cuts nobody off', async () => {
    const server = cell('server')
    const [a, b] = [rawPeer(), rawPeer()]
    await admit(server, a, 'site-1')
    await admit(server, b, 'site-2')
    const bye = { cn__channel: 'cellnet.channel' }
    // Forwarded to a third cell: it drops whoever passed it on, if it is a stock cell; ours checks the link.
    await a.sendMessage({ ...requestHeaders('site-1.job', 'server', 'bye'), ...bye })
    expect((await a.next()).map.get('cn__return_code')).toBe('invalid_request')
    expect([...server.peers.keys()]).toEqual(['site-1', 'site-2'])
    await a.sendMessage({ ...requestHeaders('site-1', 'server', 'bye'), ...bye })
    expect((await a.next()).map.get('cn__return_code')).toBe('ok')
    expect([...server.peers.keys()]).toEqual(['site-2'])
  })

  it('a reply from another cell than was asked is ignored', async () => {
    const server = cell('server', new MemoryNetwork(), { randomId: () => 'r-7' })
    const [a, b] = [rawPeer(), rawPeer()]
    await admit(server, a, 'site-1')
    await admit(server, b, 'site-2')
    const pending = server.request('site-1', 'task', 'x', null)
    await a.next()
    const reply = {
      cn__msg_type: 'reply',
      cn__req_id: 'r-7',
      cn__return_code: 'ok',
      cn__payload_encoding: 'bytes',
    }
    await b.sendMessage({ ...requestHeaders('site-2', 'server', 'x'), ...reply }, Uint8Array.of(66))
    await settle()
    await a.sendMessage({ ...requestHeaders('site-1', 'server', 'x'), ...reply }, Uint8Array.of(65))
    expect((await pending).body).toEqual(Uint8Array.of(65))
  })

  it.each<[string, Record<string, unknown>]>([
    ['without a destination', { cn__destination: null }],
    ['with an origin that is no name', { cn__origin: 'a..b' }],
    ['of an unknown type', { cn__msg_type: 'event' }],
    ['with a broken route', { cn__route: [[1, 2]] }],
    ['that went in circles', { cn__route: Array.from({ length: 40 }, (_, i) => [`c${i}`, 1]) }],
  ])('a message %s is dropped, and the link lives on', async (_what, change) => {
    const server = cell('server')
    server.handle('task', 'x', echo)
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    await peer.sendMessage({ ...requestHeaders('site-1', 'server', 'x'), ...(change as object) })
    await peer.sendMessage(requestHeaders('site-1', 'server', 'x', { cn__req_id: 'good' }))
    expect((await peer.next()).map.get('cn__req_id')).toBe('good')
  })

  it('a body that is not what its label says is answered, not served', async () => {
    const server = cell('server')
    server.handle('task', 'x', echo)
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    for (const encoding of ['fobs', 'none', 'pickle']) {
      const headers = requestHeaders('site-1', 'server', 'x', { cn__payload_encoding: encoding })
      await peer.sendMessage(headers, Uint8Array.of(0x64, 0, 1, 2))
      expect((await peer.next()).map.get('cn__return_code')).toBe('invalid_request')
    }
  })

  it('an ad-hoc address is never dialled', async () => {
    const network = new MemoryNetwork()
    const server = cell('server', network)
    server.handle('task', 'x', echo)
    const peer = rawPeer()
    await admit(server, peer, 'site-1')
    let dialled = 0
    await network.driver().listen(new URL('memory://trap:1'), CLEAR, () => {
      dialled += 1
    })
    await peer.sendMessage(
      requestHeaders('site-1', 'server', 'x', {
        cn__conn_url: 'memory://trap:1',
        cn__from: 'site-2',
      }),
    )
    await peer.next()
    await settle()
    expect(dialled).toBe(0)
  })
})

describe('backpressure', () => {
  it('holds back a source whose next hop is slow, and nobody else', async () => {
    const server = cell('server', new MemoryNetwork(), {}, { queueHighWaterBytes: 200_000 })
    const [a, slow] = [rawPeer(), rawPeer()]
    await admit(server, a, 'site-1')
    await admit(server, slow, 'site-2')
    const gate = Promise.withResolvers<void>()
    // The cell's own end stops writing: as a peer that does not read.
    const original = slow.connection.send.bind(slow.connection)
    Reflect.set(slow.connection, 'send', async (parts: readonly Uint8Array[]) => {
      await gate.promise
      await original(parts)
    })
    const big = new Uint8Array(100_000)
    for (let i = 0; i < 20; i++)
      void a.sendMessage(
        requestHeaders('site-1', 'site-2', 'x', { cn__reply_expected: false }),
        big,
      )
    await settle()
    const before = a.connection.bytesReceived
    expect(before).toBeLessThan(1_000_000)
    gate.resolve()
    for (let i = 0; i < 20; i++) expect((await slow.next()).payload.length).toBe(100_000)
    expect(joinBytes([big]).length).toBe(100_000)
  })
})
