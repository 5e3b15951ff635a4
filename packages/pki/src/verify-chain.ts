import type { Certificate, ExtendedKeyUsage } from './certificate.ts'
import { Oid } from './object-identifiers.ts'
import { PkiError } from './pki-error.ts'

/** Longest chain from leaf to the certificate below the root. */
export const MAX_CHAIN_LENGTH = 5

export interface ChainRequirements {
  /** Ms since the epoch at which everything must be valid. */
  readonly now: number
  /** What the leaf's subject must say; absent fields may have any value. */
  readonly commonName?: string | undefined
  readonly organization?: string | undefined
  readonly role?: string | undefined
  /** Needed in the extended key usage, if the leaf has that extension. */
  readonly usage?: ExtendedKeyUsage | undefined
}

/**
 * Accepts a chain, leaf first, that ends at one of `roots`; nothing else is trusted, also no root that came in
 * the chain. Checks in this order: links and signatures, CA constraints, validity, the leaf's usage, its names
 * (`spec/session.md` §2.2).
 * @returns the leaf
 * @throws {PkiError} `ERR_CERT_*` that names the cause
 */
export function verifyChain(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  requirements: ChainRequirements,
): Certificate {
  return verifyChainToRoot(chain, roots, requirements).leaf
}

/** As {@link verifyChain}; also returns which of the roots the chain ends at. */
export function verifyChainToRoot(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  requirements: ChainRequirements,
): { readonly leaf: Certificate; readonly root: Certificate } {
  const [leaf] = chain
  if (leaf === undefined || chain.length > MAX_CHAIN_LENGTH)
    throw new PkiError(
      'ERR_CERT_FORMAT',
      `the chain has ${chain.length} certificates; 1 to ${MAX_CHAIN_LENGTH} are allowed`,
    )
  const path = pathToRoot(chain, roots)
  for (const [index, certificate] of path.entries()) {
    verifyStrength(certificate)
    if (certificate.unknownCritical.length > 0)
      throw new PkiError(
        'ERR_CERT_CRITICAL_EXTENSION',
        `${describe(certificate)} has critical extensions that are not understood: ${certificate.unknownCritical.join(', ')}`,
      )
    if (index > 0) verifyIssuer(certificate, index - 1)
  }
  // From the root down: an expired root explains more than an expired leaf.
  for (const certificate of path.toReversed()) verifyValidity(certificate, requirements.now)
  verifyLeaf(leaf, requirements)
  return { leaf, root: path.at(-1)! }
}

/** The chain with its root appended; every link's names and signature hold. */
function pathToRoot(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
): readonly Certificate[] {
  const path: Certificate[] = []
  for (const [index, certificate] of chain.entries()) {
    path.push(certificate)
    // Some tools append the root: the one we hold replaces it.
    const anchor = roots.find((root) => root.fingerprint === certificate.fingerprint)
    if (anchor !== undefined && index > 0) return path
    const candidates = [...roots, ...chain.slice(index + 1, index + 2)].filter(
      (issuer) => Buffer.compare(issuer.subject, certificate.issuer) === 0,
    )
    const issuer = candidates.find((candidate) => certificate.isSignedBy(candidate.publicKey))
    if (issuer === undefined) throw notIssued(certificate, candidates, roots)
    if (roots.includes(issuer)) return [...path, issuer]
  }
  throw new PkiError(
    'ERR_CERT_OTHER_CA',
    `the chain of ${describe(chain[0]!)} does not end at a trusted root`,
  )
}

function notIssued(
  certificate: Certificate,
  candidates: readonly Certificate[],
  roots: readonly Certificate[],
): PkiError {
  const issuerNames = roots.map((root) => root.commonName ?? '?').join(', ')
  return candidates.length > 0
    ? new PkiError(
        'ERR_CERT_SIGNATURE',
        `${describe(certificate)} names "${issuerNames}" as issuer, but that key did not sign it: another project of the same name?`,
      )
    : new PkiError(
        'ERR_CERT_OTHER_CA',
        `${describe(certificate)} was not issued by the trusted root "${issuerNames}"`,
      )
}

const ACCEPTED_ALGORITHMS: ReadonlySet<string> = new Set([
  Oid.sha256WithRsa,
  Oid.sha384WithRsa,
  Oid.sha512WithRsa,
  Oid.rsaPss,
  Oid.ecdsaWithSha256,
  Oid.ecdsaWithSha384,
  Oid.ecdsaWithSha512,
  Oid.ed25519,
])

