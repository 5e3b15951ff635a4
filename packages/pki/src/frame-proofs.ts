import {
  createCipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'
import { FRAME_CODE_BYTES, type FrameProofs } from '@hanse/contract'
import { PkiError } from './pki-error.ts'

/** How the keys of a link's proofs are made of two shares. */
export interface FrameKeyOptions {
  /** Which end this is: each direction has a key of its own. */
  readonly side: 'dialler' | 'listener'
  /** What both sides said and signed at login; another transcript gives other keys. */
  readonly transcript: Uint8Array
  readonly coversPayload: boolean
}

/** One side's secret in the agreement on the keys of a link's proofs; good for one link. */
export interface FrameKeyShare {
  /** For the other side: an X25519 public key, 32 bytes. */
  readonly share: Uint8Array
  /** @throws {PkiError} `ERR_KEY_SHARE` if `peerShare` is no usable key */
  agree(peerShare: Uint8Array, options: FrameKeyOptions): FrameProofs
}

const KEY_BYTES = 32
const NONCE_BYTES = 12
const SHARE_BYTES = 32

/**
 * Makes a share: X25519 (RFC 7748), keys by HKDF-SHA256 (RFC 5869) over the transcript, codes by AES-256-GMAC
 * (NIST SP 800-38D) with the count of the frame as nonce, so that a code is good for one place in one direction.
 */
export function createFrameKeyShare(): FrameKeyShare {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return {
    share: new Uint8Array(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')),
    agree(peerShare, options) {
      const secret = sharedSecret(privateKey, peerShare)
      const key = (from: string): Buffer =>
        Buffer.from(
          hkdfSync('sha256', secret, options.transcript, `hanse proof/1 ${from}`, KEY_BYTES),
        )
      const keys = { dialler: key('dialler'), listener: key('listener') }
      return new GmacProofs(
        keys[options.side],
        keys[options.side === 'dialler' ? 'listener' : 'dialler'],
        options.coversPayload,
      )
    },
  }
}

function sharedSecret(privateKey: KeyObject, peerShare: Uint8Array): Buffer {
  if (peerShare.length !== SHARE_BYTES)
    throw new PkiError(
      'ERR_KEY_SHARE',
      `a key share has ${SHARE_BYTES} bytes, this one ${peerShare.length}`,
    )
  const x = Buffer.from(peerShare).toString('base64url')
  try {
    const publicKey = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'X25519', x } })
    return diffieHellman({ privateKey, publicKey })
  } catch (cause) {
    throw new PkiError(
      'ERR_KEY_SHARE',
      'the other side sent a key share that cannot be used',
      {},
      { cause },
    )
  }
}

class GmacProofs implements FrameProofs {
  readonly coversPayload: boolean
  readonly #outgoing: Buffer
  readonly #incoming: Buffer
  #sent = 0
  #received = 0

  constructor(outgoing: Buffer, incoming: Buffer, coversPayload: boolean) {
    this.#outgoing = outgoing
    this.#incoming = incoming
    this.coversPayload = coversPayload
  }

  seal(parts: readonly Uint8Array[]): Uint8Array {
    this.#sent += 1
    return gmac(this.#outgoing, this.#sent, parts)
  }

  verify(parts: readonly Uint8Array[], code: Uint8Array): boolean {
    this.#received += 1
    return (
      code.length === FRAME_CODE_BYTES &&
      timingSafeEqual(gmac(this.#incoming, this.#received, parts), code)
    )
  }
}

function gmac(key: Buffer, count: number, parts: readonly Uint8Array[]): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  // Six bytes count 2.8e14 frames.
  nonce.writeUIntBE(count, NONCE_BYTES - 6, 6)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: FRAME_CODE_BYTES })
  for (const part of parts) cipher.setAAD(part)
  cipher.final()
  return cipher.getAuthTag()
}
