import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { type Clock, systemClock } from '@hanse/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { httpProxy } from '../../driver-socket/test/http-proxy.ts'
import { Authority } from '../test/authority.ts'
import { INCOMPLETE_CHAIN } from '../test/incomplete-chain.ts'
import { freePort, type Looking, Scene } from '../test/scene.ts'
import { silentPort } from '../test/silent-port.ts'

const DAY_MS = 86_400_000

function clockAt(shiftDays: number): Clock {
  return { ...systemClock, now: () => Date.now() + shiftDays * DAY_MS }
}

let scene: Scene
let authority: Authority

const kit = (name: string): string => scene.kit(name)
const look = (directory: string, looking?: Looking) => scene.look(directory, looking)
const faultsOf = (directory: string, looking?: Looking) => scene.faultsOf(directory, looking)
const codesOf = (directory: string, looking?: Looking) => scene.codesOf(directory, looking)

beforeAll(async () => {
  scene = await Scene.set()
  authority = await Authority.found()
  await writeFile(join(scene.folder, 'proxy-root.pem'), authority.root.pem)
  await writeFile(join(scene.folder, 'careless-root.pem'), INCOMPLETE_CHAIN.root)
  await scene.makeLeague(
    'league',
    `  - { name: site-1, type: client, org: org }
  - { name: lost, type: client, org: org, connect_to: nowhere.invalid }
  - { name: nowhere, type: client, org: org, connect_to: 255.255.255.255 }
  - { name: by-address, type: client, org: org, connect_to: 127.0.0.1 }
  - { name: behind-proxy, type: client, org: org, connection_security: tls, custom_ca_cert: proxy-root.pem }
  - { name: behind-careless-proxy, type: client, org: org, connection_security: tls, custom_ca_cert: careless-root.pem }
  - { name: half-open, type: client, org: org, connection_security: tls }
  - { name: open, type: client, org: org, connection_security: clear }
  - { name: localhost, type: client, org: org }
  - { name: lead@example.org, type: admin, org: org, role: lead }`,
  )
  await scene.makeLeague('others', '  - { name: site-1, type: client, org: org }')
}, 60_000)
afterAll(() => scene[Symbol.asyncDispose]())

const tlsServer = (options: TlsOptions) =>
  createTlsServer(options, (socket) => socket.on('error', () => {})).on('tlsClientError', () => {})

describe('nothing is wrong', () => {
  it.each(['site-1', 'lead@example.org', 'server1'])('with %s', async (name) => {
    await using _server = await scene.cellListening()
    const { ok, faults, passed } = await look(kit(name))
    expect(faults).toEqual([])
    expect(ok).toBe(true)
    expect(passed).toEqual(['kit', 'reach', 'tls', ...(name === 'server1' ? [] : ['league'])])
  })

  it('while the participant itself is connected', async () => {
    await using _server = await scene.cellListening()
    await using running = await scene.connected('site-1')
    expect(await codesOf(kit('site-1'))).toEqual([])
    expect(running.connector.link).toBeDefined()
  })

  it.each([
    ['half-open', 'tls'],
    ['open', 'clear'],
  ] as const)('with %s, whose link is %s', async (name, mode) => {
    await using _server = await scene.cellListening('server1', mode)
    expect(await codesOf(kit(name))).toEqual([])
  })
})

describe('the kit', () => {
  it('is none', async () => {
    expect(await codesOf(scene.folder)).toEqual(['kit-unusable'])
  })

  it('is not complete', async () => {
    const copy = await scene.copyOf('site-1')
    await rm(join(copy, 'startup', 'client.crt'))
    expect(await codesOf(copy)).toEqual(['kit-incomplete'])
  })

  it('was changed', async () => {
    const copy = await scene.copyOf('site-1')
    const file = join(copy, 'startup', 'fed_client.json')
    await writeFile(file, (await readFile(file, 'utf8')).replace('localhost', 'elsewhere'))
    const [fault] = await faultsOf(copy)
    expect(fault).toMatchObject({
      code: 'kit-changed',
      seen: expect.stringContaining('fed_client.json'),
    })
  })

  it('shows its key to others', async () => {
    const copy = await scene.copyOf('site-1')
    await chmod(join(copy, 'startup', 'client.key'), 0o644)
    expect(await codesOf(copy)).toEqual(['kit-exposed'])
  })

  it.each([
    ['client.key', 'lost', 'key-mismatch'],
    ['rootCA.pem', 'others/site-1', 'own-certificate-untrusted'],
  ] as const)('has the %s of %s', async (file, other, code) => {
    const copy = await scene.copyOf('site-1')
    await cp(join(kit(other), 'startup', file), join(copy, 'startup', file))
    expect(await codesOf(copy)).toEqual([code])
  })

  it.each([
    [4_000, 'own-certificate-expired'],
    [-4_000, 'clock-skew'],
  ] as const)('is looked at %i days from now', async (days, code) => {
    expect(await codesOf(kit('site-1'), { clock: clockAt(days) })).toEqual([code])
  })
})

