import { once } from 'node:events'
import { createServer, connect as rawConnect, type Socket } from 'node:net'
import { connect as rawTlsConnect } from 'node:tls'
import type {
  Connection,
  LinkSecurity,
  Listener,
  LogFields,
  Logger,
  TransportError,
} from '@hanse/contract'
import { beforeAll, describe, expect, it } from 'vitest'
import { patternFrame } from '../../driver-socket/test/frames.ts'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import { tcp } from './tcp.ts'
import type { TcpOptions } from './tcp-options.ts'

let league: League
let foreign: League
beforeAll(async () => {
  ;[league, foreign] = await createLeagues()
})

const ANY = new URL('tcp://127.0.0.1:0')
const CLEAR: LinkSecurity = { mode: 'clear' }

/** Remembers warnings, and lets a test wait for one. */
function recorder(): { logger: Logger; warned: Promise<LogFields> } {
  const { promise, resolve } = Promise.withResolvers<LogFields>()
  const logger: Logger = {
    debug() {},
    info() {},
    warn: (_message, fields = {}) => resolve(fields),
    error() {},
    child: () => logger,
  }
  return { logger, warned: promise }
}

interface Ears extends AsyncDisposable {
  readonly listener: Listener
  readonly accepted: Promise<Connection>
  readonly count: () => number
}

async function listen(security: LinkSecurity, options: TcpOptions = {}): Promise<Ears> {
  const { promise, resolve } = Promise.withResolvers<Connection>()
  const all: Connection[] = []
  const listener = await tcp(options).listen(ANY, security, (connection) => {
    all.push(connection)
    resolve(connection)
  })
  return {
    listener,
    accepted: promise,
    count: () => all.length,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      for (const connection of all) await connection[Symbol.asyncDispose]()
    },
  }
}

