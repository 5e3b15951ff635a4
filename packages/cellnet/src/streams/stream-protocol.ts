/** Channel of all stream messages; `spec/streaming.md` §2. */
export const STREAM_CHANNEL = 'sm__STREAM'

/** Channel on which reply blobs come back; `spec/streaming.md` §6. */
export const REPLY_CHANNEL = 'return_only'

/** Topics of {@link STREAM_CHANNEL}. */
export const STREAM_TOPIC = { data: 'sm__DATA', ack: 'sm__ACK', error: 'sm__ERROR' } as const

/** Values of `sm__dt`. */
export const STREAM_TYPE = { chunk: 1, final: 2, ack: 3, error: 6 } as const

/** Names of the stream headers; `spec/streaming.md` §3. */
export const STREAM_HEADER = {
  ackInterval: 'sm__ai',
  channel: 'sm__ch',
  chunkSize: 'sm__cs',
  encoding: 'sm__pe',
  errorText: 'sm__em',
  errorType: 'sm__et',
  failedDestination: 'sm__fd',
  id: 'sm__id',
  offset: 'sm__os',
  optional: 'sm__op',
  reliable: 'sm__rs',
  requestId: 'sm__ri',
  retryTimeout: 'sm__rt',
  retryWait: 'sm__rw',
  sequence: 'sm__sq',
  size: 'sm__sz',
  topic: 'sm__tp',
  type: 'sm__dt',
  windowSize: 'sm__ws',
} as const

/** Error class names that travel in `sm__et`. */
export type StreamErrorType =
  | 'StreamError'
  | 'BlobSizeError'
  | 'StreamTargetUnreachable'
  | 'StreamCancelled'