describe('the way to the server', () => {
  it('has a name that nobody knows', async () => {
    expect(await codesOf(kit('lost'))).toEqual(['name-not-resolved'])
  })

  it('ends where nothing listens', async () => {
    expect(await codesOf(kit('site-1'))).toEqual(['nothing-listens'])
  })

  it('ends where no answer comes', async () => {
    await using _firewall = await silentPort(scene.port)
    expect(await codesOf(kit('site-1'), { timeoutMs: 500 })).toEqual(['no-answer'])
  })

  it('leads nowhere', async () => {
    // No TCP goes to everybody: the system itself says so, whatever the network is.
    const [fault] = await faultsOf(kit('nowhere'))
    expect(fault).toMatchObject({ code: 'no-route', seen: 'ENETUNREACH' })
  })
})

describe('the way through a proxy', () => {
  const LOGIN = 'site:s3cret pass'

  async function copyBehind(name: string, proxy: URL, login?: string): Promise<string> {
    const url = new URL(proxy)
    if (login !== undefined) [url.username, url.password] = login.split(':') as [string, string]
    return await scene.copyWith(name, { outbound_proxy: url.href })
  }

  it.each(['site-1', 'lead@example.org'])('is open to %s', async (name) => {
    await using _server = await scene.cellListening()
    await using proxy = await httpProxy(LOGIN)
    const { faults, passed, warnings } = await look(await copyBehind(name, proxy.url, LOGIN))
    expect(faults).toEqual([])
    expect(warnings).toEqual([])
    expect(passed).toEqual(['kit', 'reach', 'tls', 'league'])
    // Once to look whether it lets us through, once for TLS, once for the greeting.
    expect(proxy.asked).toEqual(Array(3).fill(`localhost:${scene.port}`))
  })

  it('is not the way of a server that looks at its own port', async () => {
    await using _server = await scene.cellListening()
    await using proxy = await httpProxy()
    expect(await codesOf(await copyBehind('server1', proxy.url))).toEqual([])
    expect(proxy.asked).toEqual([])
  })

  it('leads past a resolver that does not know the server', async () => {
    await using _server = await scene.cellListening()
    await using proxy = await httpProxy()
    // The proxy of the test takes every name for this machine, as one in a company's network knows more names.
    const [fault] = await faultsOf(await copyBehind('lost', proxy.url))
    expect(fault?.code).toBe('name-not-in-certificate')
  })

  it('begins at a name that nobody knows', async () => {
    const [fault] = await faultsOf(
      await copyBehind('site-1', new URL('http://proxy.invalid:1'), LOGIN),
    )
    expect(fault).toMatchObject({
      code: 'name-not-resolved',
      what: expect.stringContaining('proxy.invalid'),
      fix: expect.stringContaining('outbound_proxy'),
    })
  })

  it.each([
    ['nothing-listens', undefined],
    ['no-answer', undefined],
    ['proxy-refused', 'with another login'],
  ] as const)('is closed: %s', async (code, _how) => {
    await using proxy = await httpProxy('site:other')
    const port = await freePort()
    await using _firewall = code === 'no-answer' ? await silentPort(port) : undefined
    const url = code === 'proxy-refused' ? proxy.url : new URL(`http://127.0.0.1:${port}`)
    const faults = await faultsOf(await copyBehind('site-1', url, LOGIN), { timeoutMs: 500 })
    expect(faults.map((fault) => fault.code)).toEqual([code])
    expect(faults[0]?.what).toContain('the proxy 127.0.0.1')
    expect(JSON.stringify(faults)).not.toMatch(/s3cret/)
    if (code === 'proxy-refused')
      expect(faults[0]?.seen).toMatch(/does not accept our user and password/)
  })

  it('ends at a proxy that cannot reach the server', async () => {
    await using proxy = await httpProxy()
    const [fault] = await faultsOf(await copyBehind('site-1', proxy.url))
    expect(fault).toMatchObject({
      code: 'proxy-refused',
      seen: expect.stringContaining('it cannot reach that address (502)'),
    })
  })
})

