import { once } from 'node:events'
import { createServer } from 'node:http'
import { TransportError } from '@hanse/contract'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { frameOf, patternFrame } from '../../driver-socket/test/frames.ts'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import {
  CLEAR,
  collect,
  type Ears,
  listenWith,
  pairOver,
  recorder,
} from '../../driver-socket/test/loopback.ts'
import { dialRaw, listenRaw, type RawSocket } from '../../driver-socket/test/raw-socket.ts'
import {
  type FrameOptions,
  OPCODE,
  readWireFrames,
  splitHead,
  upgradeRequest,
  wireFrame,
} from '../test/websocket-bytes.ts'
import { http } from './http.ts'
import type { HttpOptions } from './http-options.ts'

const MEGABYTE = 2 ** 20

const listen = (options?: HttpOptions): Promise<Ears> => listenWith(http(options), CLEAR)

/** A raw dialler whose WebSocket is open. */
async function upgraded(ears: Ears, headers = {}): Promise<RawSocket> {
  const peer = await dialRaw(ears.port)
  peer.socket.write(upgradeRequest(headers))
  await peer.until((all) => all.includes('\r\n\r\n'))
  return peer
}

/** The code with which the listener says goodbye. */
async function closeCode(peer: RawSocket): Promise<number> {
  const isClose = ({ opcode }: { opcode: number }): boolean => opcode === OPCODE.close
  const all = await peer.until((bytes) =>
    readWireFrames(splitHead(bytes)?.rest ?? Buffer.alloc(0)).some(isClose),
  )
  const close = readWireFrames(splitHead(all)?.rest ?? all).find(isClose)
  return close?.payload.readUInt16BE(0) ?? 0
}

async function statusOf(ears: Ears, request: string): Promise<number> {
  await using peer = await dialRaw(ears.port)
  peer.socket.write(request)
  const all = await peer.until((bytes) => bytes.includes('\r\n\r\n'))
  return Number(all.toString('latin1').slice(9, 12))
}

