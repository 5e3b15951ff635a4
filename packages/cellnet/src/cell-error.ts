import { PlatformError } from '@hanse/contract'

export type CellErrorCode =
  /** The peer broke the framing rules; its connection cannot be used again. */
  | 'ERR_FRAME'
  /** A message that does not come from who logged in over its link; nothing over the link can be believed. */
  | 'ERR_PROOF'
  /** Headers that cannot be decoded, or are too large to be sent. */
  | 'ERR_HEADERS'
  /** A name that is no FQCN. */
  | 'ERR_FQCN'
  /** The peer was not admitted, or did not admit us; `details.reason` holds a {@link RefusalCode}. */
  | 'ERR_REFUSED'
  /** No HELLO or READY in time. */
  | 'ERR_HANDSHAKE_TIMEOUT'
  /** The peer stopped answering. */
  | 'ERR_PEER_SILENT'
  /** The cell or the link was closed. */
  | 'ERR_CLOSED'
  /** More than a limit allows. */
  | 'ERR_LIMIT'
  /** A body that is not what its encoding says. */
  | 'ERR_BODY'
  // What a request handler throws to answer with another code than `process_exception` (§6.3).
  | 'ERR_INVALID_REQUEST'
  | 'ERR_SERVICE_UNAVAILABLE'
  | 'ERR_INVALID_SESSION'
  | 'ERR_AUTHENTICATION'
  | 'ERR_ABORT_RUN'
  // Streams (`spec/streaming.md` §3–§6).
  /** A chunk or stream error whose headers are missing, of a wrong type or out of range. */
  | 'ERR_STREAM_HEADERS'
  /** Chunks that contradict each other: offset, order, data after the end. */
  | 'ERR_STREAM_ORDER'
  /** More or fewer bytes than declared, or more than this cell takes. */
  | 'ERR_STREAM_SIZE'
  /** Too many streams, parked chunks or waiting bytes of one peer. */
  | 'ERR_STREAM_LIMIT'
  /** No progress for longer than allowed. */
  | 'ERR_STREAM_TIMEOUT'
  /** The other end reported a failure. */
  | 'ERR_STREAM_REMOTE'
  /** No way to the other end, or its link is gone. */
  | 'ERR_STREAM_UNREACHABLE'
  /** Given up by its owner, or this cell closed. */
  | 'ERR_STREAM_CANCELLED'
  /** Nobody takes streams of this channel and topic. */
  | 'ERR_STREAM_NO_HANDLER'
  // Downloads (`spec/streaming.md` §7).
  /** An offer that makes no sense, or is past a limit. */
  | 'ERR_DOWNLOAD_OPTIONS'
  /** A reference names a source that the message's sender may not speak for. */
  | 'ERR_DOWNLOAD_SOURCE'
  /** The source refused, failed or did not answer. */
  | 'ERR_DOWNLOAD_FAILED'
  /** The source's answer breaks the download protocol. */
  | 'ERR_DOWNLOAD_PROTOCOL'
  /** More bytes, items or time than allowed. */
  | 'ERR_DOWNLOAD_LIMIT'

/** Something between cells went against the rules or could not be done. */
export class CellError extends PlatformError<CellErrorCode> {}
