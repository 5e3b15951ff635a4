import { constants, type KeyObject, verify } from 'node:crypto'
import type { PrivateKey } from './private-key.ts'

/**
 * Checks a signature of {@link PrivateKey.sign}: RSASSA-PSS, SHA-256 and exactly the maximum salt, as stock
 * does (`spec/provision.md` §5). Text counts as its UTF-8 octets.
 */
export function verifySignature(
  publicKey: KeyObject,
  data: Uint8Array | string,
  signature: Uint8Array,
): boolean {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength
  if (publicKey.asymmetricKeyType !== 'rsa' || bits === undefined) return false
  const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data
  return verify(
    'sha256',
    bytes,
    {
      key: publicKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: maximumSaltBytes(bits),
    },
    signature,
  )
}

/** 222 for RSA-2048: what is left of the encoded message beside the digest and two octets (RFC 8017 §9.1.1). */
function maximumSaltBytes(modulusBits: number): number {
  return Math.ceil((modulusBits - 1) / 8) - 32 - 2
}

/** Signs and encodes as standard base64, the form of tokens, kits and jobs (`spec/session.md` §2.1). */
export function signText(key: PrivateKey, data: Uint8Array | string): string {
  return Buffer.from(key.sign(data)).toString('base64')
}

/** Checks what {@link signText} made; text that is not standard base64 is simply not a signature. */
export function verifyText(
  publicKey: KeyObject,
  data: Uint8Array | string,
  signature: string,
): boolean {
  if (signature.length > 2048 || !/^[A-Za-z0-9+/]+={0,2}$/.test(signature)) return false
  const bytes = Buffer.from(signature, 'base64')
  // Padding bits that decode away would give one signature many texts.
  return bytes.toString('base64') === signature && verifySignature(publicKey, data, bytes)
}

/**
 * Signature over a name and its token, joined as on the wire: UTF-8 of `name + token`
 * (`spec/transport.md` §8.2). The pair has no separator: never accept one that you did not issue.
 */
export function signToken(key: PrivateKey, name: string, token: string): string {
  return signText(key, name + token)
}

export function verifyToken(
  publicKey: KeyObject,
  name: string,
  token: string,
  signature: string,
): boolean {
  return verifyText(publicKey, name + token, signature)
}
