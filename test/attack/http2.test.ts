import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RawSocket } from '../../packages/driver-socket/test/raw-socket.ts'
import {
  CALL,
  callFrame,
  FLAG,
  frameMessage,
  grpcMessage,
  H2,
  h2Frame,
  hpackInteger,
  literalHeaders,
  PREFACE,
} from '../support/attacker-http2.ts'
import { FRAME, frameOf, helloFrame } from '../support/attacker-peer.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { SERVER } from '../support/league.ts'
import { residentMebibytes } from '../support/process-memory.ts'

let scene: AttackScene
beforeAll(async () => {
  scene = await AttackScene.start()
})
afterAll(() => scene?.[Symbol.asyncDispose]())
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

const THIEF = 'site-4'
const NOTHING = new Uint8Array(0)
/** What a league at rest may gain by chance; the bombs are many times that. */
const FLAT_MEBIBYTES = 96
const START = Buffer.concat([PREFACE, h2Frame(H2.settings, 0, 0)])
/** RFC 9113 §7: the client does not want the stream any more. */
const CANCEL = Uint8Array.of(0, 0, 0, 8)

const all = (...frames: readonly Uint8Array[]): Buffer => Buffer.concat(frames)
const times = (count: number, frame: (i: number) => Uint8Array): Buffer =>
  all(...Array.from({ length: count }, (_, i) => frame(i)))
const dataFrame = (payload: Uint8Array, stream = 1): Uint8Array =>
  h2Frame(H2.data, 0, stream, payload)
/** The number of the `i`th call after the first. */
const streamOf = (i: number): number => 2 * i + 3

/** HTTP/2 of a thief, no call yet. */
async function connected(holder = THIEF): Promise<RawSocket> {
  const peer = await scene.socket(holder, { alpn: 'h2' })
  peer.socket.write(START)
  return peer
}

/** A call of a thief that was admitted as a cell under a name of its own. */
async function admitted(): Promise<{ peer: RawSocket; name: string }> {
  const peer = await connected()
  const name = scene.personCell()
  peer.socket.write(all(callFrame(1), dataFrame(frameMessage(helloFrame(name)))))
  await peer.until((bytes) => bytes.includes('endpoint_name'))
  return { peer, name }
}

async function serverMebibytes(): Promise<number> {
  return await residentMebibytes(scene.league.place(SERVER).pid)
}

describe('a call', () => {
  it.each<[string, Record<string, string>, RegExp]>([
    ['of another method', { ':path': '/streamer.Streamer/Other' }, /method other than \/streamer/],
    ['by GET', { ':method': 'GET' }, /other than POST/],
    ['of something else than gRPC', { 'content-type': 'application/json' }, /content type/],
    ['with a compression', { 'grpc-encoding': 'gzip' }, /compressed messages were announced/],
  ])('%s is refused', async (_what, changes, text) => {
    const peer = await connected()
    peer.socket.write(callFrame(1, changes))
    const refusal = { actor: THIEF, act: 'connect', code: 'handshake-protocol', text }
    await scene.recorded(SERVER, refusal)
  })

  it('of unknown methods, thirty at once, ends the connection', async () => {
    const peer = await connected('site-3')
    peer.socket.write(times(30, (i) => callFrame(streamOf(i), { ':path': `/a.B/C${i}` })))
    await peer.closed
    await scene.recorded(SERVER, {
      actor: 'site-3',
      act: 'connect',
      text: /too many calls of other|does not speak HTTP\/2/,
    })
  })
})

describe('a gRPC message', () => {
  const attacks: [string, Uint8Array, code: string, text: RegExp][] = [
    [
      'that claims 4 GiB',
      grpcMessage(NOTHING, { claims: 2 ** 32 - 1 }),
      'frame-length',
      /4294967295/,
    ],
    [
      'that says it is compressed',
      grpcMessage(new Uint8Array(64), { compressed: 1 }),
      'frame',
      /compressed/,
    ],
    ['of nothing', grpcMessage(NOTHING), 'frame-length', /holds 0 bytes/],
    ['that is no message', grpcMessage(new Uint8Array(64).fill(255)), 'frame', /no Frame/],
    [
      'whose field is longer than it',
      grpcMessage(Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2)),
      'frame',
      /no Frame/,
    ],
    [
      'that holds less than its cell frame says',
      frameMessage(frameOf(FRAME.data, NOTHING, NOTHING, { length: 2 ** 32 - 1 })),
      'frame-length',
      /16 bytes for a frame that says it has 4294967295/,
    ],
  ]
  it.each(attacks)('%s ends the link', async (_what, message, code, text) => {
    const { peer, name } = await admitted()
    peer.socket.write(dataFrame(message))
    await scene.recorded(SERVER, { actor: THIEF, act: 'protocol', target: name, code, text })
    await peer.closed
  })
})

