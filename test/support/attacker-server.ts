import { type Cell, createCell } from '@hanse/cellnet'
import { type JsonObject, systemClock } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import {
  createFrameKeyShare,
  type Identity,
  loginSigner,
  loginVerifier,
  signToken,
  tokenMac,
} from '@hanse/pki'
import {
  COMMAND,
  COMMAND_HEADER,
  type CommandOutcome,
  commandSite,
  fobsOfJson,
  serveRegistration,
  serverStamp,
} from '@hanse/session'
import { registry } from './attacker-login.ts'
import { ATTACK_SCHEME } from './attacker-wire.ts'

/** A server that an attacker has taken over, with all its keys: takes every login and orders what it likes. */
export class AttackerServer implements AsyncDisposable {
  readonly cell: Cell

  private constructor(cell: Cell) {
    this.cell = cell
  }

  /** Listens with whatever certificate it has. */
  static async listen(port: number, identity: Identity): Promise<AttackerServer> {
    const cell = createCell(
      'server',
      { drivers: [tcp(), http(), grpc()], registry },
      { ownName: identity.name },
    )
    serveRegistration(
      cell,
      {
        signer: loginSigner(identity),
        verifier: loginVerifier(identity, systemClock),
        mac: tokenMac(identity.key),
        clock: systemClock,
        createKeyShare: createFrameKeyShare,
        signToken: (name, token) => signToken(identity.key, name, token),
        refusal: () => undefined,
        onRegistered: () => {},
        onRefused: () => {},
      },
      { project: 'test_league', software: 'attacker' },
    )
    for (const topic of ['heart_beat', 'quit', 'report_job_failure'])
      cell.handle('task', topic, () => ({}))
    cell.outgoing(serverStamp((name, token) => signToken(identity.key, name, token)))
    await cell.listen(new URL(`${ATTACK_SCHEME}://127.0.0.1:${port}`), {
      mode: 'mtls',
      tls: identity.tls,
    })
    return new AttackerServer(cell)
  }

  /** Gives a site a command, as the server does. */
  order(
    topic: string,
    headers: Readonly<Record<string, unknown>>,
    body: Uint8Array | null = null,
    site = 'site-1',
  ): Promise<CommandOutcome> {
    // The codec checks what they are.
    const values = Object.entries(headers) as [string, string][]
    return commandSite(
      this.cell,
      site,
      { topic, headers: new Map(values), body },
      { timeoutMs: 20_000 },
    )
  }

  deploy(app: Uint8Array, meta: JsonObject): Promise<CommandOutcome> {
    const headers = {
      [COMMAND_HEADER.jobId]: meta['job_id'],
      [COMMAND_HEADER.appName]: 'app',
      [COMMAND_HEADER.jobMeta]: fobsOfJson(meta),
    }
    return this.order(COMMAND.deploy, headers, app)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cell[Symbol.asyncDispose]()
  }
}
