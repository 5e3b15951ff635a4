import type { LinkSecurity } from '@hanse/contract'
import { createFobsRegistry } from '@hanse/fobs'
import { afterEach, describe, expect, it } from 'vitest'
import { createFrameKeyShare } from '../../../pki/src/frame-proofs.ts'
import { MemoryNetwork } from '../../test/memory-driver.ts'
import { RawPeer, requestHeaders } from '../../test/raw-peer.ts'
import { createCell } from '../cell.ts'
import type { Cell } from '../cell-api.ts'
import type { Connector } from '../connector.ts'
import type { Misdeed } from '../misdeed.ts'
import type { PeerLink } from '../peer-link.ts'
import { encodePrefix, FRAME } from './frame.ts'
import { encodeMap } from './wire-map.ts'

const CLEAR: LinkSecurity = { mode: 'clear' }
const URL_OF_SERVER = new URL('memory://server:1')

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function cell(fqcn: string, network: MemoryNetwork): Cell {
  const made = createCell(
    fqcn,
    { drivers: [network.driver()], registry: createFobsRegistry() },
    { closeTimeoutMs: 50 },
  )
  open.push(made)
  return made
}

function connected(connector: Connector): Promise<PeerLink> {
  return new Promise((resolve) => connector.on('connected', ({ link }) => resolve(link)))
}

/** A server and a site whose link is up; both offer proofs unless told otherwise. */
async function twoCells({ server: serverOffers = true, site: siteOffers = true } = {}) {
  const network = new MemoryNetwork()
  const server = cell('server', network)
  const site = cell('site-1', network)
  const accepted = new Promise<PeerLink>((resolve) => server.onPeer('connected', resolve))
  await server.listen(URL_OF_SERVER, CLEAR, { proofs: serverOffers })
  const near = await connected(site.dial(URL_OF_SERVER, CLEAR, { proofs: siteOffers }))
  for (const one of [server, site]) one.handle('task', 'echo', ({ body }) => ({ body }))
  return { network, server, site, near, far: await accepted }
}

function keysFor(near: PeerLink, far: PeerLink, coversPayload = true): void {
  const [a, b] = [createFrameKeyShare(), createFrameKeyShare()]
  const options = { transcript: new Uint8Array(1), coversPayload }
  far.proofs.stage(b.agree(a.share, { ...options, side: 'listener' }), {})
  near.proofs.start(a.agree(b.share, { ...options, side: 'dialler' }))
}

describe('a link where both ends offer proofs', () => {
  it('is closed to all but what is sent over it on purpose, until both ends open it', async () => {
    const { server, site, near, far } = await twoCells()
    expect([near.isOpen, far.isOpen]).toEqual([false, false])
    expect(await site.request('server', 'task', 'echo', 'x')).toMatchObject({
      returnCode: 'target_unreachable',
    })
    expect(await server.request('site-1', 'task', 'echo', 'x')).toMatchObject({
      returnCode: 'target_unreachable',
    })
    expect(await site.request('server', 'task', 'echo', 'x', { via: near })).toMatchObject({
      returnCode: 'ok',
      body: 'x',
    })
    near.open()
    far.open()
    expect(await server.request('site-1', 'task', 'echo', 'y')).toMatchObject({ body: 'y' })
  })

  it('carries a code on every message, both ways, from the first of the dialler on', async () => {
    const { server, site, near, far } = await twoCells()
    keysFor(near, far)
    expect(far.proofs.active).toBe(false)
    expect(await site.request('server', 'task', 'echo', 'x', { via: near })).toMatchObject({
      body: 'x',
    })
    expect([near.proofs.active, far.proofs.active]).toEqual([true, true])
    near.open()
    far.open()
    const bodies = Array.from({ length: 50 }, (_, i) => i)
    const answers = await Promise.all(
      bodies.map((body) =>
        (body % 2 === 0 ? site : server).request(
          body % 2 === 0 ? 'server' : 'site-1',
          'task',
          'echo',
          body,
        ),
      ),
    )
    expect(answers.map(({ body }) => body)).toEqual(bodies)
  })

  it('carries streams too, with and without their bytes covered', async () => {
    for (const coversPayload of [true, false]) {
      const { server, site, near, far } = await twoCells()
      keysFor(near, far, coversPayload)
      await site.request('server', 'task', 'echo', 'x', { via: near })
      near.open()
      far.open()
      server.handle('bulk', 'echo', ({ body }) => ({ body }))
      const body = new Uint8Array(3_000_000).map((_, i) => i * 31)
      const reply = await site.request('server', 'bulk', 'echo', body, { timeoutMs: 20_000 })
      expect(Buffer.compare(reply.body as Uint8Array, body)).toBe(0)
    }
  })
})

it.each([{ server: false }, { site: false }])(
  'a link where one end offers none is open at once: %o',
  async (offers) => {
    const { server, near, far } = await twoCells(offers)
    expect([near.isOpen, far.isOpen, near.proofs.offered]).toEqual([true, true, false])
    expect(await server.request('site-1', 'task', 'echo', 'x')).toMatchObject({ body: 'x' })
  },
)

