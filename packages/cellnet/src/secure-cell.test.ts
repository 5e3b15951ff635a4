import { type LinkSecurity, type MessageCipher, systemClock } from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import { createFobsRegistry, type FobsValue } from '@hanse/fobs'
import { createMessageCipher, loadIdentity } from '@hanse/pki'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import { MemoryNetwork } from '../test/memory-driver.ts'
import { RawPeer, requestHeaders } from '../test/raw-peer.ts'
import { type CellOptions, createCell } from './cell.ts'
import type { Cell } from './cell-api.ts'
import type { ConnectorEvents } from './connector.ts'

let ours: League
let foreign: League
beforeAll(async () => {
  ;[ours, foreign] = await createLeagues()
})

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function cipherFor(name: string, league: League = ours): MessageCipher {
  const { ca, cert, key } = league.material(name)
  const identity = loadIdentity({ root: ca, cert: cert ?? '', key: key ?? '' }, { now: Date.now() })
  return createMessageCipher({ identity, clock: systemClock })
}

const CLEAR: LinkSecurity = { mode: 'clear' }
const URL_OF_SERVER = new URL('memory://server:1')
const echo = ({ body }: { body: FobsValue }) => ({ body })

function secureCell(
  fqcn: string,
  network: MemoryNetwork,
  cipher: MessageCipher | undefined = cipherFor(fqcn),
  options: CellOptions = {},
): Cell {
  const cell = createCell(
    fqcn,
    { drivers: [network.driver()], registry: createFobsRegistry(), cipher },
    { closeTimeoutMs: 50, ...options },
  )
  open.push(cell)
  return cell
}

async function connect(cell: Cell, url: URL, security: LinkSecurity): Promise<void> {
  const connector = cell.dial(url, security)
  await new Promise((resolve) => connector.on('connected', resolve))
}

