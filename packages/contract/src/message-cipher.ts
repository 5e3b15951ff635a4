import type { AbortOptions } from './abort-options.ts'
import { PlatformError } from './platform-error.ts'

/** A peer's certificate after its chain was verified; made only by {@link MessageCipher.accept}. */
export interface AcceptedCertificate {
  /** Subject common name of the leaf. */
  readonly commonName: string
  /** SHA-256 of the leaf in DER, lower-case hexadecimal. */
  readonly fingerprint: string
  /** End of validity of the leaf, ms since the epoch. */
  readonly expiry: number
}

/**
 * End-to-end encryption between two cells (`spec/transport.md` §8.4): one signed envelope a message, whatever
 * hops it crosses. Knows certificates and bytes, nothing of cells; the cell decides whose certificate is asked
 * for, binds names to addresses and keeps the cache. Asynchronous, so that a browser can implement it with
 * WebCrypto. Results of concurrent calls may come in any order.
 */
export interface MessageCipher {
  /** What a peer gets to know of us at the key exchange: own chain (leaf first) and our root, in PEM. */
  readonly certificates: { readonly chain: string; readonly ca: string }
  /**
   * Verifies a peer's chain, leaf first, against our own root and its validity in time. Never trusts a root
   * that came with the message.
   * @param expectedName what the leaf's common name must be; `undefined` takes any
   * @throws {CipherError} `ERR_CERTIFICATE_*`
   */
  accept(
    chainPem: string,
    expectedName: string | undefined,
    options?: AbortOptions,
  ): Promise<AcceptedCertificate>
  /**
   * Encrypts to `receiver` and signs with our key.
   * @param plaintext consecutive parts, borrowed until the promise settles
   * @returns one whole envelope, owned by the caller
   * @throws {CipherError} `ERR_CERTIFICATE_UNKNOWN`, `ERR_CERTIFICATE_EXPIRED`
   */
  seal(plaintext: readonly Uint8Array[], receiver: AcceptedCertificate): Promise<Uint8Array>
  /**
   * Verifies `sender`'s signature first, then decrypts with our key.
   * @param envelope borrowed until the promise settles
   * @returns the plaintext, owned by the caller
   * @throws {CipherError} `ERR_ENVELOPE_*`, `ERR_CERTIFICATE_UNKNOWN`, `ERR_CERTIFICATE_EXPIRED`
   */
  open(envelope: Uint8Array, sender: AcceptedCertificate): Promise<Uint8Array>
}

export type CipherErrorCode =
  /** Not a readable chain, or more certificates or bytes than allowed. */
  | 'ERR_CERTIFICATE_FORMAT'
  /** The chain does not end at our root, or was revoked. */
  | 'ERR_CERTIFICATE_UNTRUSTED'
  | 'ERR_CERTIFICATE_EXPIRED'
  /** Another common name than expected. */
  | 'ERR_CERTIFICATE_NAME'
  /** A key the envelope cannot use: version 1 takes RSA-2048 only. */
  | 'ERR_CERTIFICATE_KEY'
  /** Not a certificate that this cipher accepted. */
  | 'ERR_CERTIFICATE_UNKNOWN'
  /** Too short, or a version we do not speak. */
  | 'ERR_ENVELOPE_FORMAT'
  | 'ERR_ENVELOPE_SIGNATURE'
  /** Signed by the sender, but not for us or changed before signing. */
  | 'ERR_ENVELOPE_DECRYPT'

/** A certificate was not accepted, or an envelope could not be made or opened. */
export class CipherError extends PlatformError<CipherErrorCode> {}
