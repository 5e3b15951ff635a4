import type { Cell, HeaderValue, PeerLink } from '@hanse/cellnet'
import type { AbortOptions, Clock, JsonObject, Logger } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  type CommandScope,
  type Credentials,
  type Login,
  PEOPLE,
  type ProofSigner,
  participantStamp,
  proofText,
  readCommandReply,
  SERVER_CELL,
  SIGNED_COMMAND_HEADER,
  signCommand,
  writeCommandRequest,
  writeSignedCommand,
} from '@hanse/session'
import { AdminError } from './admin-error.ts'
import { type CommandOutcome, outcomeOf } from './command-outcome.ts'

export interface AdminLinkComponents {
  readonly cell: Cell
  readonly signer: ProofSigner
  readonly clock: Clock
  /** Where commands are meant to be carried out. */
  readonly scope: CommandScope
  readonly logger: Logger
  /** The link to the server, while there is one. */
  readonly serverLink: () => PeerLink | undefined
  /** Mutual proof of identity with the server, going on with `renews` if it can; `spec/session.md` §2. */
  readonly register: (options: RegisterOptions) => Promise<Pick<Login, 'credentials' | 'link'>>
}

export interface RegisterOptions extends AbortOptions {
  readonly renews: Credentials | undefined
}

export interface CommandOptions extends AbortOptions {
  readonly timeoutMs?: number | undefined
  readonly meta?: JsonObject | undefined
}

const DEFAULT_TIMEOUT_MS = 30_000
const STUDY = 'default'

/** One person's session over one cell: registers, logs in, and does both again when the server forgot us. */
export class AdminLink {
  readonly #components: AdminLinkComponents
  #credentials: Credentials | undefined
  #token: string | undefined
  #loggingIn: Promise<void> | undefined

  constructor(components: AdminLinkComponents) {
    this.#components = components
    components.cell.outgoing(participantStamp(components.cell.fqcn, () => this.#credentials))
  }

  /** @throws {AdminError} `ERR_LOGIN_REFUSED`, `ERR_SERVER_*` */
  login(options: AbortOptions = {}): Promise<void> {
    this.#loggingIn ??= this.#login(options).finally(() => {
      this.#loggingIn = undefined
    })
    return this.#loggingIn
  }

  /**
   * Gives a command and waits for its reply. A session that the server ended is opened again once: it did nothing
   * of what the command asked for.
   * @throws {AdminError}
   */
  async command(text: string, options: CommandOptions = {}): Promise<CommandOutcome> {
    return this.withSession(() => this.#exchange(text, options), options)
  }

  /** Runs `action`, and once more after a new login if it says that the session has ended. */
  async withSession<T>(action: () => Promise<T>, options: AbortOptions = {}): Promise<T> {
    if (this.#token === undefined) await this.login(options)
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof AdminError) || error.code !== 'ERR_SESSION_ENDED') throw error
      this.#components.logger.info('the session has ended; logging in again', {
        reason: error.message,
      })
      await this.login(options)
      return action()
    }
  }

  /** The text of a command with the session's token, for an upload's context. */
  requestText(text: string, meta: JsonObject = {}): string {
    const now = new Date(this.#components.clock.now())
    return writeCommandRequest({ command: text, token: this.#token, meta }, now)
  }

  async logout(options: CommandOptions = {}): Promise<void> {
    if (this.#token === undefined) return
    try {
      await this.#exchange('_logout', options)
    } finally {
      this.#token = undefined
    }
  }

  async #login(options: AbortOptions): Promise<void> {
    this.#token = undefined
    const { credentials, link } = await this.#components.register({
      ...options,
      renews: this.#credentials,
    })
    this.#credentials = credentials
    link?.open()
    const { signer } = this.#components
    const outcome = await this.#exchange(`_cert_login ${signer.name}`, {
      ...options,
      headers: {
        user_name: signer.name,
        cert: new TextEncoder().encode(signer.certificateChain),
        signature: await signer.sign(proofText(signer.name, '')),
        study: STUDY,
      },
    })
    const [verdict] = outcome.texts
    if (verdict !== 'OK' || outcome.token === undefined)
      throw new AdminError(
        'ERR_LOGIN_REFUSED',
        `the server refused the login of '${signer.name}': ${verdict ?? 'it gave no reason'}`,
        'the kit may be of another league, expired or revoked; ask the project admin for a new one',
      )
    this.#token = outcome.token
  }

  async #exchange(
    text: string,
    options: CommandOptions & { readonly headers?: Readonly<Record<string, HeaderValue>> },
  ): Promise<CommandOutcome> {
    const command = text.split(' ', 1)[0] ?? text
    const { timeoutMs = DEFAULT_TIMEOUT_MS, headers, signal } = options
    if (this.#components.serverLink()?.isOpen === false)
      throw new AdminError(
        'ERR_SESSION_ENDED',
        'the connection was lost and is back',
        'run the command again',
      )
    const signed = await this.#signed(text, options.meta)
    const reply = await this.#components.cell.request(
      SERVER_CELL,
      PEOPLE.channel,
      PEOPLE.commandTopic,
      this.requestText(text, options.meta),
      { timeoutMs, signal, headers: { ...headers, ...signed } },
    )
    switch (reply.returnCode) {
      case 'ok':
        return outcomeOf(readReplyText(reply.body, command), command)
      case 'unauthenticated':
        // The token of our registration does not hold any more, e.g. after the server got a new key.
        throw new AdminError(
          'ERR_SESSION_ENDED',
          `the server does not know us any more: ${reply.error ?? reply.returnCode}`,
          'run the command again',
        )
      case 'timeout':
        throw new AdminError(
          'ERR_SERVER_UNREACHABLE',
          `the server did not answer ${command} within ${timeoutMs / 1000} s`,
          'see whether the server runs and is not overloaded',
        )
      case 'target_unreachable':
      case 'comm_error':
        throw new AdminError(
          'ERR_SERVER_UNREACHABLE',
          `the link to the server is down: ${reply.error ?? reply.returnCode}`,
          'see whether the server runs, then try again',
        )
      default:
        throw new AdminError(
          'ERR_COMMAND_FAILED',
          `${command}: ${reply.error ?? reply.returnCode}`,
          "the server's log says more",
          { returnCode: reply.returnCode },
        )
    }
  }

  /** The person's own signature, for a server that can pass it on. */
  async #signed(
    command: string,
    meta: JsonObject = {},
  ): Promise<Readonly<Record<string, string>> | undefined> {
    const { serverLink, scope, signer, clock } = this.#components
    if (serverLink()?.proofs.active !== true) return undefined
    const signed = await signCommand({ ...scope, command, meta }, signer, clock)
    return { [SIGNED_COMMAND_HEADER]: writeSignedCommand(signed) }
  }
}

/** @throws {AdminError} `ERR_REPLY` */
export function readReplyText(
  body: FobsValue | undefined,
  command: string,
): ReturnType<typeof readCommandReply> {
  try {
    return readCommandReply(body)
  } catch (cause) {
    throw new AdminError(
      'ERR_REPLY',
      `the server's answer to ${command} does not follow the protocol`,
      'compare the versions of this tool and the server',
      {},
      { cause },
    )
  }
}
