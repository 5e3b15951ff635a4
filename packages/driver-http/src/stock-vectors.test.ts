import { describe, expect, it } from 'vitest'
import { handshakeVectors } from '../../driver-socket/test/handshake-vectors.ts'
import { CLEAR, collect, listenWith } from '../../driver-socket/test/loopback.ts'
import { dialRaw, listenRaw } from '../../driver-socket/test/raw-socket.ts'
import { acceptKey, readWireFrames, splitHead } from '../test/websocket-bytes.ts'
import { http } from './http.ts'

const pieces = handshakeVectors('http')
const framesOf = (direction: string): Buffer[] =>
  readWireFrames(
    Buffer.concat(
      pieces.filter((piece) => piece.direction === direction).map(({ bytes }) => bytes),
    ).subarray(direction === 'active->passive' ? 240 : 241),
  ).map(({ payload }) => payload)
const fromDialler = framesOf('active->passive')
const fromListener = framesOf('passive->active')

describe('http and stock peers, by what was recorded of them', () => {
  it('has two frames of each side', () => {
    expect(fromDialler.map(({ length }) => length)).toEqual([69, 332])
    expect(fromListener.map(({ length }) => length)).toEqual([69, 333])
  })

  it('answers a stock dialler with the bytes of a stock listener', async () => {
    await using ears = await listenWith(http(), CLEAR)
    await using peer = await dialRaw(ears.port)
    for (const { direction, bytes } of pieces)
      if (direction === 'active->passive') peer.socket.write(bytes)
    const accepted = await ears.accepted
    const { next } = collect(accepted)
    for (const frame of fromDialler) {
      expect(Buffer.from(await next()).equals(frame)).toBe(true)
      await accepted.send([fromListener[fromDialler.indexOf(frame)] ?? new Uint8Array(0)])
    }
    const expected = Buffer.concat(
      pieces
        .filter(({ direction }) => direction === 'passive->active')
        .slice(1)
        .map(({ bytes }) => bytes),
    )
    const answer = splitHead(
      await peer.until((all) => (splitHead(all)?.rest.length ?? 0) >= expected.length),
    )
    expect(answer?.head).toMatch(/^HTTP\/1\.1 101 /)
    // The key of the request that was recorded, and no extension.
    expect(answer?.head).toContain('Sec-WebSocket-Accept: jlzEgqkbHW7sdSjQGBr9TlP4Qp8=')
    expect(answer?.head).not.toMatch(/sec-websocket-(extensions|protocol)/i)
    expect(answer?.rest.equals(expected)).toBe(true)
  })

  it('says to a stock listener what a stock dialler says', async () => {
    await using raw = await listenRaw()
    const dialling = http({ closeTimeoutMs: 50 }).connect(
      new URL(`http://127.0.0.1:${raw.port}/ignored?too=1`),
      CLEAR,
    )
    const peer = await raw.peer
    const request = splitHead(await peer.until((all) => splitHead(all) !== undefined))?.head ?? ''
    expect(request).toMatch(/^GET \/f3 HTTP\/1\.1\r\n/)
    expect(request).toMatch(/^sec-websocket-version: 13$/im)
    expect(request).not.toMatch(/^(sec-websocket-(extensions|protocol)|origin):/im)

    const [head, ...frames] = pieces.filter(({ direction }) => direction === 'passive->active')
    const response = Buffer.from(head?.bytes ?? [])
      .toString('latin1')
      .replace(/(Sec-WebSocket-Accept: )\S+/, `$1${acceptKey(request)}`)
    // All in one write: nothing may be lost between the upgrade and the first frame.
    peer.socket.write(
      Buffer.concat([Buffer.from(response, 'latin1'), ...frames.map(({ bytes }) => bytes)]),
    )
    await using connection = await dialling
    const { next } = collect(connection)
    for (const frame of fromListener) expect(Buffer.from(await next()).equals(frame)).toBe(true)
    for (const frame of fromDialler)
      await connection.send([frame.subarray(0, 16), frame.subarray(16)])
    const wire = readWireFrames(
      splitHead(await peer.until((all) => readWireFrames(splitHead(all)?.rest ?? all).length >= 2))
        ?.rest ?? Buffer.alloc(0),
    )
    expect(wire.map(({ payload }) => payload.toString('hex'))).toEqual(
      fromDialler.map((frame) => frame.toString('hex')),
    )
    expect(
      wire.every(({ masked, fin, opcode, rsv }) => masked && fin && opcode === 2 && rsv === 0),
    ).toBe(true)
  })
})
