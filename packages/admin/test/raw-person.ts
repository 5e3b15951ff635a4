import { randomUUID } from 'node:crypto'
import { type Cell, createCell, type HeaderValue } from '@hanse/cellnet'
import { type JsonObject, silentLogger, systemClock } from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { type Identity, loginSigner, loginVerifier } from '@hanse/pki'
import {
  type CommandReply,
  type Credentials,
  login,
  PEOPLE,
  participantStamp,
  platformCodecs,
  proofText,
  readCommandReply,
  writeCommandRequest,
} from '@hanse/session'
import { SERVER_NAME, type TestServer } from './test-league.ts'

/** A registered person who says whatever a test wants, also what an honest tool would not. */
export class RawPerson implements AsyncDisposable {
  readonly cell: Cell
  readonly identity: Identity
  credentials: Credentials | undefined

  private constructor(identity: Identity) {
    this.identity = identity
    this.cell = createCell(
      `_admin_${randomUUID()}`,
      { drivers: [tcp()], registry: createFobsRegistry(coreCodecs, platformCodecs) },
      {
        ownName: identity.name,
        identities: new Map([['server', SERVER_NAME]]),
        closeTimeoutMs: 20,
        stockPeerHoldMs: 0,
      },
    )
    this.cell.outgoing(participantStamp(this.cell.fqcn, () => this.credentials))
  }

  static async register(server: TestServer, identity: Identity): Promise<RawPerson> {
    const person = new RawPerson(identity)
    const connector = person.cell.dial(new URL(`tcp://127.0.0.1:${server.port}`), {
      mode: 'mtls',
      tls: identity.tls,
      serverName: SERVER_NAME,
    })
    await new Promise<void>((resolve) => connector.on('connected', () => resolve()))
    const { credentials } = await login(
      {
        cell: person.cell,
        signer: loginSigner(identity),
        verifier: loginVerifier(identity, systemClock),
        clock: systemClock,
        logger: silentLogger,
      },
      {
        kind: 'admin',
        project: 'test_league',
        serverIdentity: SERVER_NAME,
        software: 'test',
        publicProperties: new Map([['__identity_name__', identity.name]]),
      },
    )
    person.credentials = credentials
    return person
  }

  /** Registers and logs in. @returns the person and the session's token */
  static async logIn(
    server: TestServer,
    identity: Identity,
  ): Promise<{ readonly person: RawPerson; readonly token: string }> {
    const person = await RawPerson.register(server, identity)
    const reply = await person.certLogin()
    const item = reply.items.find(({ type }) => type === 'token')
    if (item?.type !== 'token') throw new Error(JSON.stringify(reply))
    return { person, token: item.data }
  }

  certLogin(
    proof: Identity = this.identity,
    name = this.identity.name,
    more: Readonly<Record<string, HeaderValue>> = {},
  ): Promise<CommandReply> {
    return this.command(`_cert_login ${name}`, undefined, {
      cert: new TextEncoder().encode(proof.chainPem),
      signature: proof.key.sign(proofText(proof.name, '')),
      ...more,
    })
  }

  async command(
    command: string,
    token?: string,
    headers: Readonly<Record<string, HeaderValue>> = {},
    meta: JsonObject = {},
  ): Promise<CommandReply> {
    return this.text(writeCommandRequest({ command, token, meta }, new Date()), headers)
  }

  async text(
    body: unknown,
    headers: Readonly<Record<string, HeaderValue>> = {},
  ): Promise<CommandReply> {
    const reply = await this.cell.request('server', PEOPLE.channel, PEOPLE.commandTopic, body, {
      headers,
      timeoutMs: 5_000,
    })
    if (reply.returnCode !== 'ok') throw new Error(`${reply.returnCode}: ${reply.error}`)
    return readCommandReply(reply.body)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.cell[Symbol.asyncDispose]())
  }
}