describe('what listens there', () => {
  it('speaks no TLS', async () => {
    await using _server = await scene.cellListening('server1', 'clear')
    expect(await codesOf(kit('site-1'))).toEqual(['clear-port'])
  })

  it('speaks TLS to a kit that does not', async () => {
    await using _server = await scene.cellListening()
    expect(await codesOf(kit('open'))).toEqual(['tls-port'])
  })

  it.each(['site-1', 'open'])('is a web server that %s did not want', async (name) => {
    const page = '<html><title>Please log in</title></html>'
    await using _server = await scene.listening(
      createHttpServer((_request, response) => response.writeHead(502).end(page)),
    )
    const [fault] = await faultsOf(kit(name))
    expect(fault?.code).toBe('http-answer')
    expect(fault?.seen).toBe('HTTP/1.1 502 Bad Gateway, a page titled "Please log in"')
  })

  it('takes connections and says nothing', async () => {
    await using _server = await scene.listening(createTcpServer())
    expect(await codesOf(kit('site-1'), { timeoutMs: 500 })).toEqual(['handshake-stalled'])
  })

  it.each([
    ['no version of TLS that we have', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }],
    ['no cipher that we have', { maxVersion: 'TLSv1.2', ciphers: 'AES128-CCM8' }],
  ] as const)('speaks TLS, but %s', async (_what, options) => {
    const ciphers = 'ciphers' in options ? options.ciphers : 'DEFAULT@SECLEVEL=0'
    await using _server = await scene.listening(
      tlsServer({ ...authority.listener(), ...options, ciphers }),
    )
    const [fault] = await faultsOf(kit('site-1'))
    expect(fault).toMatchObject({
      code: 'handshake-failed',
      seen: expect.stringMatching(/TLS version|no agreement/),
    })
  })

  it('is the server of another league', async () => {
    await using _server = await scene.cellListening('others/server1')
    const faults = await faultsOf(kit('site-1'))
    expect(faults.map(({ code }) => code)).toEqual(['wrong-ca', 'client-certificate-refused'])
    expect(faults[0]?.seen).toContain("by 'others'")
    expect(faults[0]?.expected).toContain("'league'")
  })

  it('wants a certificate that the kit does not show', async () => {
    await using _server = await scene.cellListening()
    expect(await codesOf(kit('half-open'))).toEqual(['client-certificate-missing'])
  })

  it('is not called what we call it', async () => {
    await using _server = await scene.cellListening()
    const [fault] = await faultsOf(kit('by-address'))
    expect(fault?.code).toBe('name-not-in-certificate')
    expect(fault?.seen).toContain('DNS:localhost')
  })

  it('is another participant of the league', async () => {
    await using _server = await scene.cellListening('localhost')
    expect(await codesOf(kit('site-1'))).toEqual(['server-identity'])
  })

  it.each([
    ['has expired', { from: -20, to: -10 }, ['server-certificate-expired']],
    ['is not valid yet', { from: 10, to: 20 }, ['clock-skew']],
    ['is for another name', { host: 'proxy.example.org' }, ['name-not-in-certificate']],
  ] as const)('has a certificate that %s', async (_what, certificate, codes) => {
    await using _server = await scene.listening(tlsServer(authority.listener(certificate)))
    expect(await codesOf(kit('behind-proxy'))).toEqual(codes)
  })

  it('sends a chain with a hole', async () => {
    await using _server = await scene.listening(
      tlsServer({ cert: INCOMPLETE_CHAIN.sent, key: INCOMPLETE_CHAIN.key }),
    )
    const [fault] = await faultsOf(kit('behind-careless-proxy'))
    expect(fault?.code).toBe('chain-incomplete')
    expect(fault?.seen).toContain("'upper intermediate' is missing")
  })

  it('speaks TLS, but not our protocol inside it', async () => {
    await using _server = await scene.listening(tlsServer(authority.listener()))
    expect(await codesOf(kit('behind-proxy'), { timeoutMs: 1_000 })).toEqual(['other-protocol'])
  })

  it('does not let us in', async () => {
    await using _server = await scene.cellListening('server1', 'mtls', {
      refuse: () => 'it was revoked by boss',
    })
    const [fault] = await faultsOf(kit('site-1'))
    expect(fault).toMatchObject({
      code: 'refused',
      seen: expect.stringContaining('revoked by boss'),
    })
  })
})

it('documents every code', async () => {
  const page = await readFile(new URL('../../../docs/doctor.md', import.meta.url), 'utf8')
  const source = await readFile(new URL('fault.ts', import.meta.url), 'utf8')
  const codes = [...source.matchAll(/\| '([a-z-]+)'/g)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(20)
  for (const code of codes) expect(page).toContain(`\`${code}\``)
})
