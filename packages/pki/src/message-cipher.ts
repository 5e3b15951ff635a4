import {
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import {
  type AcceptedCertificate,
  CipherError,
  type CipherErrorCode,
  type Clock,
  type MessageCipher,
  messageOf,
} from '@hanse/contract'
import { type Certificate, parseCertificates } from './certificate.ts'
import { sha256Hex } from './fingerprint.ts'
import type { Identity } from './identity.ts'
import { PkiError } from './pki-error.ts'
import { verifySignature } from './signature.ts'
import { MAX_CHAIN_LENGTH, verifyChain } from './verify-chain.ts'

// Envelope version 1 (`spec/transport.md` §8.4); lengths are those of RSA-2048.
const VERSION = 1
const NONCE_OFFSET = 1
const NONCE_BYTES = 12
const KEY_OFFSET = NONCE_OFFSET + NONCE_BYTES
const RSA_BYTES = 256
const SIGNATURE_OFFSET = KEY_OFFSET + RSA_BYTES
const CIPHERTEXT_OFFSET = SIGNATURE_OFFSET + RSA_BYTES
const TAG_BYTES = 16
const AES_KEY_BYTES = 32

export interface MessageCipherOptions {
  /** A key that seals is used no longer than this; default one hour. */
  readonly maxKeyAgeMs?: number | undefined
  /** … and for no more plaintext than this; default 2^30. */
  readonly maxKeyBytes?: number | undefined
  /** Accepted certificates, sealing keys and unwrapped keys that are kept, each; the oldest go first. Default 1024. */
  readonly maxCached?: number | undefined
}

/**
 * The stock envelope with RSA-2048 and AES-256-GCM. The sealing key of each receiver is renewed by age and
 * amount, far below where random nonces of one key could meet.
 */
export function createMessageCipher(
  { identity, clock }: { readonly identity: Identity; readonly clock: Clock },
  options: MessageCipherOptions = {},
): MessageCipher {
  const { maxKeyAgeMs = 3_600_000, maxKeyBytes = 2 ** 30, maxCached = 1024 } = options
  const accepted = new Map<string, Certificate>()
  const sealing = new Map<string, SealingKey>()
  const unwrapped = new Map<string, Uint8Array>()
  requireRsa2048(identity.certificate.publicKey, 'our own certificate')

  /** Only certificates that went through `accept` count, whatever object is handed in. */
  function certificateOf({ fingerprint }: AcceptedCertificate): Certificate {
    const certificate = accepted.get(fingerprint)
    if (certificate === undefined)
      throw new CipherError('ERR_CERTIFICATE_UNKNOWN', 'the certificate was not accepted before', {
        fingerprint,
      })
    if (clock.now() > certificate.notAfter)
      throw new CipherError('ERR_CERTIFICATE_EXPIRED', 'the accepted certificate has expired', {
        fingerprint,
      })
    return certificate
  }

  function sealingKeyFor(certificate: Certificate, bytes: number): SealingKey {
    const current = sealing.get(certificate.fingerprint)
    const now = clock.now()
    if (
      current !== undefined &&
      now < current.since + maxKeyAgeMs &&
      now >= current.since &&
      current.bytes + bytes <= maxKeyBytes
    ) {
      current.bytes += bytes
      return current
    }
    const key = randomBytes(AES_KEY_BYTES)
    const wrapped = publicEncrypt(
      {
        key: certificate.publicKey,
        padding: constants.RSA_PKCS1_OAEP_PADDING,
        oaepHash: 'sha256',
      },
      key,
    )
    const fresh: SealingKey = { key, wrapped, since: now, bytes }
    remember(sealing, certificate.fingerprint, fresh, maxCached)
    return fresh
  }

  function unwrap(wrapped: Uint8Array, sender: Certificate): Uint8Array {
    const cacheKey = `${sender.fingerprint}:${sha256Hex(wrapped)}`
    const cached = unwrapped.get(cacheKey)
    if (cached !== undefined) return cached
    const key = identity.key.decrypt(wrapped)
    if (key.length !== AES_KEY_BYTES) throw new Error('wrong key length')
    remember(unwrapped, cacheKey, key, maxCached)
    return key
  }

  return {
    certificates: { chain: identity.chainPem, ca: identity.rootPem },

    async accept(chainPem, expectedName, acceptOptions) {
      acceptOptions?.signal?.throwIfAborted()
      try {
        const chain = parseCertificates(chainPem, 'the chain of the peer', MAX_CHAIN_LENGTH + 1)
        const leaf = verifyChain(chain, identity.roots, {
          now: clock.now(),
          commonName: expectedName,
        })
        requireRsa2048(leaf.publicKey, 'the certificate of the peer')
        remember(accepted, leaf.fingerprint, leaf, maxCached)
        return {
          commonName: leaf.commonName ?? '',
          fingerprint: leaf.fingerprint,
          expiry: leaf.notAfter,
        }
      } catch (error) {
        if (error instanceof PkiError)
          throw new CipherError(
            CIPHER_CODES.get(error.code) ?? 'ERR_CERTIFICATE_UNTRUSTED',
            messageOf(error),
            {},
            { cause: error },
          )
        throw error
      }
    },

    async seal(plaintext, receiver) {
      const certificate = certificateOf(receiver)
      const length = plaintext.reduce((sum, part) => sum + part.length, 0)
      const { key, wrapped } = sealingKeyFor(certificate, length)
      const envelope = new Uint8Array(CIPHERTEXT_OFFSET + length + TAG_BYTES)
      envelope[0] = VERSION
      const nonce = randomBytes(NONCE_BYTES)
      envelope.set(nonce, NONCE_OFFSET)
      envelope.set(wrapped, KEY_OFFSET)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      cipher.setAAD(additionalData(envelope))
      let offset = CIPHERTEXT_OFFSET
      for (const part of plaintext) {
        envelope.set(cipher.update(part), offset)
        offset += part.length
      }
      cipher.final()
      envelope.set(cipher.getAuthTag(), offset)
      envelope.set(identity.key.sign(signedPart(envelope)), SIGNATURE_OFFSET)
      return envelope
    },

    async open(envelope, sender) {
      const certificate = certificateOf(sender)
      if (envelope.length < CIPHERTEXT_OFFSET + TAG_BYTES)
        throw new CipherError(
          'ERR_ENVELOPE_FORMAT',
          `an envelope of ${envelope.length} octets is too short; ${CIPHERTEXT_OFFSET + TAG_BYTES} is the least`,
          { length: envelope.length },
        )
      const version = envelope[0] ?? 0
      if (version !== VERSION)
        throw new CipherError(
          'ERR_ENVELOPE_FORMAT',
          `envelope version ${version} is not known; ${VERSION} is`,
          { version },
        )
      const signature = envelope.subarray(SIGNATURE_OFFSET, CIPHERTEXT_OFFSET)
      if (!verifySignature(certificate.publicKey, signedPart(envelope), signature))
        throw new CipherError(
          'ERR_ENVELOPE_SIGNATURE',
          `the envelope was not signed by ${JSON.stringify(certificate.commonName)}`,
        )
      try {
        const key = unwrap(envelope.subarray(KEY_OFFSET, SIGNATURE_OFFSET), certificate)
        const nonce = envelope.subarray(NONCE_OFFSET, KEY_OFFSET)
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
        decipher.setAAD(additionalData(envelope))
        decipher.setAuthTag(envelope.subarray(envelope.length - TAG_BYTES))
        const plaintext = decipher.update(
          envelope.subarray(CIPHERTEXT_OFFSET, envelope.length - TAG_BYTES),
        )
        decipher.final()
        return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length)
      } catch {
        // One answer for a wrong key and a wrong tag: the difference is nobody's business.
        throw new CipherError(
          'ERR_ENVELOPE_DECRYPT',
          'the envelope was signed by its sender but cannot be decrypted with our key',
        )
      }
    },
  }
}

