import {
  constants,
  createPrivateKey,
  createPublicKey,
  createSign,
  generateKeyPair,
  hkdfSync,
  type KeyObject,
  privateDecrypt,
  sign,
} from 'node:crypto'
import { promisify } from 'node:util'
import { parsePem } from './pem.ts'
import { PkiError } from './pki-error.ts'
import { printAs } from './redacted.ts'
import { partsOf, type SignedData, verifySignature } from './signature.ts'

/** An RSA private key. Prints as `[redacted]`; only `exportPem` lets it out. */
export class PrivateKey {
  readonly publicKey: KeyObject
  readonly #key: KeyObject

  constructor(key: KeyObject) {
    if (key.type !== 'private' || key.asymmetricKeyType !== 'rsa')
      throw new PkiError(
        'ERR_KEY_FORMAT',
        `a ${key.asymmetricKeyType ?? key.type} key was given; the platform's signatures need RSA`,
      )
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
    if (bits < 2048 || bits > 8192)
      throw new PkiError(
        'ERR_KEY_FORMAT',
        `an RSA key of ${bits} bits; 2048 to 8192 are accepted`,
        {
          bits,
        },
      )
    this.#key = key
    this.publicKey = createPublicKey(key)
    printAs(this, '[redacted]')
  }

  /**
   * RSASSA-PSS, SHA-256, maximum salt (`spec/session.md` §2.1). About a millisecond for RSA-2048.
   * @param data text counts as its UTF-8 octets, parts as what they are one after another
   */
  sign(data: SignedData): Uint8Array {
    const signer = createSign('sha256')
    for (const part of partsOf(data)) signer.update(part)
    return Uint8Array.from(
      signer.sign({
        key: this.#key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN,
      }),
    )
  }

  /** RSASSA-PKCS1-v1_5, SHA-256: the signature of certificates. */
  signCertificate(body: Uint8Array): Uint8Array {
    return Uint8Array.from(sign('sha256', body, this.#key))
  }

  /**
   * RSA-OAEP with SHA-256.
   * @throws whatever went wrong, on purpose without saying what
   */
  decrypt(ciphertext: Uint8Array): Uint8Array {
    return Uint8Array.from(
      privateDecrypt(
        { key: this.#key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
        ciphertext,
      ),
    )
  }

  /**
   * A secret that only the holder of this key can compute and that tells nothing of the key (HKDF-SHA-256):
   * the same for the same `purpose`, also after a restart. For codes over tokens, so that they need no storage.
   */
  deriveSecret(purpose: string, length = 32): Uint8Array {
    const material = this.#key.export({ format: 'der', type: 'pkcs8' })
    return new Uint8Array(hkdfSync('sha256', material, 'hanse derived secret v1', purpose, length))
  }

  /** True if `publicKey` is the other half of this key. */
  matches(publicKey: KeyObject): boolean {
    return this.publicKey.equals(publicKey)
  }

  /** PEM, PKCS#1, unencrypted as kits carry it (`spec/provision.md` §4). Write it with mode 0600 only. */
  exportPem(): string {
    return this.#key.export({ format: 'pem', type: 'pkcs1' }).toString()
  }
}

/**
 * Reads an unencrypted private key, PKCS#1 or PKCS#8.
 * @param what names the text in errors, e.g. `client.key`
 * @throws {PkiError} `ERR_PEM_FORMAT`, `ERR_KEY_FORMAT`; never quotes the text
 */
export function parsePrivateKey(pem: string, what: string): PrivateKey {
  const blocks = parsePem(pem, what)
  if (blocks.length !== 1)
    throw new PkiError(
      'ERR_PEM_FORMAT',
      `${what} has ${blocks.length} PEM blocks; one private key belongs there`,
    )
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    // The cause of OpenSSL is left out: nothing near a private key goes into errors.
    throw new PkiError(
      'ERR_KEY_FORMAT',
      `${what} does not hold a readable, unencrypted private key`,
    )
  }
  const privateKey = new PrivateKey(key)
  // OpenSSL reads keys whose numbers do not fit together; their signatures are wrong and may betray a factor.
  if (!verifySignature(privateKey.publicKey, 'self-test', privateKey.sign('self-test')))
    throw new PkiError('ERR_KEY_FORMAT', `${what} holds a damaged private key`)
  return privateKey
}

const generate = promisify(generateKeyPair)

/** A new RSA key, made in Node's thread pool: many at once use all cores. */
export async function generatePrivateKey(bits: 2048 | 3072 | 4096 = 2048): Promise<PrivateKey> {
  const { privateKey } = await generate('rsa', { modulusLength: bits, publicExponent: 65_537 })
  return new PrivateKey(privateKey)
}
