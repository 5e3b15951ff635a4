import { once } from 'node:events'
import type { LinkSecurity } from '@hanse/contract'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type HttpProxy, httpProxy } from '../test/http-proxy.ts'
import { createLeagues, type League } from '../test/league.ts'
import { CLEAR } from '../test/loopback.ts'
import { listenRaw } from '../test/raw-socket.ts'
import { acceptSockets } from './accept-sockets.ts'
import { dialSocket } from './dial-socket.ts'
import { socketComponents } from './socket-options.ts'

let league: League
beforeAll(async () => {
  ;[league] = await createLeagues()
})

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function proxy(login?: string): Promise<HttpProxy> {
  const made = await httpProxy(login)
  open.push(made)
  return made
}

/** Echoes every socket. */
async function echo(security: LinkSecurity): Promise<URL> {
  const listener = await acceptSockets(
    socketComponents({}),
    new URL('tcp://127.0.0.1:0'),
    security,
    {},
    ({ socket, admit }) => {
      admit()
      socket.on('error', () => {})
      socket.pipe(socket)
    },
  )
  open.push(listener)
  return listener.url
}

async function answerThrough(
  proxyUrl: URL,
  url: URL,
  security: LinkSecurity,
  connectTimeoutMs = 5_000,
): Promise<string> {
  return await dialSocket(
    socketComponents({ proxy: proxyUrl, connectTimeoutMs }),
    url,
    security,
    {},
    async (socket) => {
      socket.write('hello')
      const [data]: unknown[] = await once(socket, 'data')
      socket.destroy()
      return String(data)
    },
  )
}

describe('the way through an HTTP proxy', () => {
  it.each(['clear', 'mtls'] as const)('carries %s links', async (mode) => {
    const [server, client] =
      mode === 'clear' ? [CLEAR, CLEAR] : [league.mtls('server'), league.mtls('site-1')]
    const url = await echo(server)
    const { url: proxyUrl, asked } = await proxy()
    expect(await answerThrough(proxyUrl, url, client)).toBe('hello')
    expect(asked).toEqual([url.host])
  })

  it('still checks whose certificate is at its end', async () => {
    const url = await echo(league.mtls('server', { hosts: ['elsewhere.example'] }))
    const { url: proxyUrl } = await proxy()
    await expect(answerThrough(proxyUrl, url, league.mtls('site-1'))).rejects.toMatchObject({
      code: 'ERR_TLS_HANDSHAKE',
      details: { reason: 'name' },
    })
  })

  it('shows user and password', async () => {
    const url = await echo(CLEAR)
    const { url: proxyUrl } = await proxy('site:p@ss word')
    await expect(answerThrough(proxyUrl, url, CLEAR)).rejects.toThrow(/wants a user/)
    proxyUrl.username = 'site'
    proxyUrl.password = 'wrong'
    await expect(answerThrough(proxyUrl, url, CLEAR)).rejects.toThrow(/not accept our user.*407/)
    proxyUrl.password = 'p@ss word'
    expect(await answerThrough(proxyUrl, url, CLEAR)).toBe('hello')
  })

  it('explains a proxy that is not there, or cannot reach the listener', async () => {
    const nowhere = new URL('tcp://127.0.0.1:1')
    await expect(
      answerThrough(new URL('http://127.0.0.1:1'), nowhere, CLEAR),
    ).rejects.toMatchObject({ message: expect.stringContaining('through 127.0.0.1:1') })
    const { url: proxyUrl } = await proxy()
    await expect(answerThrough(proxyUrl, nowhere, CLEAR)).rejects.toThrow(/cannot reach/)
  })

  it.each([
    ['answers with something else', 'SSH-2.0-x\r\n\r\n', /does not speak HTTP/],
    ['answers without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}`, /does not speak HTTP/],
    ['speaks for the listener', 'HTTP/1.1 200 OK\r\n\r\nextra', /spoke before TLS/],
    ['says no more', 'HTTP/1.1 200', /gave no answer/],
  ])('refuses a proxy that %s', async (_name, answer, text) => {
    const raw = await listenRaw()
    open.push(raw)
    void raw.peer.then(({ socket }) => socket.write(answer))
    await expect(
      answerThrough(
        new URL(`http://127.0.0.1:${raw.port}`),
        new URL('tcp://127.0.0.1:1'),
        league.mtls('site-1'),
        300,
      ),
    ).rejects.toThrow(text)
  })

  it('keeps what the listener says first', async () => {
    const raw = await listenRaw()
    open.push(raw)
    void raw.peer.then(({ socket }) => socket.write('HTTP/1.1 200 OK\r\n\r\nwelcome'))
    const proxyUrl = new URL(`http://127.0.0.1:${raw.port}`)
    expect(await answerThrough(proxyUrl, new URL('tcp://127.0.0.1:1'), CLEAR)).toBe('welcome')
  })

  it('is an http URL', () => {
    expect(() => socketComponents({ proxy: new URL('socks://127.0.0.1:1080') })).toThrow(/http:/)
  })
})
