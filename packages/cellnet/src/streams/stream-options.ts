const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/** Behaviour and limits of streams; defaults in {@link DEFAULT_STREAM_OPTIONS}, names in `spec/streaming.md` §10. */
export interface StreamOptions {
  /** Length of every chunk but the last. */
  readonly chunkBytes: number
  /** Bytes under way without an ACK before a sender waits; one more chunk may follow. */
  readonly windowBytes: number
  /** How often we ask receivers to acknowledge. */
  readonly ackIntervalBytes: number
  /** A sender that waits for ACKs gives up after this long without any progress … */
  readonly ackProgressTimeoutMs: number
  /** … or after this long in one wait. */
  readonly ackWaitMs: number
  /** A receiver gives up after this long without a new chunk. */
  readonly readTimeoutMs: number
  /** Reliable streams: a chunk without ACK is resent after this long … */
  readonly retryWaitMs: number
  /** … and the stream fails this long after the first resend. */
  readonly retryTimeoutMs: number
  /** Each stage of a request: sending, remote processing, receiving. Progress renews the first and last. */
  readonly requestTimeoutMs: number
  /** Longest body taken into memory; handlers and requests may ask for less. */
  readonly maxBodyBytes: number
  /** Promised memory for bodies that are arriving, per peer family (first segment of the origin) … */
  readonly maxBufferedBytesPerPeer: number
  /** … and altogether, requests and replies each. A body that does not fit yet waits without ACKs, so its sender stops at its window. */
  readonly maxBufferedBytes: number
  /** Memory of bodies that was given back, kept for those to come. */
  readonly maxSpareBytes: number
  /** Bytes of waiting and parked chunks per peer family; past it the stream is refused. */
  readonly maxWaitingBytesPerPeer: number
  /** Streams and running requests per peer family; past it new ones are refused. Replies to our requests do not count. */
  readonly maxStreamsPerPeer: number
  /** The same over all peers. */
  readonly maxStreams: number
  /** Chunks ahead of a missing one. Default: derived from the sender's window (`spec/streaming.md` §4.2). */
  readonly maxParkedChunks: number | undefined
  /** How long a failed or finished unreliable stream is remembered, so that stray chunks do not start it again. */
  readonly tombstoneMs: number
  /** Most ended streams remembered, replies and others apart; the oldest go first. */
  readonly maxTombstones: number
  /** How long disposal waits for running handlers. */
  readonly drainMs: number
}

export const DEFAULT_STREAM_OPTIONS: StreamOptions = {
  chunkBytes: MIB,
  windowBytes: 16 * MIB,
  ackIntervalBytes: 4 * MIB,
  ackProgressTimeoutMs: 60_000,
  ackWaitMs: 300_000,
  readTimeoutMs: 300_000,
  retryWaitMs: 5_000,
  retryTimeoutMs: 60_000,
  requestTimeoutMs: 10_000,
  maxBodyBytes: GIB,
  maxBufferedBytesPerPeer: GIB,
  maxBufferedBytes: 4 * GIB,
  maxSpareBytes: 64 * MIB,
  maxWaitingBytesPerPeer: 128 * MIB,
  maxStreamsPerPeer: 512,
  maxStreams: 4096,
  maxParkedChunks: undefined,
  tombstoneMs: 5_000,
  maxTombstones: 10_000,
  drainMs: 2_000,
}

/** Assumed of a sender that states none. */
export const FALLBACK_SENDER = {
  chunkBytes: MIB,
  windowBytes: 64 * MIB,
  ackIntervalBytes: 4 * MIB,
} as const

/** A receiver acknowledges at least this often, whatever a sender asks for. */
export const MAX_ACK_INTERVAL_BYTES = 16 * MIB

/** A finished reliable stream is remembered no longer than this. */
export const MAX_RETRY_MS = 3_600_000
