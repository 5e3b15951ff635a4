import { randomUUID } from 'node:crypto'
import { type Cell, createCell } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { createFrameKeyShare, type Identity, loginSigner, loginVerifier } from '@hanse/pki'
import {
  type Credentials,
  login,
  OBJECT_STREAM_HEADER,
  OBJECT_STREAM_KEY,
  OBJECT_STREAM_TOPIC,
  PEOPLE,
  participantStamp,
  proofText,
  readCommandReply,
  requestAux,
  returnCodeOf,
  Shareable,
  writeCommandRequest,
} from '@hanse/session'
import { registry } from './attacker-login.ts'
import { ATTACK_SCHEME } from './attacker-wire.ts'

export interface UploadLies {
  /** What is said of the length, instead of the truth. */
  readonly fileSize?: number
  readonly command?: string
  readonly token?: string
}

const PIECE_BYTES = 512 * 1024
const OWN_PROPERTIES = new Map<string, string>([
  ['__run_num__', ''],
  ['__identity_name__', 'attacker'],
])

/** A person's tool that was changed: speaks as the tool does, but sends what it likes. */
export class AttackerPerson implements AsyncDisposable {
  readonly #cell: Cell
  readonly #token: string

  private constructor(cell: Cell, token: string) {
    this.#cell = cell
    this.#token = token
  }

  /** Connects, proves itself and opens a session, as the tool does; with `proofs` as Hanse's, without as stock's. */
  static async open(
    port: number,
    identity: Identity,
    { proofs = false } = {},
  ): Promise<AttackerPerson> {
    const cell = createCell(
      `_admin_${randomUUID()}`,
      { drivers: [tcp(), http(), grpc()], registry },
      { ownName: identity.name, identities: new Map([['server', 'server1']]), forwards: false },
    )
    const connector = cell.dial(
      new URL(`${ATTACK_SCHEME}://127.0.0.1:${port}`),
      { mode: 'mtls', tls: identity.tls, serverName: 'localhost' },
      { proofs },
    )
    const signer = loginSigner(identity)
    const { credentials, link } = await login(
      {
        cell,
        signer,
        link: () => connector.link,
        createKeyShare: createFrameKeyShare,
        verifier: loginVerifier(identity, systemClock),
        clock: systemClock,
        logger: silentLogger,
      },
      {
        kind: 'admin',
        project: 'test_league',
        serverIdentity: 'server1',
        software: 'attacker',
        publicProperties: OWN_PROPERTIES,
        retryIntervalMs: 50,
      },
    )
    const held: Credentials = credentials
    cell.outgoing(participantStamp(cell.fqcn, () => held))
    link?.open()
    const reply = await cell.request(
      'server',
      PEOPLE.channel,
      PEOPLE.commandTopic,
      writeCommandRequest(
        { command: `_cert_login ${identity.name}`, token: undefined, meta: {} },
        new Date(),
      ),
      {
        headers: {
          user_name: identity.name,
          cert: new TextEncoder().encode(signer.certificateChain),
          signature: signer.sign(proofText(identity.name, '')),
          study: 'default',
        },
      },
    )
    const token = readCommandReply(reply.body).items.find(({ type }) => type === 'token')
    return new AttackerPerson(
      cell,
      token !== undefined && 'data' in token ? String(token.data) : '',
    )
  }

  get token(): string {
    return this.#token
  }

  /** Gives a command of this session. @returns the text of the reply */
  async command(text: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    const request = writeCommandRequest({ command: text, token: this.#token, meta: {} }, new Date())
    const { channel, commandTopic } = PEOPLE
    const reply = await this.#cell.request('server', channel, commandTopic, request, { headers })
    return typeof reply.body === 'string' ? reply.body : `${reply.returnCode} ${reply.error}`
  }

  /** Uploads an archive as a job. @returns the text of the server's reply, or how the upload ended */
  async upload(archive: Uint8Array, lies: UploadLies = {}): Promise<string> {
    const request = {
      command: lies.command ?? 'job_mgmt.submit_job attack',
      token: lies.token ?? this.#token,
      meta: {},
    }
    const transaction = randomUUID()
    for (let sequence = 0, at = 0; ; sequence += 1, at += PIECE_BYTES) {
      const data = archive.subarray(at, at + PIECE_BYTES)
      const body = new Shareable()
      body.headers.set(OBJECT_STREAM_HEADER.channel, PEOPLE.uploadChannel)
      body.headers.set(OBJECT_STREAM_HEADER.topic, PEOPLE.uploadTopic)
      body.headers.set(OBJECT_STREAM_HEADER.transaction, transaction)
      body.headers.set(OBJECT_STREAM_HEADER.sequence, sequence)
      if (sequence === 0)
        body.headers.set(
          OBJECT_STREAM_HEADER.context,
          new Map<string, string | number>([
            ['conn_data', writeCommandRequest(request, new Date())],
            [OBJECT_STREAM_KEY.fileSize, lies.fileSize ?? archive.length],
            [OBJECT_STREAM_KEY.fileName, '../../../evil.zip'],
          ]),
        )
      const isLast = at + PIECE_BYTES >= archive.length
      body.content.set(OBJECT_STREAM_KEY.data, data)
      body.content.set(OBJECT_STREAM_KEY.size, data.length)
      body.content.set(OBJECT_STREAM_KEY.isLast, isLast)
      const { request: topic } = OBJECT_STREAM_TOPIC
      const options = { timeoutMs: 60_000 }
      const reply = await requestAux(this.#cell, 'server', topic, body, OWN_PROPERTIES, options)
      const code = returnCodeOf(reply)
      if (code === 'OK' && !isLast) continue
      const result = reply.headers.get(OBJECT_STREAM_HEADER.endResult)
      return typeof result === 'string' ? result : code
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cell[Symbol.asyncDispose]()
  }
}
