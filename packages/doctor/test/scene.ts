import { once } from 'node:events'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Connector, createCell } from '@hanse/cellnet'
import { type Clock, type Driver, silentLogger, systemClock } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  linkSecurity,
  loadKit,
  parseProject,
  provenIdentities,
  provision,
  serverUrl,
} from '@hanse/provision'
import { SERVER_CELL } from '@hanse/session'
import { expect } from 'vitest'
import { type Diagnosis, diagnose, type Fault, type FaultCode } from '../src/index.ts'

/** How long the doctor of a test waits for an answer. */
const TIMEOUT_MS = 2_000

/** The fast clock's. */
export const FAST = 10
const begun = systemClock.now()
/** For tests that would mostly wait: nothing is expected to come late, or waits are counted in seconds. */
export const fastClock: Clock = {
  now: () => begun + (systemClock.now() - begun) * FAST,
  setTimer: (delayMs, callback) => systemClock.setTimer(delayMs / FAST, callback),
}

export type Scheme = 'tcp' | 'http' | 'grpc'

export interface Looking {
  readonly clock?: Clock
  readonly timeoutMs?: number
  readonly idleMs?: number
}

/** A league's kits, and whatever a test puts at the address of its server. */
export class Scene implements AsyncDisposable {
  /** Everything is in here. */
  readonly folder: string
  /** The server's. */
  readonly port: number
  readonly #scheme: Scheme
  readonly #kits = new Map<string, string>()

  private constructor(folder: string, port: number, scheme: Scheme) {
    this.folder = folder
    this.port = port
    this.#scheme = scheme
  }

  static async set(scheme: Scheme = 'tcp'): Promise<Scene> {
    return new Scene(await mkdtemp(join(tmpdir(), 'hanse-doctor-')), await freePort(), scheme)
  }

  /** Provisions a league; the kits of one that is not called `league` have its name in front. */
  async makeLeague(name: string, participants: string): Promise<void> {
    const project = parseProject(`api_version: 3
name: ${name}
description: a league for tests
participants:
  - { name: server1, type: server, org: org, default_host: localhost, fed_learn_port: ${this.port} }
${participants}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { config_folder: config, scheme: ${this.#scheme} }
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
`)
    const result = await provision(
      project,
      { clock: systemClock },
      {
        outDirectory: join(this.folder, 'kits'),
        configDirectory: join(this.folder, 'config'),
        projectFileDirectory: this.folder,
      },
    )
    for (const { name: participant, directory } of result.kits)
      this.#kits.set(name === 'league' ? participant : `${name}/${participant}`, directory)
  }

  kit(name: string): string {
    return this.#kits.get(name) ?? ''
  }

  /** A copy of a kit, to be damaged. */
  async copyOf(name: string): Promise<string> {
    const copy = await mkdtemp(join(this.folder, 'copy-'))
    await cp(this.kit(name), copy, { recursive: true })
    return copy
  }

  /** A copy of a kit with settings of its own in `local/hanse.json`. */
  async copyWith(name: string, settings: object): Promise<string> {
    const copy = await this.copyOf(name)
    const file = JSON.stringify({ format_version: 1, ...settings })
    await writeFile(join(copy, 'local', 'hanse.json'), file, { mode: 0o600 })
    return copy
  }

  look(directory: string, { clock = systemClock, ...looking }: Looking = {}): Promise<Diagnosis> {
    return diagnose(directory, {
      driversFor: ({ hanse }) => drivers(clock, hanse.outboundProxy?.url),
      clock,
      logger: silentLogger,
      timeoutMs: TIMEOUT_MS,
      ...looking,
    })
  }

  async faultsOf(directory: string, looking?: Looking): Promise<readonly Fault[]> {
    const { ok, faults } = await this.look(directory, looking)
    expect(ok).toBe(faults.length === 0)
    for (const fault of faults) for (const text of Object.values(fault)) expect(text).not.toBe('')
    return faults
  }

  async codesOf(directory: string, looking?: Looking): Promise<readonly FaultCode[]> {
    return (await this.faultsOf(directory, looking)).map(({ code }) => code)
  }

  /** Something else at the server's address. */
  async listening(server: Server): Promise<AsyncDisposable> {
    const sockets = new Set<Socket>()
    server.on('connection', (socket: Socket) => sockets.add(socket))
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    return {
      async [Symbol.asyncDispose]() {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  }

  /** A server's cell, in the name of a kit; at the server's address unless something is put in front of it. */
  async cellListening(
    name = 'server1',
    mode: 'mtls' | 'tls' | 'clear' = 'mtls',
    {
      port = this.port,
      refuse = () => undefined,
    }: { readonly port?: number; readonly refuse?: (fqcn: string) => string | undefined } = {},
  ): Promise<AsyncDisposable> {
    const { identity } = await loadKit(this.kit(name), { now: Date.now() })
    const cell = createCell(SERVER_CELL, cellComponents(), { ownName: identity.name })
    await cell.listen(
      new URL(`${this.#scheme}://127.0.0.1:${port}`),
      { mode, tls: identity.tls },
      { adminNames: true, refuse },
    )
    return cell
  }

  /** A participant that runs, and is connected. */
  async connected(name: string): Promise<AsyncDisposable & { readonly connector: Connector }> {
    const kit = await loadKit(this.kit(name), { now: Date.now() })
    const cell = createCell(name, cellComponents(), {
      ownName: name,
      identities: provenIdentities(kit),
    })
    const connector = cell.dial(serverUrl(kit), linkSecurity(kit))
    await new Promise<void>((resolve) => connector.on('connected', () => resolve()))
    return { connector, [Symbol.asyncDispose]: () => cell[Symbol.asyncDispose]() }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

export async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function drivers(clock: Clock, proxy?: URL): readonly Driver[] {
  const components = { clock, logger: silentLogger, proxy }
  return [tcp(components), http(components), grpc(components)]
}

function cellComponents() {
  return {
    drivers: drivers(systemClock),
    registry: createFobsRegistry(coreCodecs),
    clock: systemClock,
    logger: silentLogger,
  }
}