describe('secure messages', () => {
  async function threeCells(): Promise<{ server: Cell; a: Cell; b: Cell }> {
    const network = new MemoryNetwork()
    const server = secureCell('server', network)
    await server.listen(URL_OF_SERVER, CLEAR)
    const a = secureCell('site-1', network)
    const b = secureCell('site-2', network)
    for (const cell of [a, b]) await connect(cell, URL_OF_SERVER, CLEAR)
    return { server, a, b }
  }

  it.each<[string, FobsValue]>([
    ['bytes', Uint8Array.of(1, 2, 3)],
    ['nothing', null],
    // Stock cells cannot send these: ours encrypt any body.
    ['a FOBS value', new Map([['k', 'v']])],
  ])('carry %s past a server that cannot read them', async (_name, body) => {
    const { server, a, b } = await threeCells()
    const passed: [unknown, unknown][] = []
    server.incoming(({ headers, forMe }) => {
      if (!forMe && headers.get('cn__channel') === 'task')
        passed.push([headers.get('cn__secure'), headers.get('cn__encrypted')])
      return undefined
    })
    b.handle('task', 'echo', ({ body: value, headers }) => {
      expect(headers.has('cn__encrypted')).toBe(false)
      return { body: value }
    })
    const reply = await a.request('site-2', 'task', 'echo', body, { secure: true })
    expect(reply).toMatchObject({ returnCode: 'ok' })
    expect(reply.body).toEqual(body)
    expect(passed).toEqual([
      [true, true],
      [true, true],
    ])
  })

  it('work on streamed channels', async () => {
    const { a, b } = await threeCells()
    b.handle('aux_communication', 'echo', echo)
    const body = new Uint8Array(2_500_000).fill(7)
    const reply = await a.request('site-2', 'aux_communication', 'echo', body, { secure: true })
    expect(reply.returnCode).toBe('ok')
    expect(reply.body).toEqual(body)
  })

  it('exchange certificates once', async () => {
    const { server, a, b } = await threeCells()
    let exchanges = 0
    server.incoming(({ headers }) => {
      if (headers.get('cn__topic') === 'key_exchange' && headers.get('cn__msg_type') === 'req')
        exchanges += 1
      return undefined
    })
    b.handle('task', 'echo', echo)
    await Promise.all(
      [1, 2, 3].map((n) => a.request('site-2', 'task', 'echo', n, { secure: true })),
    )
    await a.request('site-2', 'task', 'echo', 4, { secure: true })
    expect(exchanges).toBe(1)
  })

  it('are opened after a restart of the receiver, whose cache is empty', async () => {
    const network = new MemoryNetwork()
    const server = secureCell('server', network)
    await server.listen(URL_OF_SERVER, CLEAR)
    const site = secureCell('site-1', network)
    await connect(site, URL_OF_SERVER, CLEAR)
    const first = secureCell('site-2', network)
    first.handle('task', 'echo', echo)
    await connect(first, URL_OF_SERVER, CLEAR)
    await site.request('site-2', 'task', 'echo', 'a', { secure: true })
    await first[Symbol.asyncDispose]()
    const second = secureCell('site-2', network)
    second.handle('task', 'echo', echo)
    await connect(second, URL_OF_SERVER, CLEAR)
    const replies = await Promise.all(
      ['x', 'y'].map((body) => site.request('site-2', 'task', 'echo', body, { secure: true })),
    )
    expect(replies.map(({ body }) => body)).toEqual(['x', 'y'])
  })

  it('fail without a certificate on either side', async () => {
    const network = new MemoryNetwork()
    const server = secureCell('server', network, undefined)
    const plain = createCell(
      'site-1',
      { drivers: [network.driver()], registry: createFobsRegistry() },
      { closeTimeoutMs: 50 },
    )
    open.push(plain)
    await server.listen(URL_OF_SERVER, CLEAR)
    await connect(plain, URL_OF_SERVER, CLEAR)
    server.handle('task', 'echo', echo)
    plain.handle('task', 'echo', echo)
    const secure = { secure: true }
    expect((await plain.request('server', 'task', 'echo', null, secure)).returnCode).toBe(
      'comm_error',
    )
    expect((await server.request('site-1', 'task', 'echo', null, secure)).returnCode).toBe(
      'comm_error',
    )
  })

  it.each([
    ['of somebody else', () => cipherFor('site-2')],
    ['of another root', () => cipherFor('site-1', foreign)],
  ])('never go to a peer with a certificate %s', async (_name, cipher) => {
    const network = new MemoryNetwork()
    const server = secureCell('server', network)
    await server.listen(URL_OF_SERVER, CLEAR)
    const impostor = secureCell('site-1', network, cipher())
    let served = 0
    impostor.handle('task', 'x', () => {
      served += 1
      return {}
    })
    server.handle('task', 'x', () => {
      served += 1
      return {}
    })
    await connect(impostor, URL_OF_SERVER, CLEAR)
    for (const [from, to] of [
      [server, 'site-1'],
      [impostor, 'server'],
    ] as const) {
      const { returnCode } = await from.request(to, 'task', 'x', null, { secure: true })
      expect(['comm_error', 'invalid_request']).toContain(returnCode)
    }
    expect(served).toBe(0)
  })

  it('are refused when changed on the way', async () => {
    const network = new MemoryNetwork()
    const server = secureCell('server', network)
    server.handle('task', 'x', echo)
    await using peer = new RawPeer()
    server.adopt(peer.connection, 'passive')
    await peer.hello('site-1')
    await peer.next()
    const secret = cipherFor('site-1')
    const headers = (more: Record<string, boolean | number>) =>
      requestHeaders('site-1', 'server', 'x', { cn__secure: true, cn__encrypted: true, ...more })
    await peer.sendMessage(headers({ cn__clear_payload_len: 1 }), new Uint8Array(600))
    // The server asks for the certificate first.
    const exchange = await peer.next()
    expect(exchange.map.get('cn__topic')).toBe('key_exchange')
    await peer.sendMessage({
      ...requestHeaders('site-1', 'server', 'key_exchange'),
      cn__channel: 'credential_manager',
      cn__msg_type: 'reply',
      cn__return_code: 'process_exception',
      cn__error: secret.certificates.chain.slice(0, 10),
      cn__req_id: exchange.map.get('cn__req_id') ?? '',
      cn__payload_encoding: 'none',
    })
    expect((await peer.next()).map.get('cn__return_code')).toBe('invalid_request')
  })
})

