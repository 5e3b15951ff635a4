import { createHmac } from 'node:crypto'
import type { ProofSigner, ProofVerifier, TokenMac } from '../src/login/proofs.ts'

/** A certificate as tests write it. */
export interface FakeCertificate {
  readonly ca: string
  readonly name: string
  readonly role?: string
  readonly usage?: 'server' | 'client'
}

const CA = 'league'

/** Signs as the holder of `certificate`; with another `key`, as somebody who only has the certificate. */
export function fakeSigner(
  certificate: Partial<FakeCertificate> & { readonly name: string },
  key = certificate.name,
): ProofSigner {
  return {
    name: certificate.name,
    certificateChain: JSON.stringify({ ca: CA, ...certificate }),
    sign: (data) => code(key, data),
  }
}

/** Checks what {@link fakeSigner} makes: a certificate of `ca`, and a signature by the key called like its holder. */
export function fakeVerifier(ca = CA): ProofVerifier {
  return {
    verify({ certificateChain, expectedName, usage, signed, signature }) {
      const certificate = JSON.parse(certificateChain) as FakeCertificate
      const { name, role = '' } = certificate
      if (certificate.ca !== ca) throw new Error('the certificate is not of this league')
      if (name !== expectedName) throw new Error(`the certificate names '${name}'`)
      if (certificate.usage !== undefined && certificate.usage !== usage)
        throw new Error(`the certificate is not for a ${usage}`)
      if (code(name, signed).toHex() !== signature.toHex())
        throw new Error('the signature does not hold')
      return { name, organization: 'org', role, fingerprint: `fp-${name}` }
    },
  }
}

export const fakeMac: TokenMac = { mac: (data) => code('the server', data) }

/** Base64 of the server's signature over `name + token`. */
export function fakeTokenSignature(server: string, name: string, token: string): string {
  return code(server, new TextEncoder().encode(name + token)).toBase64()
}

function code(key: string, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(data).digest())
}
