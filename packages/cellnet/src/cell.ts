import {
  type ByteStore,
  type Clock,
  type Connection,
  type Driver,
  hasCode,
  type LinkSecurity,
  type Listener,
  type Logger,
  type MessageCipher,
  silentLogger,
  systemClock,
  TransportError,
  messageOf as textOf,
} from '@hanse/contract'
import type { FobsRegistry } from '@hanse/fobs'
import type {
  AdoptOptions,
  Cell,
  HandleOptions,
  ListenOptions,
  PeerSession,
  ReplyMessage,
  RequestHandler,
  RequestOptions,
} from './cell-api.ts'
import { CellCore } from './cell-core.ts'
import { CellError } from './cell-error.ts'
import { CHANNEL_CELL, isPlainChannel, TOPIC_BYE } from './channels.ts'
import { type Connector, type ConnectorOptions, createConnector } from './connector.ts'
import { createBodyCodec, type SetAside } from './downloads/body-codec.ts'
import type { OfferLimits } from './downloads/download-offers.ts'
import type { PullLimits } from './downloads/download-puller.ts'
import { createDownloads, type Downloads } from './downloads/downloads.ts'
import type { IncomingFilter, OutgoingFilter } from './filters.ts'
import { HandlerTable } from './messages/handler-table.ts'
import type { MisdeedCode, ReportMisdeed } from './misdeed.ts'
import type { PeerLink } from './peer-link.ts'
import type { ReturnCode } from './return-code.ts'
import { parseFqcn } from './routing/fqcn.ts'
import { type LinkPolicy, type PeerEvents, PeerTable } from './routing/peer-table.ts'
import { createNameResolver } from './security/name-resolver.ts'
import { PROOF_CAPABILITY } from './sfm/greeting.ts'
import { Session, type SessionOptions } from './sfm/session.ts'
import { StreamedRequests } from './streamed-requests.ts'
import type { RandomSource } from './streams/random-source.ts'
import type { StreamOptions } from './streams/stream-options.ts'
import { createStreams, type Streams } from './streams/streams.ts'

export interface CellComponents {
  /** Each for its URL schemes. */
  readonly drivers: readonly Driver[]
  /** Types that this process may receive. */
  readonly registry: FobsRegistry
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
  /** For messages encrypted end to end; without one, `secure` fails with `comm_error`. */
  readonly cipher?: MessageCipher | undefined
  /** A UUID version 4; default from the platform's WebCrypto. */
  readonly randomId?: (() => string) | undefined
  /** Unpredictable bytes; default from the platform's WebCrypto. */
  readonly randomBytes?: RandomSource | undefined
  /** Takes long arrays out of memory as they arrive. Default: they stay. */
  readonly setAside?: SetAside | undefined
  /** Where the longest of them go straight from the link. Default: into memory first. */
  readonly store?: ByteStore | undefined
  /** From 0 up to 1, for jitter only. */
  readonly random?: (() => number) | undefined
}

export interface CellOptions {
  /** Common name of our own certificate. */
  readonly ownName?: string | undefined
  /** FQCN prefix → common name its certificate must carry; for a client `server` → the server's identity. */
  readonly identities?: ReadonlyMap<string, string> | undefined
  /** Whether messages for other cells are passed on; default true. */
  readonly forwards?: boolean | undefined
  /** Silence after which a peer is pinged; default 20 s. */
  readonly heartbeatIntervalMs?: number | undefined
  /** Pings without any sign of life before a link is closed; default 3. */
  readonly maxMissedPongs?: number | undefined
  /** Longest wait for HELLO or READY; default 10 s. */
  readonly handshakeTimeoutMs?: number | undefined
  /** Hold of the first message after a stock listener's READY; default 60 ms. */
  readonly stockPeerHoldMs?: number | undefined
  /** How long a link may take to prove that it lives when another comes under its name; default 2 s. */
  readonly livenessTimeoutMs?: number | undefined
  /** Longest frame accepted from an admitted peer; default 512 MiB. */
  readonly maxFrameBytes?: number | undefined
  /** Longest payload sent in one message; default what stock peers accept. */
  readonly maxMessageBytes?: number | undefined
  /** Bytes waiting for one peer before those who feed it must pause; default 32 MiB. */
  readonly queueHighWaterBytes?: number | undefined
  /** Frames waiting for one peer at most; default 16384. */
  readonly queueMaxFrames?: number | undefined
  /** Connections of all listeners that have not said HELLO yet; default 256. */
  readonly maxUnadmitted?: number | undefined
  /** The same of one certificate, or of one address where there is none; default 32. */
  readonly maxUnadmittedPerPeer?: number | undefined
  /** Directly connected cells; default 10000. */
  readonly maxPeers?: number | undefined
  /** Directly connected cells that show one certificate, e.g. the sessions of one person; default 128. */
  readonly maxPeersPerCertificate?: number | undefined
  /** Requests of our own under way; default 65536. */
  readonly maxPendingRequests?: number | undefined
  /** Requests of one link running at a time; default 1024. */
  readonly maxRequestsPerLink?: number | undefined
  /** Peer certificates kept for encryption; default 1024. */
  readonly maxCertificates?: number | undefined
  /** Default 1 h. */
  readonly certificateMaxAgeMs?: number | undefined
  readonly streams?: Partial<StreamOptions> | undefined
  readonly downloads?: Partial<OfferLimits & PullLimits> | undefined
  /** Further cells whose arrays a message of `origin` may refer to, beside its own and those below. */
  readonly allowSource?: ((source: string, origin: string) => boolean) | undefined
  /** How long disposal waits for goodbyes and running handlers; default 500 ms each. */
  readonly closeTimeoutMs?: number | undefined
}

