import type { AbortOptions } from './abort-options.ts'
import { PlatformError } from './platform-error.ts'

/** How a link is protected; `spec/transport.md` §2.4. */
export type ConnectionSecurity = 'mtls' | 'tls' | 'clear'

/** PEM texts of one participant. Private keys stay inside the process that owns them. */
export interface TlsMaterial {
  /** Trusted roots for peers. */
  readonly ca: string
  /** Own chain, leaf first. Absent: present no certificate. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

export interface LinkSecurity {
  readonly mode: ConnectionSecurity
  /** Required unless `mode` is `clear`. */
  readonly tls?: TlsMaterial | undefined
  /** Name the dialled server's certificate must carry; default is the host of the URL. `false` turns the check off (stock behaviour). */
  readonly serverName?: string | false | undefined
}

/** What is known of a live link. */
export interface ConnectionInfo {
  readonly driver: string
  readonly mode: ConnectionSecurity
  readonly localAddress: string
  readonly remoteAddress: string
  /** e.g. `TLSv1.3`; absent on clear links. */
  readonly tlsVersion?: string | undefined
  /** Key-exchange group as the dialler sees it, e.g. `X25519MLKEM768`. */
  readonly keyExchange?: string | undefined
  /** End of validity of the peer's certificate, ms since the epoch. */
  readonly peerCertificateExpiry?: number | undefined
  /** SHA-256 of the peer's leaf certificate, hexadecimal. */
  readonly peerFingerprint?: string | undefined
  /**
   * What both ends of one TLS connection know alike and nobody else can make (RFC 9266, `tls-exporter`); 32 bytes,
   * hexadecimal. Absent on clear links and below TLS 1.3.
   */
  readonly channelBinding?: string | undefined
  /** Longest frame that the peer takes, where the driver knows a limit; `send` refuses longer ones. */
  readonly maxSendBytes?: number | undefined
}

/**
 * A full-duplex pipe of whole frames, in order. A frame is opaque but for its first four bytes, its total
 * length as unsigned big-endian integer (`spec/transport.md` §3.1).
 */
export interface Connection extends AsyncDisposable {
  readonly info: ConnectionInfo
  /** Common name of the peer's verified certificate; `undefined` on a link that proves none. */
  readonly peerName: string | undefined
  readonly bytesSent: number
  readonly bytesReceived: number
  /**
   * Longest frame accepted from the peer, prefix included. Starts at the driver's small limit for peers that
   * are not admitted yet; the owner raises it after admission. Applies to frames whose length is read later.
   */
  maxFrameBytes: number
  /**
   * Queues one frame, given as its consecutive parts; they are borrowed until the promise settles and must
   * not change. Resolves once the frame was handed to the operating system; several may wait at a time, and
   * awaiting is the backpressure. An abort takes back a frame of which nothing was written yet.
   * @throws {TransportError} `ERR_CONNECTION_CLOSED`, `ERR_SEND_TIMEOUT`; `ERR_FRAME_LENGTH` for a frame above
   *   `info.maxSendBytes`, of which nothing was sent
   */
  send(frame: readonly Uint8Array[], options?: AbortOptions): Promise<void>
  /**
   * Hands over each frame in order; called once per connection. If the receiver returns a promise, no further
   * frame is read until it resolves. The frame is a view that the receiver owns.
   * @returns when the peer closed in an orderly way or the connection was disposed
   * @throws {TransportError} `ERR_FRAME_LENGTH`, `ERR_PROTOCOL` for a peer that broke the rules of what carries the
   * frames, `ERR_CONNECTION_LOST`, `ERR_SEND_TIMEOUT`; `ERR_TLS_HANDSHAKE`
   *   if the peer refused our certificate, which TLS 1.3 tells a dialler only now; or what the receiver threw
   */
  receive(receiver: (frame: Uint8Array) => void | Promise<void>): Promise<void>
  /**
   * Takes the memory of a received frame back from a receiver that is done with it and every view on it; they are
   * empty from then on. For frames that are long and many: others are found by the garbage collector. Absent, or
   * without effect for a frame that shares its memory.
   */
  release?(frame: Uint8Array): void
}

export interface Listener extends AsyncDisposable {
  /** Where it listens, with the real port. */
  readonly url: URL
}

/** Opens and accepts connections for its URL schemes. */
export interface Driver {
  readonly schemes: readonly string[]
  /** @throws {TransportError} `ERR_CONNECT_REFUSED`, `ERR_TLS_HANDSHAKE`, `ERR_CONNECT_TIMEOUT` */
  connect(url: URL, security: LinkSecurity, options?: AbortOptions): Promise<Connection>
  /** Accepts until the returned listener is disposed. A peer that fails its handshake never reaches `onConnection`. */
  listen(
    url: URL,
    security: LinkSecurity,
    onConnection: (connection: Connection) => void,
    options?: AbortOptions,
  ): Promise<Listener>
}

export type TransportErrorCode =
  | 'ERR_CONNECT_REFUSED'
  | 'ERR_CONNECT_TIMEOUT'
  | 'ERR_TLS_HANDSHAKE'
  | 'ERR_LISTEN'
  | 'ERR_FRAME_LENGTH'
  | 'ERR_PROTOCOL'
  | 'ERR_CONNECTION_LOST'
  | 'ERR_CONNECTION_CLOSED'
  | 'ERR_SEND_TIMEOUT'
  | 'ERR_SCHEME_UNKNOWN'

/** A link could not be made or did not last. */
export class TransportError extends PlatformError<TransportErrorCode> {}
