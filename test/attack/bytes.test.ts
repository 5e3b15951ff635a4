import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { encode } from '@msgpack/msgpack'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fobs } from '../support/attacker-login.ts'
import { type AttackerPeer, FRAME, frameOf } from '../support/attacker-peer.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { ATTACK_SCHEME } from '../support/attacker-wire.ts'
import { SERVER } from '../support/league.ts'

let scene: AttackScene
beforeAll(async () => {
  scene = await AttackScene.start()
})
afterAll(() => scene?.[Symbol.asyncDispose]())
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

const NOTHING = new Uint8Array(0)
const MEMBER = 'member@example.org'
const KIB = 1024
const MIB = 1024 * KIB

/** The first 16 bytes of a frame that says it has `length` bytes. */
function prefixOf(length: number): Uint8Array {
  return frameOf(FRAME.data, NOTHING, NOTHING, { length })
}

describe('a frame before the greeting', () => {
  it.each([
    ['of no length', 0],
    ['shorter than its prefix', 15],
    ['longer than a greeting may be', 64 * KIB + 1],
    ['of 4 GiB', 2 ** 32 - 1],
  ])('%s ends the connection before its body comes', async (_what, length) => {
    const peer = await scene.dial('site-3')
    peer.write(prefixOf(length))
    await peer.closed
    await scene.recorded(SERVER, {
      actor: 'site-3',
      act: 'protocol',
      code: 'frame-length',
      text: new RegExp(`\\b${length}\\b`),
    })
  })

  it.each<[string, Uint8Array, string]>([
    ['of data', frameOf(FRAME.data, NOTHING, NOTHING), 'frame'],
    ['of the other side', frameOf(FRAME.ready, NOTHING, encode({ endpoint_name: 'x' })), 'frame'],
    [
      'whose headers end after it',
      frameOf(FRAME.hello, NOTHING, NOTHING, { headerLength: 9 }),
      'frame',
    ],
    [
      'whose greeting is no MessagePack',
      frameOf(FRAME.hello, NOTHING, Uint8Array.of(0xc1)),
      'headers',
    ],
    ['whose greeting is a bomb', frameOf(FRAME.hello, NOTHING, nested(40_000)), 'headers'],
    [
      'whose greeting claims 4 Gi elements',
      frameOf(FRAME.hello, NOTHING, Uint8Array.of(0xdf, 255, 255, 255, 255)),
      'headers',
    ],
  ])('%s ends the connection', async (_what, bytes, code) => {
    const peer = await scene.dial('site-4')
    peer.write(bytes)
    await peer.closed
    await scene.recorded(SERVER, { actor: 'site-4', act: 'protocol', code })
  })

  it('of a type that nobody knows, and a ping, mean nothing', async () => {
    const peer = await scene.dial('site-3')
    for (const type of [0, 2, 3, 6, 7, 9, 255]) peer.write(frameOf(type, NOTHING, NOTHING))
    expect(await peer.hello('site-3')).toEqual({ admitted: true })
  })
})

describe('a frame of an admitted peer', () => {
  it.each([
    ['shorter than its prefix', 3],
    ['longer than a frame may be', 64 * MIB + 1],
    ['of 4 GiB', 2 ** 32 - 1],
  ])('%s ends the link before its body comes', async (_what, length) => {
    const peer = await scene.link('site-4')
    peer.write(prefixOf(length))
    await peer.closed
    await scene.recorded(SERVER, {
      actor: 'site-4',
      code: 'frame-length',
      text: new RegExp(`${length}`),
    })
  })

  it('whose headers end after it ends the link', async () => {
    const peer = await scene.link('site-3')
    peer.write(frameOf(FRAME.data, NOTHING, NOTHING, { headerLength: 65_535 }))
    await peer.closed
    await scene.recorded(SERVER, { actor: 'site-3', act: 'protocol', code: 'frame' })
  })

  it.each<[string, Uint8Array]>([
    ['garbage', Uint8Array.of(0xc1, 0xff, 0x00, 0x13)],
    ['no map', encode(['cn__origin'])],
    ['a map that is not whole', encode({ cn__origin: 'site-3' }).subarray(0, 8)],
    ['a bomb', nested(60_000)],
    ['an extension type', Uint8Array.of(0x81, 0xa1, 0x61, 0xd4, 0x01, 0x00)],
    ['the same key twice', Uint8Array.of(0x82, 0xa1, 0x61, 0x01, 0xa1, 0x61, 0x02)],
    ['a route that is no route', encode({ ...minimal(), cn__route: 'site-1' })],
    [
      'a route without end',
      encode({ ...minimal(), cn__route: Array.from({ length: 99 }, () => ['a', 1]) }),
    ],
    ['an origin that is no name', encode({ ...minimal(), cn__origin: '../server' })],
    ['keys of prototypes', encode({ constructor: {}, hasOwnProperty: 1, cn__origin: 'site-3' })],
  ])('with headers that are %s is dropped; the link stays', async (_what, headers) => {
    const peer = await scene.link('site-3')
    peer.write(frameOf(FRAME.data, headers, NOTHING))
    const reply = await peer.request({ cn__topic: 'challenge', nonce: 'n' })
    expect(reply.returnCode).toBe('ok')
    const refusal = { actor: 'site-3', act: 'protocol', code: 'headers', target: 'site-3' }
    await scene.recorded(SERVER, { ...refusal, folded: true })
  })
})

