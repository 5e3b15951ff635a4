/** Signs for one identity: RSA-PSS, SHA-256, maximum salt (`spec/session.md` §2.1). */
export interface ProofSigner {
  /** Common name of the certificate. */
  readonly name: string
  /** PEM, leaf first. */
  readonly certificateChain: string
  sign(data: Uint8Array): Uint8Array | Promise<Uint8Array>
}

/** What a verified certificate says of its holder. */
export interface ProvenIdentity {
  readonly name: string
  readonly organization: string
  /** Role of a person; empty for servers and sites. */
  readonly role: string
  /** SHA-256 of the leaf, hexadecimal. */
  readonly fingerprint: string
}

export interface ProofClaim {
  readonly certificateChain: string
  readonly expectedName: string
  readonly usage: 'server' | 'client'
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

/** Checks a chain up to the league's root, its usage and name, and a signature by its key. */
export interface ProofVerifier {
  /** @throws an error whose message names the first thing that does not hold */
  verify(claim: ProofClaim): ProvenIdentity | Promise<ProvenIdentity>
}

/** A keyed digest for tokens; synchronous, since every message needs one. */
export interface TokenMac {
  mac(data: Uint8Array): Uint8Array
}

const encoder = new TextEncoder()

/** Bytes that a login proof signs: the signer's name and the other side's nonce, without separator. */
export function proofText(name: string, nonce: string): Uint8Array {
  return encoder.encode(name + nonce)
}