interface SealingKey {
  readonly key: Uint8Array
  readonly wrapped: Uint8Array
  readonly since: number
  /** Plaintext sealed so far. */
  bytes: number
}

const CIPHER_CODES: ReadonlyMap<string, CipherErrorCode> = new Map([
  ['ERR_PEM_FORMAT', 'ERR_CERTIFICATE_FORMAT'],
  ['ERR_CERT_FORMAT', 'ERR_CERTIFICATE_FORMAT'],
  ['ERR_CERT_EXPIRED', 'ERR_CERTIFICATE_EXPIRED'],
  ['ERR_CERT_NOT_YET_VALID', 'ERR_CERTIFICATE_EXPIRED'],
  ['ERR_CERT_NAME', 'ERR_CERTIFICATE_NAME'],
  ['ERR_CERT_WEAK', 'ERR_CERTIFICATE_KEY'],
])

function requireRsa2048(key: KeyObject, what: string): void {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (key.asymmetricKeyType !== 'rsa' || bits !== RSA_BYTES * 8)
    throw new CipherError(
      'ERR_CERTIFICATE_KEY',
      `${what} has a ${key.asymmetricKeyType ?? 'strange'} key of ${bits} bits; the envelope needs RSA of ${RSA_BYTES * 8}`,
      { bits },
    )
}

/** Version and wrapped key: what the tag covers beside the ciphertext. */
function additionalData(envelope: Uint8Array): Uint8Array {
  return Buffer.concat([envelope.subarray(0, 1), envelope.subarray(KEY_OFFSET, SIGNATURE_OFFSET)])
}

/** Everything but the signature itself; views. */
function signedPart(envelope: Uint8Array): readonly Uint8Array[] {
  return [envelope.subarray(0, SIGNATURE_OFFSET), envelope.subarray(CIPHERTEXT_OFFSET)]
}

/** Keeps at most `limit` entries, the youngest. */
function remember<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= limit) break
    map.delete(oldest)
  }
}
