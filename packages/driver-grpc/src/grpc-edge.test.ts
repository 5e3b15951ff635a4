import { once } from 'node:events'
import {
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { connect as connectTls } from 'node:tls'
import type { Connection } from '@hanse/contract'
import { beforeAll, describe, expect, it } from 'vitest'
import { patternFrame } from '../../driver-socket/test/frames.ts'
import { handshakeVectors } from '../../driver-socket/test/handshake-vectors.ts'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import {
  CLEAR,
  collect,
  type Ears,
  listenWith,
  recorder,
} from '../../driver-socket/test/loopback.ts'
import { dialRaw, listenRaw } from '../../driver-socket/test/raw-socket.ts'
import { wrapFrame } from './frame-message.ts'
import { grpc } from './grpc.ts'
import type { GrpcOptions } from './grpc-options.ts'

const CALL: OutgoingHttpHeaders = {
  ':method': 'POST',
  ':path': '/streamer.Streamer/Stream',
  'content-type': 'application/grpc',
  te: 'trailers',
}

const listen = (options: GrpcOptions = {}): Promise<Ears> =>
  listenWith(grpc({ closeTimeoutMs: 50, ...options }), CLEAR)

interface Call extends AsyncDisposable {
  readonly stream: ClientHttp2Stream
  readonly response: Promise<IncomingHttpHeaders>
  readonly trailers: Promise<IncomingHttpHeaders>
  /** Another call on the same HTTP/2 connection. */
  again(headers?: OutgoingHttpHeaders): ClientHttp2Stream
}

/** A call by Node's own HTTP/2 client. */
async function call(port: number, changes: OutgoingHttpHeaders = {}): Promise<Call> {
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const request = (headers: OutgoingHttpHeaders): ClientHttp2Stream => {
    const stream = session.request(headers, { endStream: false })
    stream.on('error', () => {})
    stream.on('data', () => {})
    return stream
  }
  const stream = request({ ...CALL, ...changes })
  const heard = (event: 'response' | 'trailers'): Promise<IncomingHttpHeaders> =>
    new Promise((resolve) => stream.once(event, resolve))
  return {
    stream,
    response: heard('response'),
    trailers: heard('trailers'),
    again: (headers = {}) => request({ ...CALL, ...headers }),
    async [Symbol.asyncDispose]() {
      session.destroy()
      if (!session.closed) await once(session, 'close')
    },
  }
}

const messageOf = (frame: Uint8Array): Uint8Array => Buffer.concat([...wrapFrame([frame], 1)])

describe('the gRPC edge of a listener', () => {
  it.each<[string, OutgoingHttpHeaders, object]>([
    [
      'another method',
      { ':path': '/streamer.Streamer/Other' },
      { ':status': 200, 'grpc-status': '12' },
    ],
    ['a compression', { 'grpc-encoding': 'gzip' }, { ':status': 200, 'grpc-status': '12' }],
    ['another content type', { 'content-type': 'application/json' }, { ':status': 415 }],
    ['gRPC for the web', { 'content-type': 'application/grpc-web' }, { ':status': 415 }],
    ['an HTTP method other than POST', { ':method': 'PUT' }, { ':status': 405 }],
  ])('refuses %s, with a status and a record', async (_name, changes, answer) => {
    const { logger, warned } = recorder()
    await using ears = await listen({ logger })
    await using peer = await call(ears.port, changes)
    expect(await peer.response).toMatchObject(answer)
    expect(await warned).toMatchObject({ reason: 'protocol' })
    expect(ears.count()).toBe(0)
  })

  it.each<[string, Uint8Array, string, string]>([
    ['a compressed message', Uint8Array.of(1, 0, 0, 0, 0), 'ERR_PROTOCOL', '13'],
    ['a message that claims 4 GiB', Uint8Array.of(0, 255, 255, 255, 255), 'ERR_FRAME_LENGTH', '8'],
    ['no Frame', Uint8Array.of(0, 0, 0, 0, 1, 0xff), 'ERR_PROTOCOL', '3'],
  ])('ends the call on %s, and says why', async (_name, bytes, code, status) => {
    await using ears = await listen()
    await using peer = await call(ears.port)
    const { over } = collect(await ears.accepted)
    over.catch(() => {})
    peer.stream.write(bytes)
    // Nothing was said before: all comes in one.
    expect(await peer.response).toMatchObject({ ':status': 200, 'grpc-status': status })
    await expect(over).rejects.toMatchObject({ code })
  })

  it('tells nothing of our own faults', async () => {
    await using ears = await listen()
    await using peer = await call(ears.port)
    const accepted = await ears.accepted
    await accepted.send([patternFrame(64)])
    await peer.response
    const over = accepted.receive(() => {
      throw new Error('secret path /home/x')
    })
    over.catch(() => {})
    peer.stream.write(messageOf(patternFrame(64)))
    const trailers = await peer.trailers
    expect(trailers['grpc-status']).toBe('13')
    expect(JSON.stringify(trailers)).not.toContain('secret')
  })

  it('ends with status OK, and hears an orderly end, a cancelled call and a cut', async () => {
    await using ears = await listen()
    await using first = await call(ears.port)
    const accepted = await ears.accepted
    const { over } = collect(accepted)
    await accepted.send([patternFrame(64)])
    first.stream.end()
    await over
    expect((await first.trailers)['grpc-status']).toBe('0')

    await using second = await listen()
    await using cancelling = await call(second.port)
    const cancelled = collect(await second.accepted)
    cancelling.stream.close(8)
    await cancelled.over

    await using third = await listen()
    const vanishing = await call(third.port)
    const cut = collect(await third.accepted)
    vanishing.stream.session?.socket.unref()
    await vanishing[Symbol.asyncDispose]()
    await cut.over.catch((error: unknown) =>
      expect(error).toMatchObject({ code: 'ERR_CONNECTION_LOST' }),
    )
  })

  it('loses the connection when the call ends within a message', async () => {
    await using ears = await listen()
    await using peer = await call(ears.port)
    const { over } = collect(await ears.accepted)
    peer.stream.end(messageOf(patternFrame(64)).subarray(0, 30))
    await expect(over).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
      message: expect.stringContaining('within a frame'),
    })
  })

  it('serves several calls of one HTTP/2 connection apart, and not too many', async () => {
    const connections: Connection[] = []
    const listener = await grpc({ closeTimeoutMs: 50 }).listen(
      new URL('grpc://127.0.0.1:0'),
      CLEAR,
      (connection) => connections.push(connection),
    )
    await using peer = await call(Number(listener.url.port))
    const echoed = Array.from({ length: 11 }, () => {
      const stream = peer.again()
      const answered = Promise.race([
        once(stream, 'response').then(() => 'served'),
        once(stream, 'close').then(() => 'refused'),
      ]).catch(() => 'refused')
      stream.write(messageOf(patternFrame(64)))
      return { stream, answered }
    })
    peer.stream.write(messageOf(patternFrame(64)))
    const served = new Set<Connection>()
    while (served.size < 8) {
      for (const connection of connections)
        if (!served.has(connection)) {
          served.add(connection)
          connection.receive((frame) => connection.send([frame])).catch(() => {})
        }
      await new Promise(setImmediate)
    }
    expect(connections.length).toBe(8)
    expect(await echoed[0]?.answered).toBe('served')
    for (const connection of connections) await connection[Symbol.asyncDispose]()
    await listener[Symbol.asyncDispose]()
  })

  it('cuts who calls other methods again and again', async () => {
    await using ears = await listen()
    await using peer = await call(ears.port, { ':path': '/a.B/C' })
    const { session } = peer.stream
    const closed = session === undefined ? Promise.resolve([]) : once(session, 'close')
    await peer.response
    for (let i = 0; i < 12 && session?.closed === false; i++) peer.again({ ':path': '/a.B/C' })
    await closed
    expect(ears.count()).toBe(0)
  })

  it('cuts HTTP/2 connections without a call, and those who speak something else', async () => {
    const quiet = recorder()
    await using ears = await listen({ logger: quiet.logger, handshakeTimeoutMs: 60 })
    const session = connect(`http://127.0.0.1:${ears.port}`)
    session.on('error', () => {})
    const closed = once(session, 'close')
    expect(await quiet.warned).toMatchObject({ reason: 'timeout' })
    await closed

    const loud = recorder()
    await using others = await listen({ logger: loud.logger })
    await using web = await dialRaw(others.port)
    web.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await loud.warned).toMatchObject({ reason: 'protocol' })
    await web.closed
  })

  it('cuts who floods it with resets, and reports it', async () => {
    const { logger, warned } = recorder()
    await using ears = await listen({ logger })
    const session = connect(`http://127.0.0.1:${ears.port}`)
    session.on('error', () => {})
    const closed = once(session, 'close')
    // Without one that lasts, the connection would end with the first that is taken back.
    session.request(CALL, { endStream: false }).on('error', () => {})
    let isClosed = false
    void closed.then(() => {
      isClosed = true
    })
    for (let round = 0; round < 2000 && !isClosed; round++) {
      for (let i = 0; i < 50 && !session.destroyed && !session.closed; i++) {
        const stream = session.request(CALL, { endStream: false })
        stream.on('error', () => {})
        stream.close(8)
      }
      await new Promise(setImmediate)
    }
    expect(isClosed).toBe(true)
    await closed
    expect(await warned).toMatchObject({ reason: 'protocol' })
  })

  it('cuts a silent peer that answers no pings', async () => {
    await using ears = await listen({ keepAliveIntervalMs: 30, keepAliveTimeoutMs: 30 })
    await using peer = await dialRaw(ears.port)
    // The first things that a stock dialler says, and from then on nothing.
    const first = handshakeVectors('grpc').find(({ direction }) => direction === 'active->passive')
    peer.socket.write(first?.bytes ?? new Uint8Array(0))
    const { over } = collect(await ears.accepted)
    await expect(over).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
      message: expect.stringContaining('ping'),
    })
    await peer.closed
  })
})