describe('a peer on a link with proofs', () => {
  /** A raw peer that has the keys, and a server that heard its first message with a code. */
  async function provenPeer() {
    const server = cell('server', new MemoryNetwork())
    server.handle('task', 'echo', ({ body }) => ({ body }))
    const misdeeds: Misdeed[] = []
    server.onPeer('misdeed', (misdeed) => misdeeds.push(misdeed))
    const peer = new RawPeer()
    open.push(peer)
    const session = server.adopt(peer.connection, 'passive', { proofs: true })
    await peer.greet(FRAME.hello, { endpoint_name: 'site-1', fqcn: 'site-1', hanse: ['proof/1'] })
    await peer.next()
    const link = await session.ready
    link.open()
    const [a, b] = [createFrameKeyShare(), createFrameKeyShare()]
    const options = { transcript: new Uint8Array(1), coversPayload: true }
    link.proofs.stage(b.agree(a.share, { ...options, side: 'listener' }), {})
    const proofs = a.agree(b.share, { ...options, side: 'dialler' })
    const sealed = (payload = new Uint8Array(0), topic = 'echo'): Uint8Array[] => {
      const headers = encodeMap(new Map(Object.entries(requestHeaders('site-1', 'server', topic))))
      const prefix = encodePrefix(
        { type: FRAME.data, appId: 1, streamId: 1, sequence: 1, proven: true },
        headers.length + 16,
        payload.length,
      )
      const code = proofs.seal([prefix, headers, payload])
      return [prefix, headers, code, payload]
    }
    const send = (parts: readonly Uint8Array[]) => peer.sendBytes(Buffer.concat(parts))
    await send(sealed())
    expect(await peer.next()).toMatchObject({ proven: true })
    return { peer, sealed, send, misdeeds, session }
  }

  it.each<[string, (tools: Awaited<ReturnType<typeof provenPeer>>) => Promise<unknown>]>([
    [
      'that sends one without a code',
      ({ peer }) => peer.sendMessage(requestHeaders('site-1', 'server', 'echo')),
    ],
    [
      'whose payload was changed',
      ({ sealed, send }) => {
        const [prefix, headers, code, payload] = sealed(Uint8Array.of(1, 2, 3))
        payload![1]! ^= 1
        return send([prefix!, headers!, code!, payload!])
      },
    ],
    [
      'whose headers were changed',
      ({ sealed, send }) => {
        const parts = sealed()
        const at = Buffer.from(parts[1]!).indexOf('echo')
        parts[1]![at] = 'x'.charCodeAt(0)
        return send(parts)
      },
    ],
    [
      'that sends one twice',
      async ({ sealed, send }) => {
        const parts = sealed()
        await send(parts)
        await send(parts)
      },
    ],
    [
      'of which one was left out',
      ({ sealed, send }) => {
        sealed()
        return send(sealed())
      },
    ],
    [
      'of which two changed places',
      async ({ sealed, send }) => {
        const [one, two] = [sealed(), sealed()]
        await send(two)
        await send(one)
      },
    ],
    [
      'whose code is all zero',
      ({ sealed, send }) => {
        const [prefix, headers, , payload] = sealed()
        return send([prefix!, headers!, new Uint8Array(16), payload!])
      },
    ],
  ])('%s loses the link, and is reported', async (_what, attack) => {
    const tools = await provenPeer()
    await attack(tools).catch(() => {})
    await tools.peer.over
    expect(await tools.session.closed).toMatchObject({ code: 'ERR_PROOF' })
    expect(tools.misdeeds).toMatchObject([{ fqcn: 'site-1', code: 'proof' }])
  })

  it('may still show signs of life, which nothing acts on', async () => {
    const { peer, sealed, send } = await provenPeer()
    await peer.sendFrame(FRAME.ping, new Uint8Array(0), Uint8Array.of(0xc0))
    expect(await peer.next()).toMatchObject({ type: FRAME.pong })
    await send(sealed())
    expect(await peer.next()).toMatchObject({ proven: true })
  })
})

it('a code where no keys were agreed on ends the link', async () => {
  const server = cell('server', new MemoryNetwork())
  const peer = new RawPeer()
  open.push(peer)
  const session = server.adopt(peer.connection, 'passive', { proofs: true })
  await peer.hello('site-1')
  await peer.next()
  const headers = encodeMap(new Map(Object.entries(requestHeaders('site-1', 'server', 'x'))))
  const prefix = encodePrefix(
    { type: FRAME.data, appId: 1, streamId: 1, sequence: 1, proven: true },
    headers.length + 16,
    0,
  )
  // It is cut off while it sends.
  await peer.sendBytes(Buffer.concat([prefix, headers, new Uint8Array(16)])).catch(() => {})
  expect(await session.closed).toMatchObject({ code: 'ERR_PROOF' })
})
