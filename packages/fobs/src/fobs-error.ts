import { PlatformError } from '@hanse/contract'

export type FobsErrorCode =
  /** The sections of the envelope are not what §2 allows. */
  | 'ERR_FOBS_ENVELOPE'
  /** Not MessagePack, or MessagePack that no honest peer writes (ext types, duplicate keys, broken UTF-8). */
  | 'ERR_FOBS_MSGPACK'
  /** Larger, longer or deeper than the limits allow. */
  | 'ERR_FOBS_LIMIT'
  /** An object of a type that this process did not register. */
  | 'ERR_FOBS_TYPE_UNKNOWN'
  /** The data of an object is not what its type requires. */
  | 'ERR_FOBS_SHAPE'
  /** A datum that is missing, unused, repeated or of a refused kind. */
  | 'ERR_FOBS_DATUM'
  /** A download pointer that is malformed, unused or missing. */
  | 'ERR_FOBS_REFERENCE'
  /** A download did not bring an item that the message names. */
  | 'ERR_FOBS_ITEM_MISSING'
  /** A value that cannot be written. */
  | 'ERR_FOBS_ENCODE'
  /** The registry was used against its rules: open, closed, or two codecs for one name. */
  | 'ERR_FOBS_REGISTRY'

/**
 * Bytes that are not acceptable FOBS, or a value that cannot become FOBS. Messages never quote the payload,
 * so they may be told to the peer; names that help an operator are in `details`.
 */
export class FobsError extends PlatformError<FobsErrorCode> {}
