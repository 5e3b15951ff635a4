import { createHash, type KeyObject, randomBytes } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { type Certificate, type KeyUsage, parseCertificate } from './certificate.ts'
import {
  contextTag,
  DerReader,
  DerTag,
  der,
  derObjectIdentifier,
  derSequence,
  derTime,
  derUnsigned,
  derUtf8,
} from './der.ts'
import { encodeKitMark, type KitMark } from './kit-mark.ts'
import { Oid } from './object-identifiers.ts'
import { PkiError } from './pki-error.ts'
import type { PrivateKey } from './private-key.ts'

/** Longest common name, organization and role that X.509 allows (RFC 5280 appendix A). */
export const MAX_NAME_CHARACTERS = 64

export interface SubjectName {
  readonly commonName: string
  readonly organization?: string | undefined
  readonly role?: string | undefined
}

interface Validity {
  /** Ms since the epoch, cut to whole seconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** Big-endian; random by default. */
  readonly serialNumber?: Uint8Array | undefined
}

export interface RootRequest extends Validity {
  /** The project's name: common name, issuer and DNS name (`spec/provision.md` §4). */
  readonly commonName: string
}

export interface LeafRequest extends Validity, SubjectName {
  readonly publicKey: KeyObject
  /** Host names and IP addresses. */
  readonly hosts: readonly string[]
  /**
   * Constraints and usages to add. Absent: the reference profile, which has none of them
   * (`spec/provision.md` §4).
   */
  readonly profile?: LeafProfile | undefined
}

/** What Hanse's certificates say more than the reference's, so that one cannot be used as another. */
export interface LeafProfile {
  readonly keyUsage: readonly KeyUsage[]
  readonly extendedKeyUsage: readonly ('serverAuth' | 'clientAuth')[]
  readonly kitMark: KitMark
}

/** Makes the self-signed root of a project. */
export function issueRoot(key: PrivateKey, request: RootRequest): Certificate {
  const name = encodeName(request)
  const identifier = keyIdentifier(key.publicKey)
  return sign(key, {
    ...request,
    issuer: name,
    subject: name,
    publicKey: key.publicKey,
    extensions: [
      subjectKeyIdentifier(identifier),
      authorityKeyIdentifier(identifier),
      extension(Oid.basicConstraints, true, derSequence(der(DerTag.boolean, Uint8Array.of(0xff)))),
      // digitalSignature, keyCertSign, cRLSign: seven bits, the last one unused.
      extension(Oid.keyUsage, true, der(DerTag.bitString, Uint8Array.of(1, 0x86))),
      subjectAltName([request.commonName]),
    ],
  })
}

/**
 * Makes a participant's certificate. It never outlives its issuer.
 * @throws {PkiError} `ERR_ISSUE` for names that do not fit, `ERR_CERT_EXPIRED` when the issuer has run out
 */
export function issueLeaf(issuer: Certificate, key: PrivateKey, request: LeafRequest): Certificate {
  if (!issuer.isCa || !key.matches(issuer.publicKey))
    throw new PkiError('ERR_ISSUE', 'the issuing key does not belong to a CA certificate')
  if (request.notBefore >= issuer.notAfter)
    throw new PkiError(
      'ERR_CERT_EXPIRED',
      `the root certificate ${JSON.stringify(issuer.commonName)} expired on ${new Date(issuer.notAfter).toISOString().slice(0, 10)}; a new root is needed`,
    )
  const { profile } = request
  return sign(key, {
    ...request,
    notBefore: Math.max(request.notBefore, issuer.notBefore),
    notAfter: Math.min(request.notAfter, issuer.notAfter),
    issuer: issuer.subject,
    subject: encodeName(request),
    extensions: [
      subjectKeyIdentifier(keyIdentifier(request.publicKey)),
      authorityKeyIdentifier(issuer.subjectKeyIdentifier ?? keyIdentifier(issuer.publicKey)),
      ...(profile === undefined
        ? []
        : [
            extension(Oid.basicConstraints, true, derSequence()),
            extension(Oid.keyUsage, true, encodeKeyUsage(profile.keyUsage)),
            extension(
              Oid.extendedKeyUsage,
              false,
              derSequence(
                ...profile.extendedKeyUsage.map((usage) => derObjectIdentifier(Oid[usage])),
              ),
            ),
          ]),
      subjectAltName(request.hosts),
      ...(profile === undefined
        ? []
        : [extension(Oid.hanseKit, false, encodeKitMark(profile.kitMark))]),
    ],
  })
}

