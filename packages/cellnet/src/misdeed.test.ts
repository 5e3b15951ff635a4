import type { LinkSecurity } from '@hanse/contract'
import { createFobsRegistry } from '@hanse/fobs'
import { afterEach, describe, expect, it } from 'vitest'
import { fakeClock } from '../test/fake-clock.ts'
import { MemoryNetwork } from '../test/memory-driver.ts'
import { RawPeer, requestHeaders } from '../test/raw-peer.ts'
import { type CellOptions, createCell } from './cell.ts'
import type { Cell } from './cell-api.ts'
import type { Misdeed } from './misdeed.ts'
import { CELL_APP_ID, FRAME } from './sfm/frame.ts'

const CLEAR: LinkSecurity = { mode: 'clear' }
const URL_OF_SERVER = new URL('memory://server:1')

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function setUp(options: CellOptions = {}) {
  const network = new MemoryNetwork()
  const clock = fakeClock()
  const server = createCell(
    'server',
    { drivers: [network.driver()], registry: createFobsRegistry(), clock },
    { closeTimeoutMs: 50, ...options },
  )
  open.push(server)
  const misdeeds: Misdeed[] = []
  const waiting: (() => void)[] = []
  server.onPeer('misdeed', (misdeed) => {
    misdeeds.push(misdeed)
    for (const wake of waiting.splice(0)) wake()
  })
  const misdeed = async (): Promise<Misdeed> => {
    if (misdeeds.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
    return misdeeds.shift()!
  }
  return { network, server, clock, misdeeds, misdeed }
}

async function admitted(server: Cell, name: string): Promise<RawPeer> {
  const peer = new RawPeer()
  open.push(peer)
  server.adopt(peer.connection, 'passive')
  await peer.hello(name)
  expect((await peer.next()).type).toBe(FRAME.ready)
  return peer
}

describe('a misdeed is told', () => {
  it('when a message comes in the name of another cell', async () => {
    const { server, misdeed } = setUp()
    const peer = await admitted(server, 'site-1')
    await peer.sendMessage({ ...requestHeaders('site-1', 'server', 'x'), cn__origin: 'site-2' })
    expect(await misdeed()).toMatchObject({
      fqcn: 'site-1',
      code: 'forged_origin',
      reason: expect.stringMatching(/site-2/),
    })
  })

  it.each([
    ['are no map', Uint8Array.of(0x01)],
    ['cannot be read', Uint8Array.of(0xc1)],
    ['lack an origin', Uint8Array.of(0x80)],
  ])('when headers %s; the link stays', async (_what, headers) => {
    const { server, misdeed } = setUp()
    const peer = await admitted(server, 'site-1')
    await peer.sendFrame(FRAME.data, headers, new Uint8Array(0), CELL_APP_ID)
    expect(await misdeed()).toMatchObject({ fqcn: 'site-1', code: 'headers' })
    expect(server.peers.has('site-1')).toBe(true)
  })

  it('when a greeting gives no name that a cell can have', async () => {
    const { server, misdeed } = setUp()
    const peer = new RawPeer()
    open.push(peer)
    server.adopt(peer.connection, 'passive')
    await peer.hello('../site-1')
    expect(await misdeed()).toMatchObject({
      fqcn: '',
      code: 'headers',
      reason: expect.stringMatching(/not a valid cell name/),
    })
  })

  it('when a body is not what its encoding says', async () => {
    const { server, misdeed } = setUp()
    server.handle('task', 'x', () => ({}))
    const peer = await admitted(server, 'site-1')
    await peer.sendMessage(
      { ...requestHeaders('site-1', 'server', 'x'), cn__payload_encoding: 'fobs' },
      Uint8Array.of(1, 2, 3),
    )
    expect(await misdeed()).toMatchObject({
      code: 'body',
      reason: expect.stringMatching(/task\/x/),
    })
  })

  it.each([
    ['is too long', [0xff, 0xff, 0xff, 0xff], 'frame_length'],
    ['is shorter than its prefix', [0, 0, 0, 15], 'frame_length'],
    ['ends before its headers do', [0, 0, 0, 16, 0, 9, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], 'frame'],
  ])('when a frame %s; the link ends', async (_what, bytes, code) => {
    const { server, misdeed } = setUp()
    const peer = await admitted(server, 'site-1')
    peer.write(Uint8Array.from(bytes))
    expect(await misdeed()).toMatchObject({ fqcn: 'site-1', code })
    await peer.over
    expect(server.peers.has('site-1')).toBe(false)
  })

  it('when a connection does not say in time who it is', async () => {
    const { server, clock, misdeed } = setUp({ handshakeTimeoutMs: 100 })
    const peer = new RawPeer()
    open.push(peer)
    server.adopt(peer.connection, 'passive')
    clock.advance(101)
    expect(await misdeed()).toMatchObject({ fqcn: '', code: 'no_greeting' })
  })

  it('when one peer opens more connections without a name than it may', async () => {
    const { network, server, misdeed } = setUp({ maxUnadmittedPerPeer: 2 })
    await server.listen(URL_OF_SERVER, CLEAR)
    const driver = network.driver()
    for (let i = 0; i < 2; i++) open.push(await driver.connect(URL_OF_SERVER, CLEAR))
    const third = await driver.connect(URL_OF_SERVER, CLEAR)
    await third.receive(() => {})
    expect(await misdeed()).toMatchObject({ code: 'too_many' })
  })
})

it('one certificate gets no more links than it may have', async () => {
  const { server } = setUp({ maxPeersPerCertificate: 1 })
  const refused: string[] = []
  server.onPeer('refused', ({ code }) => refused.push(code))
  const admin = (i: number) => `_admin_00000000-0000-4000-8000-00000000000${i}`
  const peers = [0, 1].map(() => new RawPeer({ mode: 'mtls', peerName: 'lead@example.org' }))
  open.push(...peers)
  for (const peer of peers) server.adopt(peer.connection, 'passive', { adminNames: true })
  await peers[0]!.hello(admin(0))
  expect((await peers[0]!.next()).type).toBe(FRAME.ready)
  await peers[1]!.hello(admin(1))
  await peers[1]!.over
  expect(refused).toEqual(['too_many'])
  expect([...server.peers.keys()]).toEqual([admin(0)])
})

it('a return is believed only over the link of its request', async () => {
  const { server } = setUp()
  const asked = await admitted(server, 'site-1')
  const other = await admitted(server, 'site-2')
  const reply = server.request('site-1', 'task', 'x', null)
  const request = await asked.next()
  const id = request.map.get('cn__req_id') ?? ''
  const answer = { cn__req_id: id, cn__destination: 'server', cn__payload_encoding: 'none' }
  await other.sendMessage({
    ...answer,
    cn__origin: 'site-2',
    cn__msg_type: 'return',
    cn__return_code: 'comm_error',
    cn__original_headers: new Map([['cn__destination', 'site-1']]),
  })
  // Its own request is answered after that, in order.
  await other.sendMessage({ ...requestHeaders('site-2', 'server', 'nothing') })
  await other.next()
  await asked.sendMessage({
    ...answer,
    cn__origin: 'site-1',
    cn__msg_type: 'reply',
    cn__return_code: 'ok',
  })
  expect(await reply).toMatchObject({ returnCode: 'ok', origin: 'site-1' })
})
