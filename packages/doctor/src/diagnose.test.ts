import { once } from 'node:events'
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as NetServer,
  Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { createCell } from '@hanse/cellnet'
import { type Clock, silentLogger, systemClock } from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  type Certificate,
  generatePrivateKey,
  issueLeaf,
  issueRoot,
  type PrivateKey,
} from '@hanse/pki'
import {
  linkSecurity,
  loadKit,
  parseProject,
  provenIdentities,
  provision,
  serverUrl,
} from '@hanse/provision'
import { SERVER_CELL } from '@hanse/session'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { httpProxy } from '../../driver-socket/test/http-proxy.ts'
import { INCOMPLETE_CHAIN } from '../test/incomplete-chain.ts'
import { diagnose, type Fault, type FaultCode } from './index.ts'
import { type Network, systemNetwork } from './network.ts'

const DAY_MS = 86_400_000
const TIMEOUT_MS = 2_000

/** An authority of our own, as the owner of a proxy has one. */
class Authority {
  readonly #key: PrivateKey
  readonly #leafKey: PrivateKey
  readonly root: Certificate

  private constructor(key: PrivateKey, leafKey: PrivateKey) {
    this.#key = key
    this.#leafKey = leafKey
    this.root = issueRoot(key, { commonName: 'proxy root', ...validity(-30, 365) })
  }

  static async found(): Promise<Authority> {
    return new Authority(await generatePrivateKey(), await generatePrivateKey())
  }

  /** What a listener with a certificate like this needs; `from` and `to` in days from now. */
  listener({ host = 'localhost', from = -1, to = 30 } = {}): TlsOptions {
    const leaf = issueLeaf(this.root, this.#key, {
      commonName: host,
      hosts: [host],
      publicKey: this.#leafKey.publicKey,
      ...validity(from, to),
      profile: {
        keyUsage: ['digitalSignature', 'keyEncipherment'],
        extendedKeyUsage: ['serverAuth'],
        kitMark: { version: 1, type: 'server' },
      },
    })
    return { cert: leaf.pem, key: this.#leafKey.exportPem() }
  }
}

function validity(from: number, to: number) {
  return { notBefore: Date.now() + from * DAY_MS, notAfter: Date.now() + to * DAY_MS }
}

function clockAt(shiftDays: number): Clock {
  return { ...systemClock, now: () => Date.now() + shiftDays * DAY_MS }
}

const silent = silentLogger
let folder: string
let port: number
let authority: Authority
const kits = new Map<string, string>()