describe('the WebSocket edge of a listener', () => {
  const frame = patternFrame(64)
  it.each<[string, Uint8Array[], string, number]>([
    [
      'a text message',
      [wireFrame(new TextEncoder().encode('hello'), { opcode: OPCODE.text })],
      'ERR_PROTOCOL',
      1003,
    ],
    ['a frame without mask', [wireFrame(frame, { masked: false })], 'ERR_PROTOCOL', 1002],
    ['a compressed frame', [wireFrame(frame, { rsv: 4 })], 'ERR_PROTOCOL', 1002],
    ['an unknown opcode', [wireFrame(frame, { opcode: 5 })], 'ERR_PROTOCOL', 1002],
    [
      'a message longer than its frame says',
      [wireFrame(patternFrame(64).fill(9, 4).fill(0, 0, 3).fill(63, 3, 4))],
      'ERR_FRAME_LENGTH',
      1002,
    ],
    [
      'a message shorter than its frame says',
      [wireFrame(frame.subarray(0, 63))],
      'ERR_FRAME_LENGTH',
      1002,
    ],
    ['a message too short for a prefix', [wireFrame(new Uint8Array(15))], 'ERR_FRAME_LENGTH', 1002],
    ['an empty message', [wireFrame(new Uint8Array(0))], 'ERR_FRAME_LENGTH', 1002],
    // Refused for what it claims: none of it came yet.
    [
      'a message that claims 4 GiB',
      [wireFrame(new Uint8Array(0), { claims: 2 ** 32 })],
      'ERR_FRAME_LENGTH',
      1009,
    ],
    [
      'fragments that together are too long',
      [
        wireFrame(new Uint8Array(40_000), { fin: false }),
        wireFrame(new Uint8Array(40_000), { opcode: OPCODE.continuation, fin: false }),
      ],
      'ERR_FRAME_LENGTH',
      1009,
    ],
    [
      'a continuation of nothing',
      [wireFrame(frame, { opcode: OPCODE.continuation })],
      'ERR_PROTOCOL',
      1002,
    ],
  ])('closes on %s', async (_name, frames, code, goodbye) => {
    await using ears = await listen({ closeTimeoutMs: 100 })
    await using peer = await upgraded(ears)
    const over = (await ears.accepted).receive(() => {
      throw new Error('nothing of this may be handed over')
    })
    over.catch(() => {})
    peer.socket.write(Buffer.concat(frames))
    expect(await closeCode(peer)).toBe(goodbye)
    await expect(over).rejects.toMatchObject({ code })
    await peer.closed
  })

  it('does not keep thousands of fragments for one message', async () => {
    await using ears = await listen({ closeTimeoutMs: 100 })
    await using peer = await upgraded(ears)
    const { over } = collect(await ears.accepted)
    const one = (options: FrameOptions): Buffer => wireFrame(Uint8Array.of(0), options)
    const more = one({ opcode: OPCODE.continuation, fin: false })
    peer.socket.write(
      Buffer.concat([one({ fin: false }), ...Array.from({ length: 20_000 }, () => more)]),
    )
    await expect(over).rejects.toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it('takes fragments, and pings between them', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    const { next } = collect(await ears.accepted)
    const sent = patternFrame(1000)
    peer.socket.write(
      Buffer.concat([
        wireFrame(sent.subarray(0, 3), { fin: false }),
        wireFrame(Uint8Array.of(7), { opcode: OPCODE.ping }),
        wireFrame(sent.subarray(3), { opcode: OPCODE.continuation }),
      ]),
    )
    expect(Buffer.from(await next()).equals(sent)).toBe(true)
    const pongs = (all: Buffer): boolean =>
      readWireFrames(splitHead(all)?.rest ?? Buffer.alloc(0)).some(
        ({ opcode, payload }) => opcode === OPCODE.pong && payload[0] === 7,
      )
    await peer.until(pongs)
  })

  it('cuts who sends pings and takes no answers', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    const over = (await ears.accepted).receive(() => {})
    over.catch(() => {})
    peer.socket.pause()
    const pings = Buffer.concat(
      Array.from({ length: 5_000 }, () => wireFrame(new Uint8Array(125), { opcode: OPCODE.ping })),
    )
    let isOver = false
    const ended = over.catch(() => {
      isOver = true
    })
    const drained = (): Promise<unknown> =>
      Promise.race([ended, new Promise((resolve) => peer.socket.once('drain', resolve))])
    while (!isOver) if (!peer.socket.write(pings)) await drained()
    await expect(over).rejects.toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it('survives garbage with its own errors only', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.boolean(),
        async (garbage, asMessage) => {
          const accepted = Promise.withResolvers<void>()
          const driver = http({ closeTimeoutMs: 20 })
          const faults: unknown[] = []
          const listener = await driver.listen(
            new URL('http://127.0.0.1:0'),
            CLEAR,
            (connection) => {
              connection
                .receive((received) => {
                  const length = new DataView(received.buffer, received.byteOffset).getUint32(0)
                  expect(length).toBe(received.length)
                })
                .catch((error: unknown) => faults.push(error))
                .finally(accepted.resolve)
            },
          )
          await using peer = await dialRaw(Number(listener.url.port))
          peer.socket.write(upgradeRequest())
          await peer.until((all) => all.includes('\r\n\r\n'))
          peer.socket.end(asMessage ? wireFrame(garbage) : garbage)
          await accepted.promise
          for (const fault of faults) expect(fault).toBeInstanceOf(TransportError)
          await listener[Symbol.asyncDispose]()
        },
      ),
      { numRuns: 60 },
    )
  })

  it.each<[string, string, number]>([
    ['another path', upgradeRequest({}, 'GET / HTTP/1.1'), 404],
    ['another method', upgradeRequest({}, 'POST /f3 HTTP/1.1'), 405],
    ['no upgrade', upgradeRequest({ Upgrade: undefined, Connection: undefined }), 426],
    ['an upgrade to something else', upgradeRequest({ Upgrade: 'h2c' }), 426],
    ['an old version', upgradeRequest({ 'Sec-WebSocket-Version': '8' }), 426],
    ['no key', upgradeRequest({ 'Sec-WebSocket-Key': undefined }), 400],
    ['a page of some web site', upgradeRequest({ Origin: 'https://evil.example' }), 403],
    ['headers without end', upgradeRequest({ 'X-Long': 'x'.repeat(20_000) }), 431],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
  ])('refuses %s, with a status and a record', async (_name, request, status) => {
    const { logger, warned } = recorder()
    await using ears = await listen({ logger })
    expect(await statusOf(ears, request)).toBe(status)
    expect(await warned).toMatchObject({ reason: 'protocol', remoteAddress: '127.0.0.1' })
    expect(ears.count()).toBe(0)
  })

  it('lets pages in whose origin is listed, and takes no extension or subprotocol', async () => {
    await using ears = await listen({ allowedOrigins: ['https://console.example.com'] })
    const peer = await upgraded(ears, {
      Origin: 'https://console.example.com',
      'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
      'Sec-WebSocket-Protocol': 'chat',
    })
    const { head } = splitHead(await peer.until(() => true)) ?? { head: '' }
    expect(head).toMatch(/^HTTP\/1\.1 101/)
    expect(head).not.toMatch(/sec-websocket-(extensions|protocol)/i)
    await peer[Symbol.asyncDispose]()
  })

  it('cuts requests that come byte by byte, and frees their places', async () => {
    const { logger, warned } = recorder()
    await using ears = await listen({
      logger,
      handshakeTimeoutMs: 200,
      maxPendingHandshakesPerAddress: 1,
    })
    await using slow = await dialRaw(ears.port)
    slow.socket.write('GET /f3 HT')
    expect(await warned).toMatchObject({ reason: 'timeout' })
    await slow.closed
    await using quick = await http().connect(ears.url, CLEAR)
    expect(quick.info.driver).toBe('http')
  })

  it('is a cut, not a goodbye, when the peer vanishes', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    const { over } = collect(await ears.accepted)
    peer.socket.end()
    await expect(over).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' })
  })

  it('is a cut when the peer vanishes within a frame', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    const { over } = collect(await ears.accepted)
    peer.socket.end(wireFrame(patternFrame(64)).subarray(0, 40))
    await expect(over).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' })
  })

  it('hands over everything that came before a goodbye, however slow the receiver', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    peer.socket.write(
      Buffer.concat([
        ...[20, 30, 40].map((length) => wireFrame(patternFrame(length))),
        wireFrame(Uint8Array.of(3, 232), { opcode: OPCODE.close }),
      ]),
    )
    const seen: number[] = []
    await (await ears.accepted).receive(async (received) => {
      await new Promise(setImmediate)
      seen.push(received.length)
    })
    expect(seen).toEqual([20, 30, 40])
  })

  it('never sends a stock dialler more than it takes', async () => {
    await using ears = await listen()
    await using peer = await upgraded(ears)
    const accepted = await ears.accepted
    void accepted.receive(() => {}).catch(() => {})
    expect(accepted.info.maxSendBytes).toBe(4 * MEGABYTE)
    await expect(accepted.send([patternFrame(4 * MEGABYTE + 1)])).rejects.toMatchObject({
      code: 'ERR_FRAME_LENGTH',
    })
    expect(accepted.bytesSent).toBe(0)
    const largest = accepted.send([patternFrame(4 * MEGABYTE)])
    await peer.until((all) => all.length > 4 * MEGABYTE)
    await largest
  })

  it('sends our own diallers as much as there is', async () => {
    await using pair = await pairOver(http({ maxFrameBytes: 8 * MEGABYTE }))
    const { next } = collect(pair.dialled)
    const sent = frameOf(new Uint8Array(6 * MEGABYTE))
    const sending = pair.accepted.send([sent])
    expect(await next()).toHaveLength(sent.length)
    await sending
  })
})

