import {
  type Clock,
  type Connection,
  type Driver,
  hasCode,
  type LinkSecurity,
  type Logger,
  messageOf,
} from '@hanse/contract'
import { CellError } from './cell-error.ts'
import { EventSource } from './event-source.ts'
import type { PeerLink } from './peer-link.ts'
import type { LinkPolicy } from './routing/peer-table.ts'
import type { RefusalCode } from './sfm/greeting.ts'
import type { Session } from './sfm/session.ts'

export interface ConnectorOptions extends LinkPolicy {
  /** Longest wait between two attempts; the first is 1 s, doubling. Default 10 s. */
  readonly maxBackoffMs?: number | undefined
}

export interface ConnectorEvents {
  connected: { readonly link: PeerLink }
  /** The link was up and ended, other than by disposal. */
  lost: { readonly link: PeerLink; readonly reason: string; readonly error: Error | undefined }
  /**
   * The peer does not want us, or we do not want it. Attempts go on, for it may be asked to change its mind;
   * a process whose name is in use by another should end instead.
   */
  refused: { readonly code: RefusalCode | 'closed_after_ready'; readonly reason: string }
  /** The link did not come up. */
  failed: { readonly reason: string; readonly error: Error; readonly retryInMs: number }
}

/** Keeps one link up: dials for ever, with growing and jittered waits. */
export interface Connector extends AsyncDisposable {
  readonly url: URL
  /** The link while it is up. */
  readonly link: PeerLink | undefined
  /** Listens until the result is disposed. */
  on<Name extends keyof ConnectorEvents>(
    event: Name,
    listener: (event: ConnectorEvents[Name]) => void,
  ): Disposable
}

export interface ConnectorComponents {
  readonly url: URL
  readonly security: LinkSecurity
  readonly driver: Driver
  readonly clock: Clock
  readonly logger: Logger
  /** From 0 up to 1. */
  readonly random: () => number
  readonly open: (connection: Connection) => Session
}

const FIRST_BACKOFF_MS = 1_000
const DEFAULT_MAX_BACKOFF_MS = 10_000
/** An attempt that lasted longer starts the waits anew. */
const STABLE_AFTER_MS = 10_000
/** A stock listener that refuses us says READY and closes; `spec/transport.md` §3.2. */
const REFUSED_WITHIN_MS = 2_000

/** Starts dialling at once. */
export function createConnector(
  components: ConnectorComponents,
  options: ConnectorOptions = {},
): Connector {
  return new DialLoop(components, options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS)
}

class DialLoop implements Connector {
  readonly url: URL
  readonly #components: ConnectorComponents
  readonly #maxBackoffMs: number
  readonly #events: EventSource<ConnectorEvents>
  readonly #stop = new AbortController()
  readonly #done: Promise<void>
  #session: Session | undefined

  constructor(components: ConnectorComponents, maxBackoffMs: number) {
    this.url = components.url
    this.#components = components
    this.#maxBackoffMs = maxBackoffMs
    this.#events = new EventSource((error) =>
      components.logger.error('a listener of connector events failed', { error: messageOf(error) }),
    )
    this.#done = this.#run()
  }

  get link(): PeerLink | undefined {
    return this.#session?.isClosed === false ? this.#session.link : undefined
  }

  on<Name extends keyof ConnectorEvents>(
    event: Name,
    listener: (event: ConnectorEvents[Name]) => void,
  ): Disposable {
    return this.#events.on(event, listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new CellError('ERR_CLOSED', 'the connector was closed'))
    await this.#session?.close()
    await this.#done
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#components
    // Listeners are added right after construction: they must not miss the first attempt.
    await Promise.resolve()
    let backoffMs = FIRST_BACKOFF_MS
    while (!this.#stop.signal.aborted) {
      const startedAt = clock.now()
      const waitMs = (): number => Math.round(backoffMs * (0.75 + random() / 2))
      const failure = await this.#attempt()
      if (this.#stop.signal.aborted) return
      if (clock.now() - startedAt > STABLE_AFTER_MS) backoffMs = FIRST_BACKOFF_MS
      backoffMs = Math.min(backoffMs, this.#maxBackoffMs)
      const retryInMs = waitMs()
      if (failure !== undefined) this.#report(failure, retryInMs)
      await this.#sleep(retryInMs)
      backoffMs *= 2
    }
  }

  /** Dials and stays until the link ends. Returns why it did not come up, if it did not. */
  async #attempt(): Promise<Error | undefined> {
    const { driver, security, open, clock } = this.#components
    let session: Session
    try {
      const connection = await driver.connect(this.url, security, { signal: this.#stop.signal })
      session = open(connection)
    } catch (error) {
      return toError(error)
    }
    this.#session = session
    let link: PeerLink
    try {
      link = await session.ready
    } catch (error) {
      await session.closed
      return toError(error)
    }
    this.#components.logger.info('connected', { peer: link.fqcn, url: this.url.href })
    this.#events.emit('connected', { link })
    const readyAt = clock.now()
    const error = await session.closed
    this.#lost(session, link, error, clock.now() - readyAt)
    return undefined
  }

  #lost(session: Session, link: PeerLink, error: Error | undefined, livedMs: number): void {
    const { logger } = this.#components
    if (this.#stop.signal.aborted) return
    if (livedMs < REFUSED_WITHIN_MS && !session.hasData) {
      const reason = `${link.fqcn} closed the link right after its greeting: it does not accept our name or certificate; its log says why`
      logger.warn('refused', { peer: link.fqcn, url: this.url.href, reason })
      this.#events.emit('refused', { code: 'closed_after_ready', reason })
    }
    const reason = error === undefined ? 'the peer closed the link' : messageOf(error)
    logger.info('link lost', { peer: link.fqcn, url: this.url.href, reason })
    this.#events.emit('lost', { link, reason, error })
  }

  #report(error: Error, retryInMs: number): void {
    const { logger } = this.#components
    if (hasCode(error, 'ERR_REFUSED')) {
      const code = String(new Map(Object.entries(error.details)).get('reason') ?? 'unknown')
      logger.warn('refused', { url: this.url.href, code, reason: error.message, retryInMs })
      this.#events.emit('refused', { code, reason: error.message })
      return
    }
    const reason = explain(error, this.url)
    logger.warn('cannot connect', { url: this.url.href, reason, retryInMs })
    this.#events.emit('failed', { reason, error, retryInMs })
  }

  async #sleep(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { signal } = this.#stop
    if (signal.aborted) return
    const onAbort = (): void => resolve()
    signal.addEventListener('abort', onAbort, { once: true })
    using _timer = this.#components.clock.setTimer(delayMs, resolve)
    await promise
    signal.removeEventListener('abort', onAbort)
  }
}

/** Reasons of a driver that something answered, if no cell: a proxy, or another kind of listener. */
const ANSWERS: ReadonlySet<unknown> = new Set(['http', 'status', 'protocol'])

/** A sentence for the person who has to mend it. */
function explain(error: Error, url: URL): string {
  if (hasCode(error, 'ERR_HANDSHAKE_TIMEOUT'))
    return `${url.host} accepted the connection, but is no cell or does not answer: ${error.message}`
  if (hasCode(error, 'ERR_CONNECTION_LOST') && ANSWERS.has(error.details['reason']))
    return `${url.host} does not let us through to a cell: ${error.message}`
  if (hasCode(error, 'ERR_CLOSED') || hasCode(error, 'ERR_CONNECTION_LOST'))
    return `${url.host} closed the connection before its greeting: it does not accept our certificate or name (its log says why), or it is no cell`
  return error.message
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error))
}
