import { deflateRawSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  OPCODE,
  upgradeRequest,
  wireFrame,
} from '../../packages/driver-http/test/websocket-bytes.ts'
import type { RawSocket } from '../../packages/driver-socket/test/raw-socket.ts'
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
const MIB = 1024 * 1024
/** What a league at rest may gain by chance; the bombs are many times that. */
const FLAT_MEBIBYTES = 96

const more = (payload: Uint8Array, options = {}): Buffer =>
  wireFrame(payload, { opcode: OPCODE.continuation, ...options })
const times = (count: number, frame: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => frame))
/** A data frame of a cell: `length` bytes, all of which come. */
const whole = (length: number): Uint8Array =>
  frameOf(FRAME.data, NOTHING, new Uint8Array(length - 16))

/** A WebSocket of a thief, before the greeting. */
async function opened(headers = {}): Promise<RawSocket> {
  const peer = await scene.socket(THIEF)
  peer.socket.write(upgradeRequest(headers))
  await peer.until((all) => all.includes('\r\n\r\n'))
  return peer
}

/** A WebSocket of a thief that was admitted under a name of its own. */
async function admitted(headers = {}): Promise<{ peer: RawSocket; name: string }> {
  const peer = await opened(headers)
  const name = scene.personCell()
  peer.socket.write(wireFrame(helloFrame(name)))
  await peer.until((all) => all.includes('endpoint_name'))
  return { peer, name }
}

/** A header of a WebSocket frame that says what no number of JavaScript can hold. */
const CLAIMS_2_63 = Uint8Array.of(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4)

describe('an upgrade', () => {
  it.each<[string, string, RegExp]>([
    ['of another path', upgradeRequest({}, 'GET /admin HTTP/1.1'), /path other than/],
    ['by another method', upgradeRequest({}, 'POST /f3 HTTP/1.1'), /method other than GET/],
    ['from a web page', upgradeRequest({ Origin: 'https://evil.example' }), /origin/],
    ['to HTTP/2', upgradeRequest({ Upgrade: 'h2c' }), /no WebSocket/],
    [
      'with headers without end',
      upgradeRequest({ 'X-Long': 'x'.repeat(20_000) }),
      /HEADER_OVERFLOW/,
    ],
    [
      'with two lengths of its body',
      upgradeRequest({ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }),
      /cannot be read/,
    ],
  ])('%s is refused', async (_what, request, text) => {
    const peer = await scene.socket(THIEF)
    peer.socket.write(request)
    expect(String(await peer.until((all) => all.includes('\r\n\r\n')))).toMatch(/^HTTP\/1.1 4/)
    const refusal = { actor: THIEF, act: 'connect', code: 'handshake-protocol', text }
    await scene.recorded(SERVER, refusal)
  })
})

