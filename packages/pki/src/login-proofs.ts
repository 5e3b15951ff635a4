import { createHmac } from 'node:crypto'
import type { Clock } from '@hanse/contract'
import { parseCertificates } from './certificate.ts'
import type { Identity } from './identity.ts'
import { personRole } from './person-role.ts'
import { PkiError } from './pki-error.ts'
import type { PrivateKey } from './private-key.ts'
import { verifySignature } from './signature.ts'
import { verifyChain } from './verify-chain.ts'

/** What `@hanse/session` needs to prove one identity at login. */
export interface LoginSigner {
  readonly name: string
  readonly certificateChain: string
  sign(data: Uint8Array): Uint8Array
}

/** One claim made at login: this chain, this name, this signature. */
export interface LoginClaim {
  readonly certificateChain: string
  readonly expectedName: string
  readonly usage: 'server' | 'client'
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

export interface ProvenHolder {
  readonly name: string
  readonly organization: string
  readonly role: string
  readonly fingerprint: string
}

/** Signs login proofs with `identity` (`spec/session.md` §2.1). */
export function loginSigner(identity: Identity): LoginSigner {
  return {
    name: identity.name,
    certificateChain: identity.chainPem,
    sign: (data) => identity.key.sign(data),
  }
}

/** Checks login proofs against the root that `identity` trusts (`spec/session.md` §2.2, §2.3). */
export function loginVerifier(
  identity: Identity,
  clock: Clock,
): { verify(claim: LoginClaim): ProvenHolder } {
  return {
    verify(claim) {
      const chain = parseCertificates(claim.certificateChain, 'the certificate presented at login')
      const leaf = verifyChain(chain, identity.roots, {
        now: clock.now(),
        commonName: claim.expectedName,
        usage: claim.usage === 'server' ? 'serverAuth' : 'clientAuth',
      })
      if (!verifySignature(leaf.publicKey, claim.signed, claim.signature))
        throw new PkiError(
          'ERR_SIGNATURE',
          `the signature is not by the key of the certificate of '${claim.expectedName}'`,
        )
      return {
        name: claim.expectedName,
        organization: leaf.organization ?? '',
        role: personRole(leaf),
        fingerprint: leaf.fingerprint,
      }
    },
  }
}

/** Codes over tokens, under a secret derived from the server's key: the same after a restart. */
export function tokenMac(key: PrivateKey): { mac(data: Uint8Array): Uint8Array } {
  const secret = key.deriveSecret('hanse token code v1')
  return { mac: (data) => new Uint8Array(createHmac('sha256', secret).update(data).digest()) }
}
