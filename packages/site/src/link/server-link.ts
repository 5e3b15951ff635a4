import type { Cell, Connector, ConnectorEvents } from '@hanse/cellnet'
import {
  type AbortOptions,
  type Clock,
  type Logger,
  messageOf,
  TransportError,
} from '@hanse/contract'
import { createFrameKeyShare, loginSigner, loginVerifier } from '@hanse/pki'
import {
  linkSecurity,
  readKnownServer,
  rememberServer,
  type SiteKit,
  serverUrl,
} from '@hanse/provision/kit'
import {
  CELL_HEADER,
  CHANNEL,
  type Credentials,
  FLContext,
  type Login,
  login,
  type PublicProperties,
  SERVER_CELL,
  SessionError,
  Shareable,
} from '@hanse/session'
import { SiteError } from '../site-error.ts'

export interface ServerLinkComponents {
  readonly cell: Cell
  readonly kit: SiteKit
  readonly clock: Clock
  readonly logger: Logger
  onEvent(event: ServerLinkEvent): void
}

/** What happens between a site and its server, for whoever watches the site. */
export type ServerLinkEvent =
  | { readonly event: 'connected' }
  | { readonly event: 'waiting'; readonly reason: string }
  | { readonly event: 'lost'; readonly reason: string }
  | { readonly event: 'refused'; readonly code: string; readonly reason: string }

/** What every login says of this site. */
interface LoginFacts {
  readonly ownProperties: PublicProperties
  readonly software: string
}

/** Faults of a handshake that stay until somebody changes a kit. */
const LASTING_FAULTS: ReadonlySet<unknown> = new Set([
  'untrusted',
  'expired',
  'name',
  'missing',
  'purpose',
  'revoked',
])
const LASTING_REFUSALS: ReadonlySet<string> = new Set([
  'name_in_use',
  'identity_mismatch',
  'invalid_name',
  'own_name',
  'unexpected_name',
])
const MAX_BACKOFF_MS = 2_000
const QUIT_TIMEOUT_MS = 2_000

/** The one link of a site to its server, and the logins over it: one for each link, and again before a token is old. */
export class ServerLink implements AsyncDisposable {
  readonly #components: ServerLinkComponents
  readonly #kind: 'site' | 'external'
  readonly #connector: Connector
  readonly #refused = Promise.withResolvers<never>()
  readonly #stop = new AbortController()
  #credentials: Credentials | undefined
  #renewal: Disposable | undefined
  #loggingIn: Promise<Login> | undefined
  #hadProofs = false
  #loginFacts: LoginFacts | undefined
  #onReconnected: () => void = () => {}