describe('a body', () => {
  const bodies: [string, Uint8Array, RegExp][] = [
    ['that is no envelope', Uint8Array.of(1, 2, 3, 4), /./],
    ['of an unknown type', withUnknownType(), /type|unknown/i],
    ['that is a bomb of nesting', envelope(nested(100_000)), /./],
    ['that claims 4 Gi elements', envelope(Uint8Array.of(0xdd, 255, 255, 255, 255)), /./],
    ['that claims a text of 4 GiB', envelope(Uint8Array.of(0xdb, 255, 255, 255, 255)), /./],
    ['with a section of 2^64 bytes', Uint8Array.from({ length: 64 }, () => 255), /./],
  ]
  it.each(bodies)('%s is refused, and its sender told', async (what, payload, reason) => {
    const { peer, stamp } = await scene.intruder('site-3')
    // Each at another handler, so that each is an entry of its own.
    const topic = ['heart_beat', 'quit', 'report_job_failure', 'challenge', 'register'][
      bodies.findIndex(([name]) => name === what) % 5
    ]
    const reply = await peer.request({ ...stamp, cn__topic: topic }, payload)
    expect(reply).toMatchObject({
      returnCode: 'invalid_request',
      error: expect.stringMatching(reason),
    })
    await scene.recorded(SERVER, { actor: 'site-3', act: 'protocol', code: 'body', folded: true })
  })

  it('that is not usable is recorded', async () => {
    const { peer, stamp } = await scene.intruder('site-4')
    await peer.request({ ...stamp, cn__topic: 'report_job_failure' }, Uint8Array.of(1, 2, 3))
    await scene.recorded(SERVER, { actor: 'site-4', act: 'protocol', code: 'body' })
    const upload = ['aux_communication', 'ObjectStreamer.Request'] as const
    await peer.streamed(...upload, stamp, withUnknownType())
    await scene.recorded(SERVER, { actor: 'site-4', code: 'body', text: /aux_communication/ })
  })

  it('with keys of prototypes changes nothing', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const body = fobs(
      new Map<string, unknown>([
        ['__proto__', new Map([['isAdmin', true]])],
        ['constructor', new Map([['prototype', new Map([['code', 101]])]])],
        ['job_id', '__proto__'],
        ['code', 0],
      ]),
    )
    const reply = await peer.request({ ...stamp, cn__topic: 'report_job_failure' }, body)
    expect(reply.returnCode).toBe('ok')
  })

  it('that is announced larger than any cell takes is refused before it comes', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const announced = { ...stamp, sm__dt: 1, sm__sz: 2 ** 50 }
    peer.send(
      {
        ...announced,
        cn__channel: 'sm__STREAM',
        cn__topic: 'sm__DATA',
        cn__payload_encoding: 'bytes',
        sm__id: 7,
        sm__sq: 0,
        sm__os: 0,
        sm__ch: 'aux_communication',
        sm__tp: 'ObjectStreamer.Request',
        sm__pe: 'fobs',
      },
      Uint8Array.of(1),
    )
    await peer.request({ ...stamp, cn__topic: 'heart_beat' })
    expect(JSON.stringify(peer.heard)).toMatch(/8388608 are allowed here/)
  })

  it('of chunks that contradict each other ends that stream only', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const chunk = (more: Record<string, unknown>) =>
      peer.send(
        {
          ...stamp,
          cn__channel: 'sm__STREAM',
          cn__topic: 'sm__DATA',
          cn__payload_encoding: 'bytes',
          sm__id: 8,
          sm__dt: 1,
          sm__sq: 0,
          sm__os: 0,
          sm__sz: 100,
          sm__ch: 'aux_communication',
          sm__tp: 'ObjectStreamer.Request',
          sm__pe: 'fobs',
          ...more,
        },
        new Uint8Array(10),
      )
    chunk({})
    chunk({ sm__sq: 1, sm__os: 5 })
    for (const sm__id of [-1, 1.5, 2 ** 60, 'x', null]) chunk({ sm__id })
    for (const sm__os of [-1, 1.5, 2 ** 60, 'x', null]) chunk({ sm__id: 9, sm__os })
    chunk({ sm__id: 10, sm__ch: 'hci_channel', sm__tp: 'x'.repeat(5000) })
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
    expect(peer.heard.filter((headers) => headers['sm__dt'] === 6).length).toBeGreaterThan(1)
  })
})