describe('cells over mutual TLS', () => {
  const ANY = new URL('tcp://127.0.0.1:0')

  function tlsCell(fqcn: string, ownName: string, options: CellOptions = {}): Cell {
    const cell = createCell(
      fqcn,
      { drivers: [tcp()], registry: createFobsRegistry() },
      {
        ownName,
        closeTimeoutMs: 50,
        identities: new Map([['server', 'fl.example.com']]),
        ...options,
      },
    )
    open.push(cell)
    return cell
  }

  async function serverCell(): Promise<{ server: Cell; url: URL }> {
    const server = tlsCell('server', 'fl.example.com')
    const { url } = await server.listen(ANY, ours.mtls('fl.example.com'))
    return { server, url }
  }

  it('find each other, prove their names and talk', async () => {
    const { server, url } = await serverCell()
    const site = tlsCell('site-1', 'site-1')
    const connector = site.dial(url, ours.mtls('site-1'))
    await new Promise((resolve) => connector.on('connected', resolve))
    expect(connector.link).toMatchObject({ fqcn: 'server', peerName: 'fl.example.com' })
    expect(connector.link?.connection.info).toMatchObject({
      mode: 'mtls',
      tlsVersion: 'TLSv1.3',
      keyExchange: 'X25519MLKEM768',
    })
    server.handle('task', 'who', ({ link }) => ({ body: link?.peerName ?? '' }))
    expect((await site.request('server', 'task', 'who', null)).body).toBe('site-1')
    server.handle('aux_communication', 'echo', echo)
    const body = new Uint8Array(5_000_000).fill(3)
    const reply = await site.request('server', 'aux_communication', 'echo', body)
    expect(reply.body).toEqual(body)
  })

  async function firstEvent(
    fqcn: string,
    url: URL,
    security: LinkSecurity,
    name: keyof ConnectorEvents,
  ): Promise<ConnectorEvents[keyof ConnectorEvents]> {
    const connector = tlsCell(fqcn, fqcn).dial(url, security)
    return await new Promise((resolve) => connector.on(name, resolve))
  }

  it('refuse a site that calls itself by another’s name, and say so', async () => {
    const { server, url } = await serverCell()
    const refused = await firstEvent('site-2', url, ours.mtls('site-1'), 'refused')
    expect(refused).toMatchObject({
      code: 'identity_mismatch',
      reason: expect.stringContaining('must present a certificate for site-2, not for site-1'),
    })
    expect(server.peers.size).toBe(0)
  })

  it('explain why a link does not come up', async () => {
    const { server, url } = await serverCell()
    const expired = await firstEvent(
      'site-1',
      url,
      ours.mtls('site-1', { expired: true }),
      'failed',
    )
    expect(expired).toMatchObject({
      reason: expect.stringContaining('our own certificate expired'),
    })
    const untrusting = await firstEvent('site-1', url, foreign.mtls('site-1'), 'failed')
    expect(untrusting).toMatchObject({ reason: expect.stringContaining('comes from another root') })
    const { cert, key } = foreign.material('site-1')
    const stranger: LinkSecurity = { mode: 'mtls', tls: { ca: ours.ca, cert, key } }
    const unwanted = await firstEvent('site-1', url, stranger, 'failed')
    expect(unwanted).toMatchObject({
      reason: expect.stringContaining('does not accept our certificate or name'),
    })
    expect(server.peers.size).toBe(0)
  })

  it('tell a second process under a live name to end', async () => {
    const { url } = await serverCell()
    const first = tlsCell('site-1', 'site-1')
    await connect(first, url, ours.mtls('site-1'))
    const second = await firstEvent('site-1', url, ours.mtls('site-1'), 'refused')
    expect(second).toMatchObject({ code: 'name_in_use' })
    expect(first.peers.has('server')).toBe(true)
  })
})