describe('a WebSocket frame', () => {
  const attacks: [string, Uint8Array, code: string, text: RegExp][] = [
    ['of text', wireFrame(whole(64), { opcode: OPCODE.text }), 'frame', /text message/],
    ['without a mask', wireFrame(whole(64), { masked: false }), 'frame', /MASK/],
    ['of an unknown kind', wireFrame(whole(64), { opcode: 5 }), 'frame', /opcode 5/],
    ['with a reserved bit', wireFrame(whole(64), { rsv: 1 }), 'frame', /RSV2/],
    ['that claims 2^63 bytes', CLAIMS_2_63, 'frame', /2\^53/],
    ['that claims 2^52 bytes', wireFrame(NOTHING, { claims: 2 ** 52 }), 'frame-length', /longer/],
    [
      'that claims 64 MiB and one',
      wireFrame(NOTHING, { claims: 64 * MIB + 1 }),
      'frame-length',
      /longer/,
    ],
    ['shorter than a frame', wireFrame(new Uint8Array(15)), 'frame-length', /too short/],
    ['of nothing', wireFrame(NOTHING), 'frame-length', /of 0 bytes/],
    [
      'that holds less than its cell frame says',
      wireFrame(whole(64).subarray(0, 60)),
      'frame-length',
      /60 bytes holds a frame that says it has 64/,
    ],
    [
      'that holds more than its cell frame says',
      wireFrame(Buffer.concat([whole(64), NOTHING, Uint8Array.of(0)])),
      'frame-length',
      /65 bytes holds/,
    ],
    ['that goes on with nothing', more(whole(64)), 'frame', /opcode 0/],
    [
      'that begins within another message',
      Buffer.concat([wireFrame(NOTHING, { fin: false }), wireFrame(whole(64))]),
      'frame',
      /opcode 2/,
    ],
    [
      'in thousands of fragments without end',
      Buffer.concat([
        wireFrame(NOTHING, { fin: false }),
        times(40_000, more(NOTHING, { fin: false })),
      ]),
      'frame',
      /fragments/,
    ],
    [
      'in fragments that together are too long',
      Buffer.concat([
        wireFrame(new Uint8Array(64), { fin: false }),
        more(NOTHING, { claims: 64 * MIB }),
      ]),
      'frame-length',
      /longer/,
    ],
    [
      'of control that is long',
      wireFrame(new Uint8Array(126), { opcode: OPCODE.ping }),
      'frame',
      /length 126/,
    ],
    [
      'of control in fragments',
      wireFrame(NOTHING, { opcode: OPCODE.ping, fin: false }),
      'frame',
      /FIN/,
    ],
    [
      'of goodbye with no code',
      wireFrame(Uint8Array.of(1), { opcode: OPCODE.close }),
      'frame',
      /./,
    ],
    [
      'of ping, a hundred thousand times',
      times(100_000, wireFrame(NOTHING, { opcode: OPCODE.ping })),
      'frame',
      /pings/,
    ],
  ]
  it.each(attacks)('%s ends the link', async (_what, bytes, code, text) => {
    const before = await residentMebibytes(scene.league.place(SERVER).pid)
    const { peer, name } = await admitted()
    peer.socket.write(bytes)
    await peer.closed
    await scene.recorded(SERVER, { actor: THIEF, act: 'protocol', target: name, code, text })
    expect(await residentMebibytes(scene.league.place(SERVER).pid)).toBeLessThan(
      before + FLAT_MEBIBYTES,
    )
  })

  it('of pong, a hundred thousand times, disturbs nobody', async () => {
    const { peer } = await admitted()
    peer.socket.write(times(100_000, wireFrame(NOTHING, { opcode: OPCODE.pong })))
    await scene.expectUnharmed()
  })
})

describe('a compressed bomb', () => {
  const offer = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }
  /** 512 MiB of zeros, in half a mebibyte. */
  const bomb = deflateRawSync(new Uint8Array(512 * MIB))

  it.each<[string, Buffer]>([
    ['in one message', wireFrame(bomb, { rsv: 4 })],
    [
      'in fragments',
      Buffer.concat([
        wireFrame(bomb.subarray(0, 1000), { rsv: 4, fin: false }),
        more(bomb.subarray(1000)),
      ]),
    ],
    [
      'whose second fragment alone says so',
      Buffer.concat([wireFrame(NOTHING, { fin: false }), more(bomb, { rsv: 4 })]),
    ],
  ])('%s is not unpacked: no compression is agreed on', async (_what, bytes) => {
    const before = await residentMebibytes(scene.league.place(SERVER).pid)
    const { peer, name } = await admitted(offer)
    const answer = String(await peer.until(() => true))
    expect(answer).not.toMatch(/sec-websocket-extensions/i)
    peer.socket.write(bytes)
    await peer.closed
    const refusal = { actor: THIEF, act: 'protocol', target: name, code: 'frame', text: /RSV1/ }
    await scene.recorded(SERVER, refusal)
    expect(await residentMebibytes(scene.league.place(SERVER).pid)).toBeLessThan(
      before + FLAT_MEBIBYTES,
    )
  })

  it('of a stranger who has not said its name is not unpacked either', async () => {
    const peer = await opened(offer)
    peer.socket.write(wireFrame(bomb, { rsv: 4 }))
    await peer.closed
    await scene.recorded(SERVER, { actor: THIEF, act: 'protocol', code: 'frame', text: /RSV1/ })
  })
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})