const kit = (name: string): string => kits.get(name) ?? ''

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function makeLeague(name: string, participants: string): Promise<void> {
  const project = parseProject(`api_version: 3
name: ${name}
description: a league for tests
participants:
  - { name: server1, type: server, org: org, default_host: localhost, fed_learn_port: ${port} }
${participants}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { config_folder: config, scheme: tcp }
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
`)
  const result = await provision(
    project,
    { clock: systemClock },
    {
      outDirectory: join(folder, 'kits'),
      configDirectory: join(folder, 'config'),
      projectFileDirectory: folder,
    },
  )
  for (const { name: participant, directory } of result.kits)
    kits.set(name === 'league' ? participant : `${name}/${participant}`, directory)
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-doctor-'))
  port = await freePort()
  authority = await Authority.found()
  await writeFile(join(folder, 'proxy-root.pem'), authority.root.pem)
  await writeFile(join(folder, 'careless-root.pem'), INCOMPLETE_CHAIN.root)
  await makeLeague(
    'league',
    `  - { name: site-1, type: client, org: org }
  - { name: lost, type: client, org: org, connect_to: nowhere.invalid }
  - { name: by-address, type: client, org: org, connect_to: 127.0.0.1 }
  - { name: behind-proxy, type: client, org: org, connection_security: tls, custom_ca_cert: proxy-root.pem }
  - { name: behind-careless-proxy, type: client, org: org, connection_security: tls, custom_ca_cert: careless-root.pem }
  - { name: half-open, type: client, org: org, connection_security: tls }
  - { name: open, type: client, org: org, connection_security: clear }
  - { name: localhost, type: client, org: org }
  - { name: lead@example.org, type: admin, org: org, role: lead }`,
  )
  await makeLeague('others', '  - { name: site-1, type: client, org: org }')
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

interface Looking {
  readonly network?: Network
  readonly clock?: Clock
}

function look(directory: string, { network, clock = systemClock }: Looking = {}) {
  return diagnose(directory, {
    driversFor: ({ hanse }) => [tcp({ clock, logger: silent, proxy: hanse.outboundProxy?.url })],
    clock,
    logger: silent,
    network,
    timeoutMs: TIMEOUT_MS,
  })
}

async function faultsOf(directory: string, looking?: Looking): Promise<readonly Fault[]> {
  const { ok, faults } = await look(directory, looking)
  expect(ok).toBe(faults.length === 0)
  for (const fault of faults) for (const text of Object.values(fault)) expect(text).not.toBe('')
  return faults
}

async function codesOf(directory: string, looking?: Looking): Promise<readonly FaultCode[]> {
  return (await faultsOf(directory, looking)).map(({ code }) => code)
}

/** A copy of a kit, to be damaged. */
async function copyOf(name: string): Promise<string> {
  const copy = await mkdtemp(join(folder, 'copy-'))
  await cp(kit(name), copy, { recursive: true })
  return copy
}

/** Something else at the server's address. */
async function listening(server: NetServer): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const tlsServer = (options: TlsOptions) =>
  createTlsServer(options, (socket) => socket.on('error', () => {})).on('tlsClientError', () => {})

function cellComponents() {
  return {
    drivers: [tcp({ clock: systemClock, logger: silent })],
    registry: createFobsRegistry(coreCodecs),
    clock: systemClock,
    logger: silent,
  }
}

/** A server's cell at the server's address, in the name of a kit. */
async function cellListening(
  name = 'server1',
  mode: 'mtls' | 'tls' | 'clear' = 'mtls',
  refuse: (fqcn: string) => string | undefined = () => undefined,
): Promise<AsyncDisposable> {
  const { identity } = await loadKit(kit(name), { now: Date.now() })
  const cell = createCell(SERVER_CELL, cellComponents(), { ownName: identity.name })
  await cell.listen(
    new URL(`tcp://127.0.0.1:${port}`),
    { mode, tls: identity.tls },
    { adminNames: true, refuse },
  )
  return cell
}

describe('nothing is wrong', () => {
  it.each(['site-1', 'lead@example.org', 'server1'])('with %s', async (name) => {
    await using _server = await cellListening()
    const { ok, faults, passed } = await look(kit(name))
    expect(faults).toEqual([])
    expect(ok).toBe(true)
    expect(passed).toEqual(['kit', 'reach', 'tls', ...(name === 'server1' ? [] : ['league'])])
  })

  it('while the participant itself is connected', async () => {
    await using _server = await cellListening()
    const running = await loadKit(kit('site-1'), { now: Date.now() })
    await using cell = createCell('site-1', cellComponents(), {
      ownName: 'site-1',
      identities: provenIdentities(running),
    })
    const connector = cell.dial(serverUrl(running), linkSecurity(running))
    await new Promise<void>((resolve) => connector.on('connected', () => resolve()))
    expect(await codesOf(kit('site-1'))).toEqual([])
    expect(connector.link).toBeDefined()
  })

  it.each([
    ['half-open', 'tls'],
    ['open', 'clear'],
  ] as const)('with %s, whose link is %s', async (name, mode) => {
    await using _server = await cellListening('server1', mode)
    expect(await codesOf(kit(name))).toEqual([])
  })
})

describe('the kit', () => {
  it('is none', async () => {
    expect(await codesOf(folder)).toEqual(['kit-unusable'])
  })

  it('is not complete', async () => {
    const copy = await copyOf('site-1')
    await rm(join(copy, 'startup', 'client.crt'))
    expect(await codesOf(copy)).toEqual(['kit-incomplete'])
  })

  it('was changed', async () => {
    const copy = await copyOf('site-1')
    const file = join(copy, 'startup', 'fed_client.json')
    await writeFile(file, (await readFile(file, 'utf8')).replace('localhost', 'elsewhere'))
    const [fault] = await faultsOf(copy)
    expect(fault).toMatchObject({
      code: 'kit-changed',
      seen: expect.stringContaining('fed_client.json'),
    })
  })

  it('shows its key to others', async () => {
    const copy = await copyOf('site-1')
    await chmod(join(copy, 'startup', 'client.key'), 0o644)
    expect(await codesOf(copy)).toEqual(['kit-exposed'])
  })

  it.each([
    ['client.key', 'lost', 'key-mismatch'],
    ['rootCA.pem', 'others/site-1', 'own-certificate-untrusted'],
  ] as const)('has the %s of %s', async (file, other, code) => {
    const copy = await copyOf('site-1')
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

  it.each([
    ['silence', undefined, 'no-answer'],
    ['no route', 'EHOSTUNREACH', 'no-route'],
  ] as const)('ends in %s', async (_how, error, code) => {
    const connect = () => {
      const socket = new Socket()
      if (error !== undefined)
        queueMicrotask(() => socket.destroy(Object.assign(new Error(error), { code: error })))
      return socket
    }
    expect(await codesOf(kit('site-1'), { network: { ...systemNetwork, connect } })).toEqual([code])
  })
})

describe('the way through a proxy', () => {
  const LOGIN = 'site:s3cret pass'

  async function copyBehind(name: string, proxy: URL, login?: string): Promise<string> {
    const copy = await copyOf(name)
    const url = new URL(proxy)
    if (login !== undefined) [url.username, url.password] = login.split(':') as [string, string]
    const settings = { format_version: 1, outbound_proxy: url.href }
    await writeFile(join(copy, 'local', 'hanse.json'), JSON.stringify(settings), { mode: 0o600 })
    return copy
  }

  it.each(['site-1', 'lead@example.org'])('is open to %s', async (name) => {
    await using _server = await cellListening()
    await using proxy = await httpProxy(LOGIN)
    const { faults, passed, warnings } = await look(await copyBehind(name, proxy.url, LOGIN))
    expect(faults).toEqual([])
    expect(warnings).toEqual([])
    expect(passed).toEqual(['kit', 'reach', 'tls', 'league'])
    // Once to look whether it lets us through, once for TLS, once for the greeting.
    expect(proxy.asked).toEqual(Array(3).fill(`localhost:${port}`))
  })

  it('is not the way of a server that looks at its own port', async () => {
    await using _server = await cellListening()
    await using proxy = await httpProxy()
    expect(await codesOf(await copyBehind('server1', proxy.url))).toEqual([])
    expect(proxy.asked).toEqual([])
  })

  it('leads past a resolver that does not know the server', async () => {
    await using _server = await cellListening()
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
    const copy = await copyBehind(
      'site-1',
      code === 'nothing-listens' ? new URL('http://127.0.0.1:1') : proxy.url,
      LOGIN,
    )
    const network = {
      ...systemNetwork,
      ...(code === 'no-answer' && { connect: () => new Socket() }),
    }
    const faults = await faultsOf(copy, { network })
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
    await using _server = await cellListening('server1', 'clear')
    expect(await codesOf(kit('site-1'))).toEqual(['clear-port'])
  })

  it('speaks TLS to a kit that does not', async () => {
    await using _server = await cellListening()
    expect(await codesOf(kit('open'))).toEqual(['tls-port'])
  })

  it.each(['site-1', 'open'])('is a web server that %s did not want', async (name) => {
    const page = '<html><title>Please log in</title></html>'
    await using _server = await listening(
      createHttpServer((_request, response) => response.writeHead(502).end(page)),
    )
    const [fault] = await faultsOf(kit(name))
    expect(fault?.code).toBe('http-answer')
    expect(fault?.seen).toBe('HTTP/1.1 502 Bad Gateway, a page titled "Please log in"')
  })

  it('takes connections and says nothing', async () => {
    await using _server = await listening(createTcpServer())
    expect(await codesOf(kit('site-1'))).toEqual(['handshake-stalled'])
  })

  it('is the server of another league', async () => {
    await using _server = await cellListening('others/server1')
    const faults = await faultsOf(kit('site-1'))
    expect(faults.map(({ code }) => code)).toEqual(['wrong-ca', 'client-certificate-refused'])
    expect(faults[0]?.seen).toContain("by 'others'")
    expect(faults[0]?.expected).toContain("'league'")
  })

  it('wants a certificate that the kit does not show', async () => {
    await using _server = await cellListening()
    expect(await codesOf(kit('half-open'))).toEqual(['client-certificate-missing'])
  })

  it('is not called what we call it', async () => {
    await using _server = await cellListening()
    const [fault] = await faultsOf(kit('by-address'))
    expect(fault?.code).toBe('name-not-in-certificate')
    expect(fault?.seen).toContain('DNS:localhost')
  })

  it('is another participant of the league', async () => {
    await using _server = await cellListening('localhost')
    expect(await codesOf(kit('site-1'))).toEqual(['server-identity'])
  })

  it.each([
    ['has expired', { from: -20, to: -10 }, ['server-certificate-expired']],
    ['is not valid yet', { from: 10, to: 20 }, ['clock-skew']],
    ['is for another name', { host: 'proxy.example.org' }, ['name-not-in-certificate']],
  ] as const)('has a certificate that %s', async (_what, certificate, codes) => {
    await using _server = await listening(tlsServer(authority.listener(certificate)))
    expect(await codesOf(kit('behind-proxy'))).toEqual(codes)
  })

  it('sends a chain with a hole', async () => {
    await using _server = await listening(
      tlsServer({ cert: INCOMPLETE_CHAIN.sent, key: INCOMPLETE_CHAIN.key }),
    )
    const [fault] = await faultsOf(kit('behind-careless-proxy'))
    expect(fault?.code).toBe('chain-incomplete')
    expect(fault?.seen).toContain("'upper intermediate' is missing")
  })

  it('speaks TLS, but not our protocol inside it', async () => {
    await using _server = await listening(tlsServer(authority.listener()))
    expect(await codesOf(kit('behind-proxy'))).toEqual(['other-protocol'])
  })

  it('does not let us in', async () => {
    await using _server = await cellListening('server1', 'mtls', () => 'it was revoked by boss')
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