describe('somebody slow', () => {
  it('who announces bodies and never sends them leaves room for others', async () => {
    const open = {
      cn__channel: 'sm__STREAM',
      cn__topic: 'sm__DATA',
      sm__dt: 1,
      sm__sq: 0,
      sm__os: 0,
    }
    const what = { sm__ch: 'hci_channel', sm__tp: 'command', sm__pe: 'fobs', sm__sz: 8 * MIB }
    for (let i = 0; i < 20; i++) {
      const { peer, stamp } = await scene.intruder(MEMBER, scene.personCell())
      for (let sm__id = 1; sm__id <= 30; sm__id++)
        peer.send({ ...stamp, ...open, ...what, sm__id }, Uint8Array.of(1))
      await peer.request({ ...stamp, cn__channel: 'admin', cn__topic: 'a-barrier' })
    }
    // Its upload needs room, since its pieces are longer than a chunk.
    await scene.expectJobCompletes({ extraBytes: 3 * MIB })
  })

  it('in the TLS handshake, one byte at a time, keeps nobody else out', async () => {
    const slow = await Promise.all(Array.from({ length: 40 }, () => open('127.0.0.2')))
    for (const socket of slow) socket.write(Uint8Array.of(0x16))
    const { peer, stamp } = await scene.intruder('site-3')
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
    await scene.expectUnharmed()
  })

  it.skipIf(ATTACK_SCHEME !== 'tcp')('in a frame keeps nobody else waiting', async () => {
    // Over the other drivers half a frame is a message of half the length; see the attacks on each.
    const greeting = await scene.dial('site-4')
    greeting.write(frameOf(FRAME.hello, NOTHING, NOTHING, { length: 1000 }).subarray(0, 1))
    const admitted = await scene.link('site-4')
    admitted.write(prefixOf(50 * MIB).subarray(0, 7))
    const { peer, stamp } = await scene.intruder('site-3')
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
    await scene.expectUnharmed()
  })

  it('who never says who it is gets a few connections and no more, by certificate', async () => {
    const silent: AttackerPeer[] = []
    for (let i = 0; i < 20; i++)
      silent.push(
        ...(await Promise.all(
          Array.from({ length: 10 }, () => scene.dial('site-4', { localAddress: '127.0.0.3' })),
        )),
      )
    expect(silent).toHaveLength(200)
    await scene.recorded(SERVER, { actor: 'site-4', act: 'protocol', code: 'too-many' })
    const { peer, stamp } = await scene.intruder('site-3')
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
  })

  it('who opens connections without a handshake is stopped at its own address', async () => {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => open('127.0.0.4')))
    expect(sockets).toHaveLength(200)
    await scene.recorded(SERVER, { act: 'connect', code: 'handshake-too-many' })
    const { peer, stamp } = await scene.intruder('site-3')
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
  })

  it('who asks a thousand things at once is told to wait, others are served', async () => {
    const flood = await scene.intruder('site-4')
    const replies = Array.from({ length: 3_000 }, () =>
      flood.peer.request({ ...flood.stamp, cn__topic: 'heart_beat' }),
    )
    const { peer, stamp } = await scene.intruder('site-3')
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
    const codes = new Set((await Promise.all(replies)).map(({ returnCode }) => returnCode))
    expect([...codes].every((code) => code === 'ok' || code === 'service_unavailable')).toBe(true)
  })

  it('who asks for challenges without end is stopped: each costs a signature', async () => {
    const flood = await scene.link('site-4')
    const challenge = { cn__topic: 'challenge', cn: 'x', nonce: 'x' }
    const replies = await Promise.all(Array.from({ length: 500 }, () => flood.request(challenge)))
    expect(replies.filter(({ returnCode }) => returnCode === 'ok').length).toBeLessThanOrEqual(20)
    await scene.recorded(SERVER, { actor: 'site-4', act: 'login', text: /challenges/ })
    await scene.intruder('site-3')
  })

  it('who has one certificate and many names fills no table', async () => {
    const admitted: boolean[] = []
    for (let i = 0; i < 140; i++) {
      const peer = await scene.dial('site-4')
      admitted.push((await peer.hello(scene.personCell())).admitted)
    }
    expect(admitted.filter((is) => is).length).toBeLessThanOrEqual(128)
    await scene.recorded(SERVER, { actor: 'site-4', act: 'connect', code: 'too-many' })
  })

  async function open(localAddress: string): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: scene.league.port, localAddress })
    socket.on('error', () => undefined)
    scene.owns({
      async [Symbol.asyncDispose]() {
        socket.destroy()
      },
    })
    await once(socket, 'connect')
    return socket
  }
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})

/** MessagePack of `depth` arrays in each other. */
function nested(depth: number): Uint8Array {
  return new Uint8Array(depth).fill(0x91)
}

function minimal(): Record<string, unknown> {
  return { cn__msg_type: 'req', cn__origin: 'site-3', cn__destination: 'server' }
}

/** A FOBS envelope around MessagePack that our own encoder would not write. */
function envelope(main: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(10 + main.length)
  bytes[0] = 0x64
  new DataView(bytes.buffer).setBigUint64(2, BigInt(main.length))
  bytes.set(main, 10)
  return bytes
}

function withUnknownType(): Uint8Array {
  return envelope(
    encode({
      __fobs_dt__: 0,
      __fobs_type__: 'os.system',
      __fobs_dc__: 'nvflare.fuel.utils.fobs.decomposers.core_decomposers.TupleDecomposer',
      __fobs_data__: ['id'],
    }),
  )
}