describe('the WebSocket edge of a dialler', () => {
  it.each([
    ['refuses', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', /answered 403/],
    ['redirects', 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/f3\r\n\r\n', /answered 302/],
    [
      'has the wrong key',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n',
      /Sec-WebSocket-Accept/,
    ],
    ['speaks something else', 'SSH-2.0-OpenSSH_9.9\r\n', /does not speak HTTP/],
  ])('explains a listener that %s', async (_name, answer, text) => {
    await using raw = await listenRaw()
    const failed = http().connect(new URL(`http://127.0.0.1:${raw.port}`), CLEAR)
    failed.catch(() => {})
    const peer = await raw.peer
    await peer.until((all) => all.includes('\r\n\r\n'))
    peer.socket.write(answer)
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_CONNECT_REFUSED',
      message: expect.stringMatching(text),
    })
    await peer.closed
  })

  it('explains a peer that takes no message as long as ours', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1000 })
    await once(server, 'listening')
    server.on('connection', (socket) => socket.on('error', () => {}))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    await using connection = await http().connect(new URL(`http://127.0.0.1:${port}`), CLEAR)
    const { over } = collect(connection)
    await connection.send([patternFrame(2000)])
    await expect(over).rejects.toThrow(/does not take messages as long/)
    server.close()
  })
})

describe('http and the ws library as foreign peer', () => {
  let league: League
  beforeAll(async () => {
    ;[league] = await createLeagues()
  })

  it('serves a ws client over mutual TLS', async () => {
    await using ears = await listenWith(http(), league.mtls('server'))
    const client = new WebSocket(`wss://127.0.0.1:${ears.port}/f3`, league.material('site-1'))
    await once(client, 'open')
    const accepted = await ears.accepted
    expect(accepted.peerName).toBe('site-1')
    const over = accepted.receive((frame) => accepted.send([frame]))
    const sent = patternFrame(50_000)
    client.send(sent)
    const [data]: unknown[] = await once(client, 'message')
    expect(data instanceof Uint8Array && Buffer.from(data).equals(sent)).toBe(true)
    client.close(1000)
    await over
  })

  it('talks to a ws server', async () => {
    const web = createServer().listen(0, '127.0.0.1')
    await once(web, 'listening')
    const server = new WebSocketServer({ server: web, path: '/f3' })
    server.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
    const address = web.address()
    const port = typeof address === 'object' ? address?.port : 0
    await using connection = await http({ maxFrameBytes: MEGABYTE }).connect(
      new URL(`http://127.0.0.1:${port}`),
      CLEAR,
    )
    const { next, over } = collect(connection)
    const sent = patternFrame(900_000)
    await connection.send([sent.subarray(0, 16), sent.subarray(16)])
    expect(Buffer.from(await next()).equals(sent)).toBe(true)
    for (const socket of server.clients) socket.close(1001)
    await over
    web.close()
  })
})
