import type { TlsMaterial } from '@hanse/contract'
import { type Certificate, parseCertificates } from './certificate.ts'
import { PkiError } from './pki-error.ts'
import { type PrivateKey, parsePrivateKey } from './private-key.ts'
import { printAs } from './redacted.ts'
import { verifyChainToRoot } from './verify-chain.ts'

/** Who a process is: its verified certificate, its key and the root it trusts. Prints without the key. */
export interface Identity {
  /** Common name of the certificate. */
  readonly name: string
  readonly organization: string | undefined
  readonly role: string | undefined
  readonly certificate: Certificate
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[]
  readonly chainPem: string
  readonly roots: readonly Certificate[]
  /** The one of `roots` that the own chain ends at. */
  readonly anchor: Certificate
  readonly rootPem: string
  readonly key: PrivateKey
  /** For `LinkSecurity.tls`; has the private key in clear and prints as `[redacted]`. */
  readonly tls: TlsMaterial
}

export interface IdentityTexts {
  /** Chain in PEM, leaf first. */
  readonly cert: string
  readonly key: string
  /** Trusted root, or several while roots change over. */
  readonly root: string
}

/** @param now ms since the epoch at which the chain must be valid */
export interface LoadIdentityOptions {
  readonly now: number
}

/**
 * Reads a participant's three PEM texts and checks them against each other: the key fits the certificate, the
 * chain ends at the root, everything is valid now.
 * @throws {PkiError} that names the cause
 */
export function loadIdentity(texts: IdentityTexts, { now }: LoadIdentityOptions): Identity {
  const roots = parseCertificates(texts.root, 'the root certificate')
  const presented = parseCertificates(texts.cert, 'the certificate chain')
  const key = parsePrivateKey(texts.key, 'the private key')
  const { leaf, root: anchor } = verifyChainToRoot(presented, roots, { now })
  if (!key.matches(leaf.publicKey))
    throw new PkiError(
      'ERR_KEY_MISMATCH',
      `the private key does not belong to the certificate of ${JSON.stringify(leaf.commonName)}; both must come from the same kit`,
    )
  const trusted = new Set(roots.map((root) => root.fingerprint))
  const chain = presented.filter((certificate) => !trusted.has(certificate.fingerprint))
  const chainPem = chain.map((certificate) => certificate.pem).join('')
  const rootPem = roots.map((root) => root.pem).join('')
  const name = leaf.commonName ?? ''
  const tls = { ca: rootPem, cert: chainPem, key: key.exportPem() }
  return printAs(
    {
      name,
      organization: leaf.organization,
      role: leaf.role,
      certificate: leaf,
      chain,
      chainPem,
      roots,
      anchor,
      rootPem,
      key,
      tls: printAs(tls, '[redacted]'),
    },
    `Identity ${JSON.stringify(name)} ${leaf.fingerprint}`,
  )
}