describe('the gRPC edge of TLS', () => {
  let league: League
  beforeAll(async () => {
    ;[league] = await createLeagues()
  })

  it('refuses diallers that do not agree on HTTP/2', async () => {
    const { logger, warned } = recorder()
    await using ears = await listenWith(grpc({ logger }), league.mtls('server'))
    const socket = connectTls({
      port: ears.port,
      host: '127.0.0.1',
      ...league.material('site-1'),
    })
    socket.on('error', () => {})
    const closed = once(socket.resume(), 'close')
    expect(await warned).toMatchObject({ reason: 'alpn' })
    await closed
    expect(ears.count()).toBe(0)
  })
})

describe('the gRPC edge of a dialler', () => {
  async function serving(
    answer: (stream: ServerHttp2Stream) => void,
  ): Promise<AsyncDisposable & { connection: Connection }> {
    const server = createServer()
    const sessions: { destroy(): void }[] = []
    server.on('session', (session) => sessions.push(session))
    server.on('stream', (stream) => {
      stream.on('error', () => {})
      // What Node hands over on the side that serves.
      answer(stream as ServerHttp2Stream)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const connection = await grpc({ closeTimeoutMs: 50 }).connect(
      new URL(`grpc://127.0.0.1:${port}`),
      CLEAR,
    )
    return {
      connection,
      async [Symbol.asyncDispose]() {
        await connection[Symbol.asyncDispose]()
        for (const session of sessions) session.destroy()
        server.close()
      },
    }
  }

  it.each<[string, OutgoingHttpHeaders, RegExp]>([
    [
      'does not know the method',
      { 'grpc-status': '12', 'grpc-message': 'no%20way' },
      /UNIMPLEMENTED \(no way\)/,
    ],
    ['is not ready', { 'grpc-status': '14' }, /UNAVAILABLE/],
    ['answers as the web does', { ':status': 404, 'content-type': 'text/html' }, /HTTP status 404/],
    ['compresses', { 'grpc-encoding': 'gzip' }, /compressed/],
    ['gives no status', {}, /without a status/],
  ])('explains a listener that %s', async (_name, headers, text) => {
    await using peer = await serving((stream) =>
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', ...headers },
        { endStream: true },
      ),
    )
    await expect(peer.connection.receive(() => {})).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
      message: expect.stringMatching(text),
    })
  })

  it('says with which status a proxy answered in the place of the listener', async () => {
    await using peer = await serving((stream) =>
      stream.respond({ ':status': 502, 'content-type': 'text/html' }, { endStream: true }),
    )
    await expect(peer.connection.receive(() => {})).rejects.toMatchObject({
      details: { reason: 'http', status: 502 },
    })
  })

  it.each(['0', '1'])('takes status %s for an orderly end', async (status) => {
    await using peer = await serving((stream) =>
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status },
        { endStream: true },
      ),
    )
    await peer.connection.receive(() => {})
  })

  it('loses the connection when the listener resets the call or vanishes', async () => {
    await using resetting = await serving((stream) => stream.close(2))
    await expect(resetting.connection.receive(() => {})).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
    })
    await using vanishing = await serving((stream) => stream.session?.destroy())
    await expect(vanishing.connection.receive(() => {})).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
    })
  })

  it('says that the listener speaks something else', async () => {
    await using raw = await listenRaw()
    const failed = grpc().connect(new URL(`grpc://127.0.0.1:${raw.port}`), CLEAR)
    failed.catch(() => {})
    const peer = await raw.peer
    peer.socket.write('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_CONNECT_REFUSED',
      message: expect.stringContaining('does not speak HTTP/2'),
    })
  })
})
