import type { AbortOptions, Connection, LinkSecurity, Listener } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Connector, ConnectorOptions } from './connector.ts'
import type { Downloads } from './downloads/downloads.ts'
import type { IncomingFilter, OutgoingFilter } from './filters.ts'
import type { HeaderValue, MessageHeaders } from './headers.ts'
import type { PeerLink } from './peer-link.ts'
import type { ReturnCode } from './return-code.ts'
import type { LinkPolicy, PeerEvents } from './routing/peer-table.ts'
import type { Streams } from './streams/streams.ts'

/** A request as its handler sees it: decrypted and decoded, origin bound to the link where that is possible. */
export interface CellRequest {
  readonly channel: string
  readonly topic: string
  readonly origin: string
  readonly headers: MessageHeaders
  readonly body: FobsValue
  /** Physical link it arrived on; `undefined` for a request of this cell to itself. */
  readonly link: PeerLink | undefined
}

/** What a handler answers; everything may be left out. */
export interface CellReply {
  /** Default `ok`. */
  readonly returnCode?: ReturnCode | undefined
  /** Short and public. */
  readonly error?: string | undefined
  readonly headers?: Readonly<Record<string, HeaderValue>> | undefined
  /** `null` and `undefined` travel as no body, bytes as they are, anything else as FOBS. */
  readonly body?: unknown
}

/**
 * Serves requests; `undefined` means no reply. Throwing answers with the return code that belongs to the
 * error's code (`ERR_INVALID_REQUEST`, `ERR_SERVICE_UNAVAILABLE`, `ERR_INVALID_SESSION`, `ERR_AUTHENTICATION`,
 * `ERR_ABORT_RUN`), else `process_exception`; messages of unknown errors stay in our log. The signal fires when
 * the request's link is lost or the cell closes.
 */
export type RequestHandler = (
  request: CellRequest,
  options: { readonly signal: AbortSignal },
) => CellReply | undefined | Promise<CellReply | undefined>

export interface HandleOptions {
  /** Longest body taken on a streamed channel; default that of the cell's streams. */
  readonly maxBodyBytes?: number | undefined
  /**
   * Hand over references to arrays as they are (`LazyReference`) instead of pulling them, for cells that only
   * pass bodies on; streamed channels only.
   */
  readonly passThrough?: boolean | undefined
}

/** What came of a request; failures seen on this side look the same, with this cell as origin. */
export interface ReplyMessage {
  readonly returnCode: ReturnCode
  readonly error?: string | undefined
  readonly headers: MessageHeaders
  readonly body: FobsValue
  readonly origin: string
}

export interface RequestOptions extends AbortOptions {
  /** Default 10 s. On streamed channels for each stage, renewed by progress. */
  readonly timeoutMs?: number | undefined
  readonly headers?: Readonly<Record<string, HeaderValue>> | undefined
  /** Encrypt end to end; the reply comes encrypted too. */
  readonly secure?: boolean | undefined
  /**
   * Send over this link, also while it is closed to other messages: for logins. Plain channels only.
   */
  readonly via?: PeerLink | undefined
  /** Failures are of interest at debug level only. */
  readonly optional?: boolean | undefined
}

/** A link that was handed in or accepted, from its greeting to its end. */
export interface PeerSession extends AsyncDisposable {
  /** Resolves when the peer was admitted; rejects with the reason if it was not. */
  readonly ready: Promise<PeerLink>
  /** Resolves when the link is over, with the reason unless it ended in an orderly way. */
  readonly closed: Promise<Error | undefined>
}

export interface ListenOptions extends AbortOptions, LinkPolicy {}

export interface AdoptOptions extends LinkPolicy {}

/**
 * One addressable party: finds other cells, sends them requests and serves theirs (`spec/transport.md` §4–§9).
 * Disposal says goodbye to all peers, fails what waits and closes every link and listener.
 */
export interface Cell extends AsyncDisposable {
  readonly fqcn: string
  /**
   * Registers the handler of `channel` and `topic`; `'*'` is any topic, and with channel `'*'` any request
   * without a handler. Serves the plain and, on streamed channels, the streamed form.
   */
  handle(channel: string, topic: string, handler: RequestHandler, options?: HandleOptions): void
  /**
   * Sends one request and waits for its reply; plain or streamed by the channel's name. Local failures are
   * return codes (`timeout`, `target_unreachable`, `comm_error`, …).
   * @throws only `signal.reason`
   */
  request(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<ReplyMessage>
  /** The same request to several cells at once, its body encoded once; one reply or failure for each. */
  broadcast(
    targets: readonly string[],
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<Map<string, ReplyMessage>>
  /** Sends without expecting a reply; says whether the first hop took it. */
  notify(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<ReturnCode>
  /** Keeps a link to `url` up until the connector is disposed. */
  dial(url: URL, security: LinkSecurity, options?: ConnectorOptions): Connector
  /** Accepts peers. `?admin_listener=true` in the URL admits admin cells, as `adminNames` does. */
  listen(url: URL, security: LinkSecurity, options?: ListenOptions): Promise<Listener>
  /** Speaks over a connection made elsewhere, e.g. a private pipe; takes it over. `active` greets first. */
  adopt(connection: Connection, role: 'active' | 'passive', options?: AdoptOptions): PeerSession
  /** Byte streams and blobs, for protocols that need more than requests. */
  readonly streams: Streams
  /** Objects to be pulled piece by piece. */
  readonly downloads: Downloads
  /** Directly connected cells. Live view. */
  readonly peers: ReadonlyMap<string, PeerLink>
  /** Tells when a peer came, went, was not admitted or broke the rules, until the result is disposed. */
  onPeer<Name extends keyof PeerEvents>(
    event: Name,
    listener: (link: PeerEvents[Name]) => void,
  ): Disposable
  /** Adds a filter for every message that arrives, also those passing through; they run in order. */
  incoming(filter: IncomingFilter): void
  /** Adds a filter for every message that leaves, also those passing through; they run in order. */
  outgoing(filter: OutgoingFilter): void
}