const MIN_RSA_BITS = 2048

function verifyStrength(certificate: Certificate): void {
  if (!ACCEPTED_ALGORITHMS.has(certificate.signatureAlgorithm))
    throw new PkiError(
      'ERR_CERT_WEAK',
      `${describe(certificate)} is signed with ${certificate.signatureAlgorithm}, which is not accepted`,
    )
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
  const bits = asymmetricKeyDetails?.modulusLength ?? 0
  if ((asymmetricKeyType === 'rsa' || asymmetricKeyType === 'rsa-pss') && bits < MIN_RSA_BITS)
    throw new PkiError(
      'ERR_CERT_WEAK',
      `${describe(certificate)} has an RSA key of ${bits} bits; at least ${MIN_RSA_BITS} are needed`,
      { bits },
    )
}

/** @param below CA certificates between this one and the leaf */
function verifyIssuer(issuer: Certificate, below: number): void {
  if (!issuer.isCa)
    throw new PkiError('ERR_CERT_NOT_CA', `${describe(issuer)} signed a certificate but is no CA`)
  if (issuer.keyUsage?.has('keyCertSign') === false)
    throw new PkiError(
      'ERR_CERT_NOT_CA',
      `${describe(issuer)} signed a certificate; its key usage does not allow that`,
    )
  if (issuer.pathLength !== undefined && below > issuer.pathLength)
    throw new PkiError(
      'ERR_CERT_NOT_CA',
      `${describe(issuer)} allows ${issuer.pathLength} CA certificates below it; the chain has ${below}`,
    )
}

function verifyValidity(certificate: Certificate, now: number): void {
  if (now > certificate.notAfter)
    throw new PkiError(
      'ERR_CERT_EXPIRED',
      `${describe(certificate)} expired on ${day(certificate.notAfter)}; ask the project admin for a new kit`,
    )
  if (now < certificate.notBefore)
    throw new PkiError(
      'ERR_CERT_NOT_YET_VALID',
      `${describe(certificate)} is valid from ${new Date(certificate.notBefore).toISOString()}; is the clock of this machine right?`,
    )
}

function verifyLeaf(leaf: Certificate, requirements: ChainRequirements): void {
  if (leaf.isCa)
    throw new PkiError(
      'ERR_CERT_IS_CA',
      `${describe(leaf)} is a CA certificate and cannot stand for a participant`,
    )
  if (leaf.keyUsage?.has('digitalSignature') === false)
    throw new PkiError('ERR_CERT_USAGE', `the key usage of ${describe(leaf)} forbids signing`)
  const { usage } = requirements
  if (
    usage !== undefined &&
    leaf.extendedKeyUsage !== undefined &&
    !leaf.extendedKeyUsage.has(Oid[usage]) &&
    !leaf.extendedKeyUsage.has(Oid.anyExtendedKeyUsage)
  )
    throw new PkiError(
      'ERR_CERT_USAGE',
      `the extended key usage of ${describe(leaf)} does not contain ${usage}`,
    )
  const { commonName, organization, role } = requirements
  if (leaf.commonName === undefined)
    throw new PkiError('ERR_CERT_NAME', 'the certificate has no common name')
  if (commonName !== undefined && leaf.commonName !== commonName)
    throw new PkiError(
      'ERR_CERT_NAME',
      `the certificate belongs to ${quoted(leaf.commonName)}, not to ${quoted(commonName)}`,
    )
  if (organization !== undefined && leaf.organization !== organization)
    throw new PkiError(
      'ERR_CERT_ORGANIZATION',
      `${describe(leaf)} is of organization ${quoted(leaf.organization)}, not ${quoted(organization)}`,
    )
  if (role !== undefined && leaf.role !== role)
    throw new PkiError(
      'ERR_CERT_ROLE',
      `${describe(leaf)} has the role ${quoted(leaf.role)}, not ${quoted(role)}`,
    )
}

function describe(certificate: Certificate): string {
  return `the certificate of ${quoted(certificate.commonName)}`
}

/** Names come from peers: quoted, so that they cannot pose as our own words. */
function quoted(text: string | undefined): string {
  return text === undefined ? 'nobody' : JSON.stringify(text)
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}
