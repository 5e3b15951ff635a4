import { PlatformError } from '@hanse/contract'

export type PkiErrorCode =
  /** Not PEM text of the expected kind, or larger than allowed. */
  | 'ERR_PEM_FORMAT'
  /** Not a certificate we can read, or one with a subject that could be read in two ways. */
  | 'ERR_CERT_FORMAT'
  /** The key or the signature algorithm is too weak or not supported. */
  | 'ERR_CERT_WEAK'
  | 'ERR_CERT_EXPIRED'
  | 'ERR_CERT_NOT_YET_VALID'
  /** The chain does not end at the project's root. */
  | 'ERR_CERT_OTHER_CA'
  /** Issuer and subject fit by name, but the signature is wrong. */
  | 'ERR_CERT_SIGNATURE'
  /** A certificate was used as an issuer without being a CA (or past its path length). */
  | 'ERR_CERT_NOT_CA'
  /** A CA certificate was presented as a participant's. */
  | 'ERR_CERT_IS_CA'
  /** Key usage or extended key usage forbids what it is used for. */
  | 'ERR_CERT_USAGE'
  /** Other common name than expected. */
  | 'ERR_CERT_NAME'
  /** Other organization than expected. */
  | 'ERR_CERT_ORGANIZATION'
  /** Other role than expected. */
  | 'ERR_CERT_ROLE'
  /** A critical extension that we do not understand. */
  | 'ERR_CERT_CRITICAL_EXTENSION'
  /** Not a private key that we can use. */
  | 'ERR_KEY_FORMAT'
  /** The private key belongs to another certificate. */
  | 'ERR_KEY_MISMATCH'
  /** The other side's part of a key agreement is no public key. */
  | 'ERR_KEY_SHARE'
  /** Not a signature by the key of the certificate that came with it. */
  | 'ERR_SIGNATURE'
  /** A certificate cannot be issued with these values. */
  | 'ERR_ISSUE'

/** A key, certificate or chain was refused; the message says which one and why. Never quotes a private key. */
export class PkiError extends PlatformError<PkiErrorCode> {}