  constructor(
    components: ServerLinkComponents,
    { kind = 'site' }: { readonly kind?: 'site' | 'external' } = {},
  ) {
    this.#components = components
    this.#kind = kind
    // Watched by `login` only while it runs.
    this.#refused.promise.catch(() => undefined)
    const { cell, kit, onEvent } = components
    this.#connector = cell.dial(serverUrl(kit), linkSecurity(kit), {
      maxBackoffMs: MAX_BACKOFF_MS,
      proofs: true,
    })
    this.#connector.on('connected', ({ link }) => {
      onEvent({ event: 'connected' })
      if (this.#credentials === undefined) return
      // A token of a login with proofs is worth nothing over a link without: then the login says what is wrong.
      if (link.isOpen && !this.#hadProofs) this.#onReconnected()
      else void this.#goOn()
    })
    this.#connector.on('lost', ({ reason }) => onEvent({ event: 'lost', reason }))
    this.#connector.on('failed', (failure) => this.#onFailed(failure))
    this.#connector.on('refused', (refusal) => this.#onRefused(refusal))
  }

  /** What this site holds since its login. */
  get credentials(): Credentials | undefined {
    return this.#credentials
  }

  /** Called when the link is back after it was lost, and open to messages again. */
  set onReconnected(callback: () => void) {
    this.#onReconnected = callback
  }

  /**
   * Waits for the server, however long it takes, and logs in.
   * @throws {SiteError} `ERR_NAME_IN_USE`, `ERR_SITE_REFUSED` when waiting would not help
   */
  async login(
    ownProperties: PublicProperties,
    software: string,
    { signal }: AbortOptions,
  ): Promise<Login> {
    this.#loginFacts = { ownProperties, software }
    // Ends the attempt also when the link says that it cannot succeed.
    const attempt = new AbortController()
    const onAbort = () => attempt.abort(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) onAbort()
    try {
      return await Promise.race([
        this.#refused.promise,
        this.#logIn(this.#loginFacts, attempt.signal),
      ])
    } catch (cause) {
      if (cause instanceof SessionError)
        throw new SiteError('ERR_SITE_REFUSED', cause.message, {}, { cause })
      throw cause
    } finally {
      signal?.removeEventListener('abort', onAbort)
      attempt.abort()
    }
  }

  /**
   * Logs in anew over the link that is there: the server does not accept what this site holds. Where a login is under
   * way already, that is the new one.
   * @throws {SessionError} when the server refuses; the earlier login stays what it was
   */
  async renew(): Promise<void> {
    if (this.#loginFacts !== undefined) await this.#logIn(this.#loginFacts, this.#stop.signal)
  }

  /** One login at a time: two would take each other's challenge, and the token of one would end that of the other. */
  #logIn(facts: LoginFacts, signal: AbortSignal): Promise<Login> {
    this.#loggingIn ??= this.#logInOverNewest(facts, signal)
    return this.#loggingIn
  }

  async #logInOverNewest(facts: LoginFacts, signal: AbortSignal): Promise<Login> {
    try {
      for (;;) {
        const result = await this.#exchange(facts, signal)
        const { link } = this.#connector
        // A link that came meanwhile knows nothing of a login over the one before it.
        if (link === undefined || link === result.link) return result
      }
    } finally {
      // Before anybody hears of the end: a link that comes now has to be logged in over again.
      this.#loggingIn = undefined
    }
  }

  async #exchange({ ownProperties, software }: LoginFacts, signal: AbortSignal): Promise<Login> {
    const { cell, kit, clock, logger } = this.#components
    const known = await readKnownServer(kit)
    const result = await login(
      {
        cell,
        clock,
        logger,
        link: () => this.#connector.link,
        signer: loginSigner(kit.identity),
        verifier: loginVerifier(kit.identity, clock),
        createKeyShare: createFrameKeyShare,
      },
      {
        kind: this.#kind,
        project: kit.project,
        serverIdentity: kit.server.identity,
        software,
        publicProperties: ownProperties as ReadonlyMap<string, string | boolean>, // made of texts and booleans
        siteConfig: new Map([['allow_log_streaming', kit.settings.allowLogStreaming]]),
        renews: this.#credentials,
        expectedCapabilities: known.capabilities,
        retryIntervalMs: 500,
        signal,
      },
    )
    await rememberServer(kit, known, result.capabilities)
    this.#credentials = result.credentials
    this.#hadProofs = result.link?.proofs.active === true
    result.link?.open()
    this.#renewInTime(result.tokenLifetimeMs)
    return result
  }

  /** A token that lives for a time is renewed at half of it, over the link that is there. */
  #renewInTime(tokenLifetimeMs: number | undefined): void {
    this.#renewal?.[Symbol.dispose]()
    this.#renewal =
      tokenLifetimeMs === undefined
        ? undefined
        : this.#components.clock.setTimer(tokenLifetimeMs / 2, () => {
            void this.#goOn()
          })
  }

  /** Goes on with the session over a new link, or with a new token. */
  async #goOn(): Promise<void> {
    if (this.#loginFacts === undefined || this.#connector.link === undefined) return
    const { logger, onEvent } = this.#components
    try {
      await this.#logIn(this.#loginFacts, this.#stop.signal)
      this.#onReconnected()
    } catch (error) {
      if (this.#stop.signal.aborted) return
      const reason = messageOf(error)
      logger.warn('the server did not let us go on', { reason })
      onEvent({ event: 'refused', code: 'login', reason })
      // Another link, another attempt: whoever refused us may be asked to change its mind.
      await this.#connector.link?.connection[Symbol.asyncDispose]()
    }
  }

  /** Says goodbye, so that the server need not wait for a sign of life. */
  async quit(ownProperties: PublicProperties): Promise<void> {
    const { cell, kit } = this.#components
    if (this.#connector.link === undefined) return
    const body = new Shareable()
    body.headers.set('__peer_ctx__', FLContext.ofPublic(ownProperties))
    await cell.request(SERVER_CELL, CHANNEL.task, 'quit', body, {
      timeoutMs: QUIT_TIMEOUT_MS,
      headers: { [CELL_HEADER.projectName]: kit.project },
      optional: true,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#renewal?.[Symbol.dispose]()
    this.#stop.abort()
    await this.#connector[Symbol.asyncDispose]()
  }

  #onFailed({ reason, error }: ConnectorEvents['failed']): void {
    this.#components.onEvent({ event: 'waiting', reason })
    const fault = error instanceof TransportError ? error.details['reason'] : undefined
    if (LASTING_FAULTS.has(fault))
      this.#refused.reject(
        new SiteError(
          'ERR_SITE_REFUSED',
          `${reason}; is this kit of the same league, and still valid?`,
        ),
      )
  }

  #onRefused({ code, reason }: ConnectorEvents['refused']): void {
    this.#components.onEvent({ event: 'refused', code, reason })
    if (!LASTING_REFUSALS.has(code)) return
    const [errorCode, hint] =
      code === 'name_in_use'
        ? (['ERR_NAME_IN_USE', 'stop the other process, or use another kit'] as const)
        : (['ERR_SITE_REFUSED', 'the kit and the address it dials do not fit together'] as const)
    this.#refused.reject(
      new SiteError(
        errorCode,
        `the server refused '${this.#components.kit.name}': ${reason}; ${hint}`,
      ),
    )
  }
}
