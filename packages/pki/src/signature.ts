import { constants, createVerify, type KeyObject } from 'node:crypto'

/** What is signed: octets, consecutive parts of them, or text as its UTF-8 octets. */
export type SignedData = Uint8Array | string | readonly Uint8Array[]

/** The octets of {@link SignedData}, in order; nothing is copied but text. */
export function partsOf(data: SignedData): readonly Uint8Array[] {
  if (typeof data === 'string') return [new TextEncoder().encode(data)]
  return data instanceof Uint8Array ? [data] : data
}

/** What signs: a `PrivateKey`. */
interface Signs {
  sign(data: SignedData): Uint8Array
}

/**
 * Checks a signature of `PrivateKey.sign`: RSASSA-PSS, SHA-256 and exactly the maximum salt, as stock
 * does (`spec/provision.md` §5).
 */
export function verifySignature(
  publicKey: KeyObject,
  data: SignedData,
  signature: Uint8Array,
): boolean {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength
  if (publicKey.asymmetricKeyType !== 'rsa' || bits === undefined) return false
  const verifier = createVerify('sha256')
  for (const part of partsOf(data)) verifier.update(part)
  return verifier.verify(
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
export function signText(key: Signs, data: SignedData): string {
  return Buffer.from(key.sign(data)).toString('base64')
}

/** Checks what {@link signText} made; text that is not standard base64 is simply not a signature. */
export function verifyText(publicKey: KeyObject, data: SignedData, signature: string): boolean {
  if (signature.length > 2048 || !/^[A-Za-z0-9+/]+={0,2}$/.test(signature)) return false
  const bytes = Buffer.from(signature, 'base64')
  // Padding bits that decode away would give one signature many texts.
  return bytes.toString('base64') === signature && verifySignature(publicKey, data, bytes)
}

/**
 * Signature over a name and its token, joined as on the wire: UTF-8 of `name + token`
 * (`spec/transport.md` §8.2). The pair has no separator: never accept one that you did not issue.
 */
export function signToken(key: Signs, name: string, token: string): string {
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
