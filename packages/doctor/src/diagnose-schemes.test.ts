import { writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Authority } from '../test/authority.ts'
import { FAST, fastClock, Scene } from '../test/scene.ts'

/** Nothing comes late here. */
const SOON = { clock: fastClock, timeoutMs: 2_000 * FAST }
const LOGIN_PAGE = '<html><title>Please log in</title></html>'

/** What proxies and web servers say instead of passing on. */
const ANSWERS: readonly (readonly [string, number, RequestListener])[] = [
  ['a bad gateway', 502, (_request, response) => response.writeHead(502).end()],
  ['a login page', 200, (_request, response) => response.end(LOGIN_PAGE)],
  [
    'a way to a login page',
    302,
    (_request, response) => response.writeHead(302, { location: '/login' }).end(),
  ],
  ['an unknown path', 404, (_request, response) => response.writeHead(404).end()],
  ['a refusal', 403, (_request, response) => response.writeHead(403).end()],
]

describe.each(['http', 'grpc'] as const)('a league over %s', (scheme) => {
  let scene: Scene
  let authority: Authority
  beforeAll(async () => {
    scene = await Scene.set(scheme)
    authority = await Authority.found()
    await writeFile(join(scene.folder, 'proxy-root.pem'), authority.root.pem)
    await scene.makeLeague(
      'league',
      `  - { name: site-1, type: client, org: org }
  - { name: half-open, type: client, org: org, connection_security: tls }
  - { name: open, type: client, org: org, connection_security: clear }
  - { name: behind-proxy, type: client, org: org, connection_security: tls, custom_ca_cert: proxy-root.pem }
  - { name: lead@example.org, type: admin, org: org, role: lead }`,
    )
  })
  afterAll(() => scene[Symbol.asyncDispose]())

  it.each([
    ['site-1', 'mtls'],
    ['lead@example.org', 'mtls'],
    ['half-open', 'tls'],
    ['open', 'clear'],
  ] as const)('has nothing wrong with it: %s', async (name, mode) => {
    await using _server = await scene.cellListening('server1', mode)
    const { faults, passed } = await scene.look(scene.kit(name), SOON)
    expect(faults).toEqual([])
    expect(passed).toEqual(['kit', 'reach', 'tls', 'league'])
  })

  it.each([
    ['site-1', 'clear', 'clear-port'],
    ['open', 'mtls', 'tls-port'],
    ['half-open', 'mtls', 'client-certificate-missing'],
  ] as const)('%s at a port in mode %s', async (name, mode, code) => {
    await using _server = await scene.cellListening('server1', mode)
    expect(await scene.codesOf(scene.kit(name))).toEqual([code])
  })

  it.each(ANSWERS)('gets %s from a proxy without TLS (%i)', async (_what, status, answer) => {
    await using _proxy = await scene.listening(createHttpServer(answer))
    const [fault] = await scene.faultsOf(scene.kit('open'), SOON)
    expect(fault?.code).toBe('http-answer')
    expect(fault?.seen).toContain(String(status))
    if (status === 200) expect(fault?.seen).toContain('Please log in')
  })

  it.each(ANSWERS)('gets %s from a proxy that ends TLS (%i)', async (_what, status, answer) => {
    const server = createHttpsServer(authority.listener(), answer)
    await using _proxy = await scene.listening(server)
    const [fault] = await scene.faultsOf(scene.kit('behind-proxy'), SOON)
    expect(fault?.code).toBe(scheme === 'http' ? 'http-answer' : 'other-protocol')
    expect(fault?.seen).toMatch(
      scheme === 'http' ? new RegExp(String(status)) : /APPLICATION_PROTOCOL/,
    )
  })

  it('finds something else behind TLS than its server', async () => {
    const options = { ...authority.listener(), ALPNProtocols: ['h2', 'http/1.1'] }
    const server = createTlsServer(options, (socket) => {
      socket.on('error', () => {})
      socket.end('220 mail.example.org\r\n')
    })
    await using _other = await scene.listening(server)
    expect(await scene.codesOf(scene.kit('behind-proxy'), SOON)).toEqual(['other-protocol'])
  })

  it('finds something else without TLS than its server', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.end('220 mail.example.org\r\n')
    })
    await using _other = await scene.listening(server)
    expect(await scene.codesOf(scene.kit('open'), SOON)).toEqual(['other-protocol'])
  })
})