interface Body extends Validity {
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly publicKey: KeyObject
  readonly extensions: readonly Uint8Array[]
}

const SIGNATURE_ALGORITHM = derSequence(derObjectIdentifier(Oid.sha256WithRsa), der(DerTag.null))

function sign(key: PrivateKey, body: Body): Certificate {
  const encoded = derSequence(
    der(contextTag(0, true), derUnsigned(Uint8Array.of(2))), // version 3
    derUnsigned(body.serialNumber ?? newSerialNumber()),
    SIGNATURE_ALGORITHM,
    body.issuer,
    derSequence(derTime(body.notBefore), derTime(body.notAfter)),
    body.subject,
    publicKeyInfo(body.publicKey),
    der(contextTag(3, true), derSequence(...body.extensions)),
  )
  const signature = der(DerTag.bitString, Uint8Array.of(0), key.signCertificate(encoded))
  return parseCertificate(derSequence(encoded, SIGNATURE_ALGORITHM, signature))
}

/** 159 random bits: positive and at most 20 octets (RFC 5280 §4.1.2.2). */
function newSerialNumber(): Uint8Array {
  const serial = Uint8Array.from(randomBytes(20))
  serial[0] = (serial[0]! & 0x7f) | 0x40
  return serial
}

function encodeName({ commonName, organization, role }: SubjectName): Uint8Array {
  const attributes = [
    [Oid.commonName, commonName],
    [Oid.organization, organization],
    [Oid.unstructuredName, role],
  ] as const
  return derSequence(
    ...attributes.flatMap(([oid, value]) => {
      if (value === undefined) return []
      if (value === '' || value.length > MAX_NAME_CHARACTERS || !/^[\x20-\x7e]+$/.test(value))
        throw new PkiError(
          'ERR_ISSUE',
          `${JSON.stringify(value)} does not fit into a certificate: 1 to ${MAX_NAME_CHARACTERS} printable ASCII characters are allowed`,
        )
      return [der(DerTag.set, derSequence(derObjectIdentifier(oid), derUtf8(value)))]
    }),
  )
}

function publicKeyInfo(publicKey: KeyObject): Uint8Array {
  return Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }))
}

/** SHA-1 of the key's bits, as RFC 5280 §4.2.1.2 has it: a name for the key, not a protection. */
function keyIdentifier(publicKey: KeyObject): Uint8Array {
  const info = new DerReader(publicKeyInfo(publicKey)).enter(DerTag.sequence)
  info.read(DerTag.sequence)
  const bits = info.read(DerTag.bitString).content.subarray(1)
  return Uint8Array.from(createHash('sha1').update(bits).digest())
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(
    derObjectIdentifier(oid),
    ...(critical ? [der(DerTag.boolean, Uint8Array.of(0xff))] : []),
    der(DerTag.octetString, value),
  )
}

function subjectKeyIdentifier(identifier: Uint8Array): Uint8Array {
  return extension(Oid.subjectKeyIdentifier, false, der(DerTag.octetString, identifier))
}

function authorityKeyIdentifier(identifier: Uint8Array): Uint8Array {
  const value = derSequence(der(contextTag(0, false), identifier))
  return extension(Oid.authorityKeyIdentifier, false, value)
}

const USAGE_BITS: Readonly<Record<KeyUsage, number>> = {
  digitalSignature: 0x80,
  nonRepudiation: 0x40,
  keyEncipherment: 0x20,
  keyCertSign: 0x04,
}

function encodeKeyUsage(usages: readonly KeyUsage[]): Uint8Array {
  const bits = usages.reduce((sum, usage) => sum | USAGE_BITS[usage], 0)
  // DER: trailing zero bits are not sent; their number comes first.
  const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits)
  return der(DerTag.bitString, Uint8Array.of(unused, bits))
}

function subjectAltName(hosts: readonly string[]): Uint8Array {
  const names = hosts.map((host) =>
    isIPv4(host) || isIPv6(host)
      ? der(contextTag(7, false), addressOctets(host))
      : der(contextTag(2, false), new TextEncoder().encode(host)),
  )
  return extension(Oid.subjectAltName, false, derSequence(...names))
}

function addressOctets(address: string): Uint8Array {
  if (isIPv4(address)) return Uint8Array.from(address.split('.').map(Number))
  // The URL parser writes IPv6 with lower-case groups and one "::".
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = '', tail] = groups.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const middle = new Array<string>(8 - left.length - right.length).fill('0')
  const words = [...left, ...middle, ...right].map((group) => Number.parseInt(group, 16))
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]))
}