describe('tcp', () => {
  it.each(['clear', 'tls', 'mtls'] as const)('carries frames over %s links', async (mode) => {
    const server: LinkSecurity = mode === 'clear' ? CLEAR : { mode, tls: league.material('server') }
    const client: LinkSecurity = mode === 'clear' ? CLEAR : { mode, tls: league.material('site-1') }
    await using ears = await listen(server, { maxFrameBytes: 2 ** 22 })
    await using dialled = await tcp({ maxFrameBytes: 2 ** 22 }).connect(ears.listener.url, client)
    const accepted = await ears.accepted
    const echo = accepted.receive((frame) => accepted.send([frame]))
    const back = Promise.withResolvers<Uint8Array>()
    const over = dialled.receive((frame) => back.resolve(frame))
    const sent = patternFrame(3_000_000)
    await dialled.send([sent.subarray(0, 100), sent.subarray(100)])
    expect(Buffer.from(await back.promise).equals(sent)).toBe(true)

    expect(dialled.info).toMatchObject({ driver: 'tcp', mode })
    expect(accepted.peerName).toBe(mode === 'mtls' ? 'site-1' : undefined)
    expect(dialled.peerName).toBe(mode === 'clear' ? undefined : 'server')
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

  it('serves its four schemes and no other', async () => {
    const driver = tcp()
    expect(driver.schemes).toEqual(['tcp', 'stcp', 'atcp', 'satcp'])
    await expect(driver.connect(new URL('grpc://127.0.0.1:1'), CLEAR)).rejects.toMatchObject({
      code: 'ERR_SCHEME_UNKNOWN',
    })
  })

  it('never falls back to less than was asked for', async () => {
    const driver = tcp()
    const withoutCa = { mode: 'tls', tls: { ca: ' ' } } as const
    await expect(driver.connect(new URL('stcp://127.0.0.1:1'), CLEAR)).rejects.toThrow(/TLS/)
    await expect(driver.connect(ANY, withoutCa)).rejects.toThrow(/CA/)
    await expect(driver.listen(ANY, { mode: 'mtls' }, () => {})).rejects.toMatchObject({
      code: 'ERR_LISTEN',
    })
    await expect(driver.connect(ANY, { mode: 'mtls', tls: { ca: league.ca } })).rejects.toThrow(
      /certificate and its key/,
    )
  })

  describe('as dialler', () => {
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
      await expect(tcp().connect(ears.listener.url, client())).rejects.toMatchObject({
        code: 'ERR_TLS_HANDSHAKE',
        details: { reason },
      })
      expect(ears.count()).toBe(0)
    })

    it('takes another host name when the check is turned off or names it', async () => {
      await using ears = await listen(league.mtls('server', { hosts: ['fl.example.com'] }))
      for (const serverName of ['fl.example.com', false] as const) {
        const security = { ...league.mtls('site-1'), serverName }
        await using connection = await tcp().connect(ears.listener.url, security)
        expect(connection.peerName).toBe('server')
      }
    })

    it('does not dial with its own expired certificate', async () => {
      const security = league.mtls('site-1', { expired: true })
      await expect(tcp().connect(ANY, security)).rejects.toThrow(/our own certificate expired on/)
    })

    it('says that nothing listens, in words', async () => {
      const ears = await listen(CLEAR)
      const { url } = ears.listener
      await ears[Symbol.asyncDispose]()
      await expect(tcp().connect(url, CLEAR)).rejects.toMatchObject({
        code: 'ERR_CONNECT_REFUSED',
        message: expect.stringContaining('nothing listens there'),
      })
    })

    it('says that the listener speaks no TLS', async () => {
      await using ears = await listen(CLEAR)
      void ears.accepted.then((connection) => connection.send([patternFrame(64)]))
      const failed = tcp().connect(ears.listener.url, league.mtls('site-1'))
      await expect(failed).rejects.toMatchObject({
        code: 'ERR_TLS_HANDSHAKE',
        details: { reason: 'not-tls' },
      })
    })

    it('gives up on a silent listener, and on abort', async () => {
      const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
      await once(silent, 'listening')
      const address = silent.address()
      const port = typeof address === 'object' ? address?.port : 0
      const url = new URL(`tcp://127.0.0.1:${port}`)
      const security = league.mtls('site-1')
      await expect(tcp({ connectTimeoutMs: 30 }).connect(url, security)).rejects.toMatchObject({
        code: 'ERR_CONNECT_TIMEOUT',
      })
      const abort = new AbortController()
      const dialling = tcp().connect(url, security, abort)
      abort.abort(new Error('never mind'))
      await expect(dialling).rejects.toThrow('never mind')
      silent.close()
    })

    it('learns why it was refused when the listener says so after the handshake', async () => {
      await using ears = await listen(league.mtls('server'))
      const { url } = ears.listener
      // A mode that presents nothing, to a listener that demands a certificate.
      const security: LinkSecurity = { mode: 'tls', tls: { ca: league.ca } }
      const reason = await tcp()
        .connect(url, security)
        .then((connection) => connection.receive(() => {}))
        .catch((error: TransportError) => error)
      expect(reason).toMatchObject({ code: 'ERR_TLS_HANDSHAKE', details: { reason: 'missing' } })
      expect(ears.count()).toBe(0)
    })
  })

  describe('as listener', () => {
    it.each<[string, () => LinkSecurity, string]>([
      ['of another root', () => ({ ...foreign.mtls('site-1') }), 'untrusted'],
      ['that expired', () => league.mtls('site-1', { expired: true }), 'expired'],
      ['at all missing', () => ({ mode: 'tls', tls: { ca: league.ca } }), 'missing'],
    ])('refuses a certificate %s and logs why', async (_name, client, reason) => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), { logger })
      const { tls } = client()
      const socket = rawTlsConnect({
        port: Number(ears.listener.url.port),
        host: '127.0.0.1',
        ca: league.ca,
        cert: tls?.cert,
        key: tls?.key,
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
    })

    it('keeps nobody out while others are slow, and cuts them in time', async () => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), { logger, handshakeTimeoutMs: 60 })
      const slow = rawConnect(Number(ears.listener.url.port), '127.0.0.1')
      slow.on('error', () => {})
      await once(slow, 'connect')
      slow.write(Uint8Array.of(22))
      const closed = once(slow.resume(), 'close')
      await using quick = await tcp().connect(ears.listener.url, league.mtls('site-1'))
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
      const port = Number(ears.listener.url.port)
      const slow: Socket[] = []
      for (let i = 0; i < 3; i++) {
        const socket = rawConnect(port, '127.0.0.1')
        socket.on('error', () => {})
        slow.push(socket)
        await once(socket, 'connect')
      }
      expect(await warned).toMatchObject({ remoteAddress: '127.0.0.1' })
      for (const socket of slow) {
        socket.destroy()
        if (!socket.closed) await once(socket, 'close')
      }
      // The listener needs a moment to see them go; until then it may still refuse.
      let connection: Connection | undefined
      while (connection === undefined)
        connection = await tcp()
          .connect(ears.listener.url, league.mtls('site-1'))
          .catch(() => undefined)
      await connection[Symbol.asyncDispose]()
    })

    it('refuses TLS 1.1', async () => {
      const { logger, warned } = recorder()
      await using ears = await listen(league.mtls('server'), { logger })
      const { cert, key } = league.material('site-1')
      const socket = rawTlsConnect({
        port: Number(ears.listener.url.port),
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
      await expect(tcp().listen(ears.listener.url, CLEAR, () => {})).rejects.toMatchObject({
        code: 'ERR_LISTEN',
        message: expect.stringContaining('in use'),
      })
    })

    it('listens on IPv6 and on all interfaces', async () => {
      for (const [address, dialled] of [
        ['tcp://[::1]:0', '[::1]'],
        ['tcp://0:0', '127.0.0.1'],
      ] as const) {
        const listener = await tcp().listen(new URL(address), CLEAR, (connection) => {
          void connection[Symbol.asyncDispose]()
        })
        const url = new URL(`tcp://${dialled}:${listener.url.port}`)
        await using connection = await tcp().connect(url, CLEAR)
        expect(connection.info.remoteAddress).toContain(listener.url.port)
        await listener[Symbol.asyncDispose]()
      }
    })
  })
})
