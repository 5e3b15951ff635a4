import { once } from 'node:events'
import { createServer, connect as rawConnect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as rawTlsConnect } from 'node:tls'
import { type Connection, type Driver, type LinkSecurity, TransportError } from '@hanse/contract'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RefusedHandshake, SocketOptions } from '../src/index.ts'
import { patternFrame } from './frames.ts'
import { httpProxy } from './http-proxy.ts'
import { createLeagues, type League } from './league.ts'
import { CLEAR, collect, type Ears, listenWith, pairOver, recorder } from './loopback.ts'

export interface DriverSuite {
  readonly name: string
  readonly schemes: readonly string[]
  /** The scheme that means TLS. */
  readonly secureScheme: string
  /** What diallers agree on inside TLS, if anything. */
  readonly alpn?: string
  readonly create: (options?: SocketOptions) => Driver
}

const MEGABYTE = 2 ** 20

/** What every driver promises, whatever lies between its sockets and its frames. */
export function describeDriver({ name, schemes, secureScheme, alpn, create }: DriverSuite): void {
  let league: League
  let foreign: League
  beforeAll(async () => {
    ;[league, foreign] = await createLeagues()
  })
  const any = new URL(`${schemes[0]}://127.0.0.1:0`)
  const listen = (security: LinkSecurity, options?: SocketOptions): Promise<Ears> =>
    listenWith(create(options), security)
  const roomy = (): Driver => create({ maxFrameBytes: 8 * MEGABYTE })

  describe(`${name}, as every driver,`, () => {
    it.each(['clear', 'tls', 'mtls'] as const)('carries frames over %s links', async (mode) => {
      const server: LinkSecurity =
        mode === 'clear' ? CLEAR : { mode, tls: league.material('server') }
      const client: LinkSecurity =
        mode === 'clear' ? CLEAR : { mode, tls: league.material('site-1') }
      await using ears = await listen(server, { maxFrameBytes: 8 * MEGABYTE })
      await using dialled = await roomy().connect(ears.url, client)
      const sent = patternFrame(3_000_000)
      const sending = dialled.send([sent.subarray(0, 100), sent.subarray(100)])
      const accepted = await ears.accepted
      const echo = accepted.receive((frame) => accepted.send([frame]))
      const { next, over } = collect(dialled)
      await sending
      expect(Buffer.from(await next()).equals(sent)).toBe(true)

      expect(dialled.info).toMatchObject({ driver: name, mode })
      expect(accepted.info).toMatchObject({ driver: name, mode })
      expect(accepted.peerName).toBe(mode === 'mtls' ? 'site-1' : undefined)
      expect(dialled.peerName).toBe(mode === 'clear' ? undefined : 'server')
      expect(accepted.bytesReceived).toBeGreaterThanOrEqual(sent.length)
      expect(dialled.bytesSent).toBeGreaterThanOrEqual(sent.length)
      expect(accepted.info.remoteAddress).toBe(dialled.info.localAddress)
      if (mode !== 'clear') {
        expect(dialled.info).toMatchObject({
          tlsVersion: 'TLSv1.3',
          // Post-quantum by default: nothing has to be configured for it.
          keyExchange: 'X25519MLKEM768',
          peerFingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
        })
        expect(dialled.info.peerCertificateExpiry).toBeGreaterThan(Date.now())
      }
      await dialled[Symbol.asyncDispose]()
      await Promise.all([echo, over])
    })

    it('takes frames back without touching others that lie in the same memory', async () => {
      await using ears = await listen(CLEAR, { maxFrameBytes: 8 * MEGABYTE })
      await using dialled = await roomy().connect(ears.url, CLEAR)
      const sizes = [16, 20, 300_000, 16, 1_000_000, 17, 70_000]
      const sent = sizes.map(patternFrame)
      const accepted = await ears.accepted
      const kept: Uint8Array[] = []
      const all = Promise.withResolvers<void>()
      const over = accepted.receive((frame) => {
        expect(Buffer.from(frame).equals(patternFrame(frame.length))).toBe(true)
        if (kept.length % 2 === 0) accepted.release?.(frame)
        kept.push(frame)
        if (kept.length === sizes.length) all.resolve()
      })
      await Promise.all(sent.map((frame) => dialled.send([frame])))
      await all.promise
      for (const [i, frame] of kept.entries())
        if (i % 2 === 1) expect(Buffer.from(frame).equals(sent[i]!)).toBe(true)
      await dialled[Symbol.asyncDispose]()
      await over
    })

    it('serves its schemes and no other', async () => {
      const driver = create()
      expect(driver.schemes).toEqual(schemes)
      await expect(driver.connect(new URL('gopher://127.0.0.1:1'), CLEAR)).rejects.toMatchObject({
        code: 'ERR_SCHEME_UNKNOWN',
      })
      await expect(
        driver.listen(new URL('gopher://127.0.0.1:0'), CLEAR, () => {}),
      ).rejects.toMatchObject({ code: 'ERR_SCHEME_UNKNOWN' })
    })

    it('never falls back to less than was asked for', async () => {
      const driver = create()
      const secure = new URL(`${secureScheme}://127.0.0.1:1`)
      const withoutCa = { mode: 'tls', tls: { ca: ' ' } } as const
      await expect(driver.connect(secure, CLEAR)).rejects.toThrow(/TLS/)
      await expect(driver.listen(secure, CLEAR, () => {})).rejects.toThrow(/TLS/)
      await expect(driver.connect(any, withoutCa)).rejects.toThrow(/CA/)
      await expect(driver.listen(any, { mode: 'mtls' }, () => {})).rejects.toMatchObject({
        code: 'ERR_LISTEN',
      })
      await expect(driver.connect(any, { mode: 'mtls', tls: { ca: league.ca } })).rejects.toThrow(
        /certificate and its key/,
      )
    })

    it('keeps frames whole and in order, both ways at once', async () => {
      await using pair = await pairOver(roomy())
      const here = collect(pair.dialled)
      const there = collect(pair.accepted)
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.integer({ min: 16, max: 700_000 }), { minLength: 1, maxLength: 6 }),
          async (sizes) => {
            const frames = sizes.map((size) => patternFrame(size))
            const check = async (next: () => Promise<Uint8Array>): Promise<void> => {
              for (const frame of frames) expect(Buffer.from(await next()).equals(frame)).toBe(true)
            }
            const partsOf = (frame: Uint8Array): Uint8Array[] => [
              frame.subarray(0, 10),
              frame.subarray(10, 17),
              frame.subarray(17),
            ]
            await Promise.all([
              ...frames.map((frame) => pair.dialled.send(partsOf(frame))),
              ...frames.map((frame) => pair.accepted.send(partsOf(frame))),
              check(here.next),
              check(there.next),
            ])
          },
        ),
        { numRuns: 10 },
      )
    })

    it('leaves the parts of a frame as they were', async () => {
      await using pair = await pairOver(roomy())
      const { next } = collect(pair.accepted)
      const frame = patternFrame(400_000)
      const before = frame.slice()
      await pair.dialled.send([frame.subarray(0, 300_000), frame.subarray(300_000)])
      await next()
      expect(Buffer.from(frame).equals(before)).toBe(true)
    })

    it('hands over frames that can be changed and kept', async () => {
      await using pair = await pairOver(roomy())
      const { next } = collect(pair.accepted)
      await Promise.all([1, 2, 3].map(() => pair.dialled.send([patternFrame(64)])))
      const first = await next()
      first.fill(255)
      expect(Buffer.from(await next()).equals(patternFrame(64))).toBe(true)
      expect(Buffer.from(await next()).equals(patternFrame(64))).toBe(true)
    })

    it('reads no further frame while the receiver is busy, and holds the sender back', async () => {
      await using pair = await pairOver(roomy())
      const gate = Promise.withResolvers<void>()
      const first = Promise.withResolvers<void>()
      let seen = 0
      let delivered = 0
      const over = pair.accepted.receive(() => {
        seen += 1
        delivered += 1
        first.resolve()
        return seen === 1 ? gate.promise : undefined
      })
      over.catch(() => {})
      let sent = 0
      // Far more than all buffers between the two hold.
      const total = 64
      const all = Array.from({ length: total }, () =>
        pair.dialled.send([patternFrame(MEGABYTE)]).then(() => {
          sent += 1
        }),
      )
      await first.promise
      let before = -1
      while (before !== sent) {
        before = sent
        for (let i = 0; i < 20; i++) await turn()
      }
      expect(sent).toBeLessThan(total)
      expect(delivered).toBe(1)
      gate.resolve()
      await Promise.all(all)
    })

    it('takes back a frame on abort of which nothing was sent', async () => {
      await using pair = await pairOver(roomy())
      const abort = new AbortController()
      const gate = Promise.withResolvers<void>()
      const over = pair.accepted.receive(() => gate.promise)
      over.catch(() => {})
      const large = Array.from({ length: 32 }, () => pair.dialled.send([patternFrame(MEGABYTE)]))
      const last = pair.dialled.send([patternFrame(20)], abort)
      abort.abort(new Error('changed my mind'))
      await expect(last).rejects.toThrow('changed my mind')
      await expect(pair.dialled.send([patternFrame(16)], abort)).rejects.toThrow('changed my mind')
      gate.resolve()
      await Promise.all(large)
    })

    it('refuses frames over the limit, which can be raised', async () => {
      await using pair = await pairOver(create({ maxFrameBytes: 1000 }))
      const { next, over } = collect(pair.accepted)
      expect(pair.accepted.maxFrameBytes).toBe(1000)
      await pair.dialled.send([patternFrame(1000)])
      await next()
      pair.accepted.maxFrameBytes = 2000
      await pair.dialled.send([patternFrame(2000)])
      expect(await next()).toHaveLength(2000)
      void pair.dialled.send([patternFrame(2001)]).catch(() => {})
      const here = collect(pair.dialled)
      await expect(over).rejects.toMatchObject({ code: 'ERR_FRAME_LENGTH' })
      await here.over.catch(() => {})
      await expect(pair.dialled.send([patternFrame(16)])).rejects.toBeInstanceOf(TransportError)
    })

    it('rejects receive() with what the receiver threw', async () => {
      await using pair = await pairOver(create({ closeTimeoutMs: 50 }))
      const over = pair.accepted.receive(() => {
        throw new Error('no such frame')
      })
      void collect(pair.dialled)
      await pair.dialled.send([patternFrame(20)])
      await expect(over).rejects.toThrow('no such frame')
      expect(() => pair.accepted.receive(() => {})).toThrow(TypeError)
    })

    it.each(['dialled', 'accepted'] as const)(
      'ends in an orderly way when the %s side closes, with all frames delivered',
      async (side) => {
        await using pair = await pairOver(roomy())
        const [leaving, staying] =
          side === 'dialled' ? [pair.dialled, pair.accepted] : [pair.accepted, pair.dialled]
        // Both have spoken: some wires tell of the other side only then.
        const gone = collect(leaving)
        await staying.send([patternFrame(17)])
        await gone.next()
        const seen: number[] = []
        const over = staying.receive(async (frame) => {
          await turn()
          seen.push(frame.length)
        })
        void leaving.send([patternFrame(900_000)]).catch(() => {})
        void leaving.send([patternFrame(20)]).catch(() => {})
        await leaving[Symbol.asyncDispose]()
        await leaving[Symbol.asyncDispose]()
        await Promise.all([gone.over, over])
        expect(seen).toEqual([900_000, 20])
        for (const connection of [leaving, staying])
          await expect(connection.send([patternFrame(16)])).rejects.toMatchObject({
            code: 'ERR_CONNECTION_CLOSED',
          })
      },
    )

    it('cuts a peer that accepts nothing', async () => {
      await using pair = await pairOver(
        create({ sendStallTimeoutMs: 100, maxFrameBytes: 8 * MEGABYTE }),
      )
      // Nobody receives there: nothing is read.
      const over = pair.dialled.receive(() => {})
      over.catch(() => {})
      const sends = Array.from({ length: 64 }, () => pair.dialled.send([patternFrame(MEGABYTE)]))
      const results = await Promise.allSettled(sends)
      expect(results.at(-1)).toMatchObject({ reason: { code: 'ERR_SEND_TIMEOUT' } })
      await expect(over).rejects.toMatchObject({ code: 'ERR_SEND_TIMEOUT' })
    })
  })

  describe(`${name}, as every dialler,`, () => {
    it.each<[string, () => LinkSecurity, () => LinkSecurity, string]>([
      ['of another root', () => foreign.mtls('server'), () => league.mtls('site-1'), 'untrusted'],
      [
        'that expired',
        () => league.mtls('server', { expired: true }),
        () => league.mtls('site-1'),
        'expired',
      ],
      [
        'without the host name',
        () => league.mtls('server', { hosts: ['fl.example.com'] }),
        () => league.mtls('site-1'),
        'name',
      ],
      [
        'without the expected name',
        () => league.mtls('server'),
        () => ({ ...league.mtls('site-1'), serverName: 'fl.example.com' }),
        'name',
      ],
    ])('refuses a listener with a certificate %s', async (_name, server, client, reason) => {
      await using ears = await listen(server())
      await expect(create().connect(ears.url, client())).rejects.toMatchObject({
        code: 'ERR_TLS_HANDSHAKE',
        details: { reason },
      })
      expect(ears.count()).toBe(0)
    })

    it('takes another host name when the check is turned off or names it', async () => {
      await using ears = await listen(league.mtls('server', { hosts: ['fl.example.com'] }))
      for (const serverName of ['fl.example.com', false] as const) {
        const security = { ...league.mtls('site-1'), serverName }
        await using connection = await create().connect(ears.url, security)
        expect(connection.peerName).toBe('server')
      }
    })

    it.each(['clear', 'mtls'] as const)('goes through an HTTP proxy, %s', async (mode) => {
      const [server, client] =
        mode === 'clear' ? [CLEAR, CLEAR] : [league.mtls('server'), league.mtls('site-1')]
      await using ears = await listen(server)
      await using proxy = await httpProxy()
      await using dialled = await create({ proxy: proxy.url }).connect(ears.url, client)
      const { next } = collect(dialled)
      await dialled.send([patternFrame(64)])
      const accepted = await ears.accepted
      void accepted.receive((frame) => accepted.send([frame])).catch(() => {})
      expect(Buffer.from(await next()).equals(patternFrame(64))).toBe(true)
      expect(proxy.asked).toEqual([`127.0.0.1:${ears.port}`])
    })

    it('does not dial with its own expired certificate', async () => {
      const security = league.mtls('site-1', { expired: true })
      await expect(create().connect(any, security)).rejects.toThrow(
        /our own certificate expired on/,
      )
    })

    it('says that nothing listens, in words', async () => {
      const ears = await listen(CLEAR)
      const { url } = ears
      await ears[Symbol.asyncDispose]()
      await expect(create().connect(url, CLEAR)).rejects.toMatchObject({
        code: 'ERR_CONNECT_REFUSED',
        message: expect.stringContaining('nothing listens there'),
      })
    })

    it('gives up on a silent listener, and on abort', async () => {
      const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
      await once(silent, 'listening')
      const address = silent.address()
      const port = typeof address === 'object' ? address?.port : 0
      const url = new URL(`${schemes[0]}://127.0.0.1:${port}`)
      const security = league.mtls('site-1')
      await expect(create({ connectTimeoutMs: 30 }).connect(url, security)).rejects.toMatchObject({
        code: 'ERR_CONNECT_TIMEOUT',
      })
      const abort = new AbortController()
      const dialling = create().connect(url, security, abort)
      abort.abort(new Error('never mind'))
      await expect(dialling).rejects.toThrow('never mind')
      await expect(create().connect(url, security, abort)).rejects.toThrow('never mind')
      silent.close()
    })

    it('learns why it was refused when it presents no certificate', async () => {
      await using ears = await listen(league.mtls('server'))
      const security: LinkSecurity = { mode: 'tls', tls: { ca: league.ca } }
      // In TLS 1.3 the refusal may come after the dialler's side of the handshake is done.
      const reason = await create()
        .connect(ears.url, security)
        .then((connection) => connection.receive(() => {}))
        .catch((error: unknown) => error)
      expect(reason).toMatchObject({ code: 'ERR_TLS_HANDSHAKE', details: { reason: 'missing' } })
      expect(ears.count()).toBe(0)
    })
  })

  describe(`${name}, as every listener,`, () => {
    it.each<[string, () => LinkSecurity, string]>([
      ['of another root', () => foreign.mtls('site-1'), 'untrusted'],
      ['that expired', () => league.mtls('site-1', { expired: true }), 'expired'],
      ['at all missing', () => ({ mode: 'tls', tls: { ca: league.ca } }), 'missing'],
    ])('refuses a certificate %s, logs why and tells', async (_name, client, reason) => {
      const { logger, warned } = recorder()
      const refused: RefusedHandshake[] = []
      const onRefused = (refusal: RefusedHandshake): void => void refused.push(refusal)
      await using ears = await listen(league.mtls('server'), { logger, onRefused })
      const { tls } = client()
      const socket = rawTlsConnect({
        port: ears.port,
        host: '127.0.0.1',
        ca: league.ca,
        cert: tls?.cert,
        key: tls?.key,
        ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
      })
      socket.on('error', () => {})
      socket.resume()
      const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
      expect(await warned).toMatchObject({
        reason,
        remoteAddress: expect.stringContaining('127.0.0.1'),
      })
      await closed
      expect(ears.count()).toBe(0)
      expect(refused).toMatchObject([{ reason }])
    })

    it('keeps nobody out while others are slow, and cuts them in time', async () => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), { logger, handshakeTimeoutMs: 250 })
      const slow = rawConnect(ears.port, '127.0.0.1')
      slow.on('error', () => {})
      await once(slow, 'connect')
      slow.write(Uint8Array.of(22))
      const closed = once(slow.resume(), 'close')
      await using quick = await create().connect(ears.url, league.mtls('site-1'))
      expect(quick.peerName).toBe('server')
      expect(await warned).toMatchObject({ reason: 'timeout' })
      await closed
    })

    it('caps handshakes in progress, and frees their places', async () => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), {
        logger,
        maxPendingHandshakesPerAddress: 2,
      })
      const slow: Socket[] = []
      for (let i = 0; i < 3; i++) {
        const socket = rawConnect(ears.port, '127.0.0.1')
        socket.on('error', () => {})
        slow.push(socket)
        await once(socket, 'connect')
      }
      expect(await warned).toMatchObject({ remoteAddress: '127.0.0.1', reason: 'too-many' })
      for (const socket of slow) {
        socket.destroy()
        if (!socket.closed) await once(socket, 'close')
      }
      // The listener needs a moment to see them go; until then it may still refuse.
      let connection: Connection | undefined
      while (connection === undefined)
        connection = await create()
          .connect(ears.url, league.mtls('site-1'))
          .catch(() => undefined)
      await connection[Symbol.asyncDispose]()
    })

    it('cuts those at the door when it stops, and keeps those who are in', async () => {
      await using ears = await listen(CLEAR)
      await using inside = await create().connect(ears.url, CLEAR)
      const accepted = await ears.accepted
      const { next } = collect(inside)
      await using secure = await listen(league.mtls('server'))
      const waiting = rawConnect(secure.port, '127.0.0.1')
      waiting.on('error', () => {})
      waiting.resume()
      const closed = once(waiting, 'close')
      await once(waiting, 'connect')
      await using _second = await create().connect(secure.url, league.mtls('site-1'))
      await secure.listener[Symbol.asyncDispose]()
      await closed
      await ears.listener[Symbol.asyncDispose]()
      await expect(create().connect(ears.url, CLEAR)).rejects.toMatchObject({
        code: 'ERR_CONNECT_REFUSED',
      })
      void accepted.receive(() => {})
      await accepted.send([patternFrame(64)])
      expect(await next()).toHaveLength(64)
    })

    it('refuses TLS 1.1', async () => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), { logger })
      const { cert, key } = league.material('site-1')
      const socket = rawTlsConnect({
        port: ears.port,
        host: '127.0.0.1',
        ca: league.ca,
        cert,
        key,
        minVersion: 'TLSv1.1',
        maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT@SECLEVEL=0',
      })
      await once(socket, 'error').catch(() => {})
      await warned
      expect(ears.count()).toBe(0)
    })

    it('says that its address is taken', async () => {
      await using ears = await listen(CLEAR)
      await expect(create().listen(ears.url, CLEAR, () => {})).rejects.toMatchObject({
        code: 'ERR_LISTEN',
        message: expect.stringContaining('in use'),
      })
    })

    it('listens on IPv6 and on all interfaces', async () => {
      for (const [host, dialledHost] of [
        ['[::1]', '[::1]'],
        ['0', '127.0.0.1'],
      ] as const) {
        await using ears = await listenWith(create(), CLEAR, `${schemes[0]}://${host}:0`)
        const url = new URL(`${schemes[0]}://${dialledHost}:${ears.port}`)
        await using connection = await create().connect(url, CLEAR)
        expect(connection.info.remoteAddress).toContain(String(ears.port))
      }
    })
  })
}