describe('HTTP/2', () => {
  const attacks: [string, Uint8Array, text: RegExp][] = [
    ['with a frame longer than was agreed on', h2Frame(H2.data, 0, 1, NOTHING, 2 ** 24 - 1), /./],
    ['with data of no stream', dataFrame(new Uint8Array(5), 0), /./],
    ['with data of a stream that was not opened', dataFrame(new Uint8Array(5), 9), /./],
    ['with a stream of the other side', callFrame(2), /./],
    ['with a promise', h2Frame(H2.push, FLAG.endHeaders, 1, new Uint8Array(5)), /./],
    ['with settings that are cut', h2Frame(H2.settings, 0, 0, new Uint8Array(5)), /./],
    [
      'with a window of more than 2^31',
      h2Frame(H2.windowUpdate, 0, 0, Uint8Array.of(127, 255, 255, 255)),
      /Flow control/,
    ],
    [
      'with headers that cannot be unpacked',
      h2Frame(H2.headers, FLAG.endHeaders, 3, new Uint8Array(6).fill(255)),
      /./,
    ],
    [
      'with headers in a thousand pieces',
      all(
        h2Frame(H2.headers, 0, 3, literalHeaders(CALL)),
        times(1000, (i) => h2Frame(H2.continuation, 0, 3, literalHeaders({ [`x${i}`]: 'y' }))),
      ),
      /./,
    ],
    ['with a flood of settings', times(50_000, () => h2Frame(H2.settings, 0, 0)), /[Ff]lood/],
    [
      'with a flood of pings',
      times(50_000, () => h2Frame(H2.ping, 0, 0, new Uint8Array(8))),
      /[Ff]lood/,
    ],
    [
      'with a flood of empty data',
      times(50_000, () => dataFrame(NOTHING)),
      /invalid HTTP\/2 frames/,
    ],
    [
      'with a thousand calls at once',
      times(1000, (i) => callFrame(streamOf(i))),
      /invalid HTTP\/2 frames/,
    ],
  ]
  it.each(attacks)('%s ends the link', async (_what, bytes, text) => {
    const before = await serverMebibytes()
    const { peer, name } = await admitted()
    peer.socket.write(bytes)
    await scene.recorded(SERVER, { actor: THIEF, target: name, code: 'frame', text })
    await peer.closed
    expect(await serverMebibytes()).toBeLessThan(before + FLAT_MEBIBYTES)
  })

  it('with calls that are taken back at once is cut after a few', async () => {
    const before = await serverMebibytes()
    const { peer } = await admitted()
    const call = (i: number): Uint8Array =>
      all(callFrame(streamOf(i)), h2Frame(H2.reset, 0, streamOf(i), CANCEL))
    peer.socket.write(times(5000, call))
    await peer.closed
    await scene.recorded(SERVER, {
      actor: THIEF,
      act: 'connect',
      text: /before they said anything/,
    })
    expect(await serverMebibytes()).toBeLessThan(before + FLAT_MEBIBYTES)
  })

  it.each<[string, Uint8Array]>([
    [
      'that unpack to a thousand times their length',
      all(
        literalHeaders(CALL),
        // Put into the table once, then named by one byte each.
        Uint8Array.of(0x40),
        hpackInteger(1, 7, 0),
        Buffer.from('x'),
        hpackInteger(3900, 7, 0),
        new Uint8Array(3900).fill(0x61),
        new Uint8Array(8000).fill(0xbe),
      ),
    ],
    [
      'by the hundred',
      all(
        literalHeaders(CALL),
        times(500, (i) => literalHeaders({ [`x${i}`]: 'y' })),
      ),
    ],
  ])('with headers %s gets no call', async (_what, block) => {
    const before = await serverMebibytes()
    const { peer } = await admitted()
    peer.socket.write(h2Frame(H2.headers, FLAG.endHeaders, 3, block))
    const reset = Buffer.from(h2Frame(H2.reset, 0, 3, NOTHING, 4))
    await peer.until((bytes) => bytes.includes(reset))
    expect(await serverMebibytes()).toBeLessThan(before + FLAT_MEBIBYTES)
  })

  it('that is none is refused', async () => {
    const peer = await scene.socket(THIEF, { alpn: 'h2' })
    peer.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await peer.closed
    await scene.recorded(SERVER, {
      actor: THIEF,
      act: 'connect',
      text: /does not speak HTTP\/2/,
    })
  })

  it('not agreed on in TLS is refused', async () => {
    const peer = await scene.socket(THIEF, { alpn: 'http/1.1' }).catch(() => undefined)
    await peer?.closed
    await scene.recorded(SERVER, { act: 'connect', text: /NO_APPLICATION_PROTOCOL/ })
  })
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})
