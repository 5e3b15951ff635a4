import { describe, expect, it } from 'vitest'
import { handshakeVectors } from '../../driver-socket/test/handshake-vectors.ts'
import { CLEAR, collect, listenWith } from '../../driver-socket/test/loopback.ts'
import { dialRaw, listenRaw } from '../../driver-socket/test/raw-socket.ts'
import { dataIn, readHttp2Frames, withoutPingAnswers } from '../test/http2-bytes.ts'
import { MessageSplitter } from './frame-message.ts'
import { grpc } from './grpc.ts'

const pieces = handshakeVectors('grpc')
const bytesFrom = (direction: string): Buffer =>
  Buffer.concat(pieces.filter((piece) => piece.direction === direction).map(({ bytes }) => bytes))
const framesIn = (data: Uint8Array): Uint8Array[] => {
  const splitter = new MessageSplitter(2 ** 20)
  splitter.chunks.push(data)
  const frames: Uint8Array[] = []
  for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) frames.push(frame)
  expect(splitter.isEmpty).toBe(true)
  return frames
}

const dataFromDialler = dataIn(bytesFrom('active->passive'))
const dataFromListener = dataIn(bytesFrom('passive->active'))
const fromDialler = framesIn(dataFromDialler)
const fromListener = framesIn(dataFromListener)

const HEADERS = 1
const DATA = 0

describe('grpc and stock peers, by what was recorded of them', () => {
  it('has two frames of each side', () => {
    expect(fromDialler.map(({ length }) => length)).toEqual([69, 332])
    expect(fromListener.map(({ length }) => length)).toEqual([69, 333])
  })

  it('answers a stock dialler with the messages of a stock listener', async () => {
    await using ears = await listenWith(grpc({ closeTimeoutMs: 50 }), CLEAR)
    await using peer = await dialRaw(ears.port)
    peer.socket.write(withoutPingAnswers(bytesFrom('active->passive')))
    const accepted = await ears.accepted
    const { next } = collect(accepted)
    for (const [i, frame] of fromDialler.entries()) {
      expect(Buffer.from(await next()).equals(frame)).toBe(true)
      if (i === 0) {
        // Headers come together with the first message.
        const types = readHttp2Frames(await peer.until(() => true)).map(({ type }) => type)
        expect(types).not.toContain(HEADERS)
      }
      await accepted.send([fromListener[i] ?? new Uint8Array(0)])
    }
    const answer = await peer.until((all) => dataIn(all).length >= dataFromListener.length)
    expect(dataIn(answer).equals(dataFromListener)).toBe(true)
    const types = readHttp2Frames(answer).map(({ type }) => type)
    expect(types.indexOf(DATA)).toBe(types.indexOf(HEADERS) + 1)
  })

  it('says to a stock listener what a stock dialler says, without waiting for headers', async () => {
    await using raw = await listenRaw()
    const dialling = grpc({ closeTimeoutMs: 50 }).connect(
      new URL(`grpc://127.0.0.1:${raw.port}`),
      CLEAR,
    )
    const peer = await raw.peer
    // A stock listener's settings; it says nothing else before the first message.
    const [settings, ...rest] = pieces.filter(({ direction }) => direction === 'passive->active')
    peer.socket.write(settings?.bytes ?? new Uint8Array(0))
    await using connection = await dialling
    const { next } = collect(connection)
    for (const frame of fromDialler)
      await connection.send([frame.subarray(0, 9), frame.subarray(9)])
    const said = await peer.until((all) => dataIn(all).length >= dataFromDialler.length)
    expect(dataIn(said).equals(dataFromDialler)).toBe(true)
    const later = Buffer.concat(rest.map(({ bytes }) => bytes))
    peer.socket.write(withoutPingAnswers(later))
    for (const frame of fromListener) expect(Buffer.from(await next()).equals(frame)).toBe(true)
  })
})