/**
 * Builds a cell without links; it owns everything it opens or adopts.
 * @throws {CellError} `ERR_FQCN`
 */
export function createCell(
  fqcn: string,
  components: CellComponents,
  options: CellOptions = {},
): Cell {
  return new LinkedCell(parseFqcn(fqcn), components, options)
}

class LinkedCell implements Cell {
  readonly fqcn: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #drivers = new Map<string, Driver>()
  readonly #peers: PeerTable
  readonly #core: CellCore
  readonly streams: Streams
  readonly downloads: Downloads
  readonly #streamed: StreamedRequests
  /** Which streamed requests keep their references, by channel and topic. */
  readonly #passThrough = new HandlerTable<boolean>()
  readonly #sessionOptions: SessionOptions
  readonly #random: () => number
  readonly #maxUnadmitted: number
  readonly #maxUnadmittedPerPeer: number
  readonly #closeTimeoutMs: number
  readonly #sessions = new Set<Session>()
  readonly #owned = new Set<AsyncDisposable>()
  #unadmitted = 0
  /** By fingerprint or address. */
  readonly #unadmittedOf = new Map<string, number>()
  #closing: Promise<void> | undefined

  constructor(fqcn: string, components: CellComponents, options: CellOptions) {
    this.fqcn = fqcn
    this.#clock = components.clock ?? systemClock
    this.#logger = (components.logger ?? silentLogger).child({ cell: fqcn })
    this.#random = components.random ?? Math.random
    this.#maxUnadmitted = options.maxUnadmitted ?? 256
    this.#maxUnadmittedPerPeer = options.maxUnadmittedPerPeer ?? 32
    this.#closeTimeoutMs = options.closeTimeoutMs ?? 500
    for (const driver of components.drivers)
      for (const scheme of driver.schemes) this.#drivers.set(scheme, driver)
    this.#sessionOptions = {
      heartbeatIntervalMs: options.heartbeatIntervalMs ?? 20_000,
      maxMissedPongs: options.maxMissedPongs ?? 3,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
      stockPeerHoldMs: options.stockPeerHoldMs ?? 60,
      maxFrameBytes: options.maxFrameBytes ?? 512 * 1024 * 1024,
      queueHighWaterBytes: options.queueHighWaterBytes ?? 32 * 1024 * 1024,
      queueMaxFrames: options.queueMaxFrames ?? 16_384,
    }
    const resolve = createNameResolver({
      self: fqcn,
      ownName: options.ownName,
      identities: options.identities,
    })
    this.#peers = new PeerTable(resolve, this.#logger, {
      self: fqcn,
      maxPeers: options.maxPeers ?? 10_000,
      maxPeersPerCertificate: options.maxPeersPerCertificate ?? 128,
      livenessTimeoutMs: options.livenessTimeoutMs ?? 2_000,
    })
    const report: ReportMisdeed = (link, code, reason) => {
      if (link !== undefined) this.#report(link.fqcn, link.connection, code, reason)
    }
    this.#core = new CellCore(
      {
        self: fqcn,
        clock: this.#clock,
        logger: this.#logger,
        registry: components.registry,
        peers: this.#peers,
        cipher: components.cipher,
        resolve,
        randomId: components.randomId ?? (() => crypto.randomUUID()),
        report,
      },
      {
        maxMessageBytes: options.maxMessageBytes ?? 2_144_337_904,
        maxPendingRequests: options.maxPendingRequests ?? 65_536,
        maxRequestsPerLink: options.maxRequestsPerLink ?? 1_024,
        maxCertificates: options.maxCertificates ?? 1_024,
        certificateMaxAgeMs: options.certificateMaxAgeMs ?? 3_600_000,
        forwards: options.forwards ?? true,
      },
    )
    const random =
      components.randomBytes ?? ((length) => crypto.getRandomValues(new Uint8Array(length)))
    const parts = { clock: this.#clock, logger: this.#logger, random, report }
    this.streams = createStreams(
      {
        ...parts,
        port: this.#core,
        prepare: (request, { signal }) =>
          codec.decode(request.body, {
            origin: request.origin,
            secure: request.secure,
            passThrough: this.#passThrough.find(request.channel, request.topic) ?? false,
            allowSource: (source) => options.allowSource?.(source, request.origin) ?? false,
            signal,
          }),
      },
      options.streams,
    )
    this.downloads = createDownloads({ ...parts, streams: this.streams }, options.downloads)
    const codec = createBodyCodec({
      fqcn,
      registry: components.registry,
      downloads: this.downloads,
      random,
      setAside: components.setAside,
      store: components.store,
    })
    this.#streamed = new StreamedRequests({
      self: fqcn,
      logger: this.#logger,
      streams: this.streams,
      codec,
    })
  }

  get peers(): ReadonlyMap<string, PeerLink> {
    return this.#peers.links
  }

  onPeer<Name extends keyof PeerEvents>(
    event: Name,
    listener: (link: PeerEvents[Name]) => void,
  ): Disposable {
    return this.#peers.events.on(event, listener)
  }

  incoming(filter: IncomingFilter): void {
    this.#core.addIncomingFilter(filter)
  }

  outgoing(filter: OutgoingFilter): void {
    this.#core.addOutgoingFilter(filter)
  }

  handle(
    channel: string,
    topic: string,
    handler: RequestHandler,
    options: HandleOptions = {},
  ): void {
    this.#core.handle(channel, topic, handler)
    if (isPlainChannel(channel)) return
    this.#passThrough.set(channel, topic, options.passThrough ?? false)
    this.#streamed.handle(channel, topic, handler, options)
  }

  async request(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<ReplyMessage> {
    const replies = await this.broadcast([target], channel, topic, body, options)
    // One target in, one reply out.
    return replies.get(target)!
  }

  broadcast(
    targets: readonly string[],
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<Map<string, ReplyMessage>> {
    return this.#requestsOn(channel).request(targets, channel, topic, body, options)
  }

  notify(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<ReturnCode> {
    return this.#requestsOn(channel).notify(target, channel, topic, body, options)
  }

  dial(url: URL, security: LinkSecurity, options: ConnectorOptions = {}): Connector {
    this.#checkOpen()
    const connector = createConnector(
      {
        url,
        security,
        driver: this.#driverFor(url),
        clock: this.#clock,
        logger: this.#logger,
        random: this.#random,
        open: (connection) => this.#open(connection, 'active', options),
      },
      options,
    )
    return this.#owns(connector)
  }

  async listen(url: URL, security: LinkSecurity, options: ListenOptions = {}): Promise<Listener> {
    this.#checkOpen()
    const adminNames = options.adminNames ?? url.searchParams.get('admin_listener') === 'true'
    const policy: LinkPolicy = { ...options, adminNames }
    const listener = await this.#driverFor(url).listen(
      url,
      security,
      (connection) => this.#accept(connection, policy),
      options,
    )
    return this.#owns(listener)
  }

  adopt(
    connection: Connection,
    role: 'active' | 'passive',
    options: AdoptOptions = {},
  ): PeerSession {
    this.#checkOpen()
    const session = this.#open(connection, role, options)
    return {
      ready: session.ready,
      closed: session.closed,
      async [Symbol.asyncDispose]() {
        await session.close()
      },
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  #requestsOn(channel: string): Pick<StreamedRequests, 'request' | 'notify'> {
    return isPlainChannel(channel) ? this.#core.requests : this.#streamed
  }

  #accept(connection: Connection, policy: LinkPolicy): void {
    const { peerFingerprint, remoteAddress } = connection.info
    const peer = peerFingerprint ?? remoteAddress.replace(/:\d+$/, '')
    const ofPeer = this.#unadmittedOf.get(peer) ?? 0
    if (
      this.#closing !== undefined ||
      this.#unadmitted >= this.#maxUnadmitted ||
      ofPeer >= this.#maxUnadmittedPerPeer
    ) {
      this.#logger.warn('connection refused: too many without a name', {
        remoteAddress,
        unadmitted: this.#unadmitted,
        ofPeer,
      })
      if (this.#closing === undefined)
        this.#report('', connection, 'too_many', 'too many connections have not said who they are')
      connection[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
        this.#logger.debug('closing failed', { error: textOf(error) }),
      )
      return
    }
    const session = this.#open(connection, 'passive', policy)
    this.#unadmitted += 1
    this.#unadmittedOf.set(peer, ofPeer + 1)
    const admitted = (): void => {
      this.#unadmitted -= 1
      const left = (this.#unadmittedOf.get(peer) ?? 1) - 1
      if (left > 0) this.#unadmittedOf.set(peer, left)
      else this.#unadmittedOf.delete(peer)
    }
    session.ready.then(admitted, admitted)
  }

  #open(connection: Connection, role: 'active' | 'passive', policy: LinkPolicy): Session {
    const session = new Session(
      {
        connection,
        role,
        self: this.fqcn,
        capabilities: policy.proofs === true ? [PROOF_CAPABILITY] : [],
        clock: this.#clock,
        logger: this.#logger,
        admit: (candidate, fqcn) =>
          this.#closing === undefined
            ? this.#peers.admit(candidate, fqcn, policy)
            : { admitted: false, code: 'closing', reason: `cell ${this.fqcn} is stopping` },
        onReady: (ready, link) => this.#peers.connect(ready, link),
        onData: (from, frame) => this.#core.onData(from, frame),
      },
      this.#sessionOptions,
    )
    this.#sessions.add(session)
    void session.closed.then((reason) => {
      this.#sessions.delete(session)
      const code = reason === undefined ? undefined : misdeedOf(reason, role)
      if (reason !== undefined && code !== undefined)
        this.#report(session.link?.fqcn ?? '', connection, code, reason.message)
      this.#peers.remove(session)
      this.#core.onSessionClosed(session, reason)
    })
    session.start()
    return session
  }

  async #close(): Promise<void> {
    // Nothing new comes in, then goodbye, then the links go down.
    await Promise.allSettled([...this.#owned].map((one) => this.#disposeListener(one)))
    this.downloads[Symbol.dispose]()
    await this.streams[Symbol.asyncDispose]()
    const peers = [...this.#peers.links.keys()]
    if (peers.length > 0)
      await this.broadcast(peers, CHANNEL_CELL, TOPIC_BYE, null, {
        timeoutMs: this.#closeTimeoutMs,
        optional: true,
      })
    await this.#core.close(this.#closeTimeoutMs)
    // Connectors first, or they would take the end of their links for a loss.
    await Promise.allSettled([...this.#owned].map((one) => one[Symbol.asyncDispose]()))
    await Promise.allSettled([...this.#sessions].map((session) => session.close()))
  }

  #report(fqcn: string, connection: Connection, code: MisdeedCode, reason: string): void {
    this.#peers.events.emit('misdeed', { fqcn, connection, code, reason })
  }

  async #disposeListener(one: AsyncDisposable): Promise<void> {
    if ('link' in one) return
    await one[Symbol.asyncDispose]()
  }

  #owns<Owned extends Connector | Listener>(owned: Owned): Owned {
    const owner: AsyncDisposable = owned
    this.#owned.add(owner)
    return owned
  }

  #driverFor(url: URL): Driver {
    const scheme = url.protocol.slice(0, -1).toLowerCase()
    const driver = this.#drivers.get(scheme)
    if (driver !== undefined) return driver
    throw new TransportError(
      'ERR_SCHEME_UNKNOWN',
      `no driver for ${scheme}; there are ${[...this.#drivers.keys()].join(', ')}`,
    )
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new CellError('ERR_CLOSED', 'the cell is closed')
  }
}

/** What the end of a session says of its peer; `undefined` where it may be honest. */
function misdeedOf(reason: Error, role: 'active' | 'passive'): MisdeedCode | undefined {
  if (hasCode(reason, 'ERR_FRAME_LENGTH')) return 'frame_length'
  if (hasCode(reason, 'ERR_FRAME') || hasCode(reason, 'ERR_PROTOCOL')) return 'frame'
  if (hasCode(reason, 'ERR_PROOF')) return 'proof'
  if (hasCode(reason, 'ERR_HEADERS')) return 'headers'
  // Who is refused for another reason gave a name, and is reported by it.
  if (
    hasCode(reason, 'ERR_REFUSED') &&
    reason.details['reason'] === 'invalid_name' &&
    role === 'passive'
  )
    return 'headers'
  // A listener that does not answer is slow, or no cell.
  if (hasCode(reason, 'ERR_HANDSHAKE_TIMEOUT') && role === 'passive') return 'no_greeting'
  return undefined
}
