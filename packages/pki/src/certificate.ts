import { type KeyObject, X509Certificate } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import {
  contextTag,
  type DerElement,
  DerReader,
  DerTag,
  readDirectoryString,
  readObjectIdentifier,
} from './der.ts'
import { sha256Hex } from './fingerprint.ts'
import { type KitMark, parseKitMark } from './kit-mark.ts'
import { Oid } from './object-identifiers.ts'
import { parsePem, toPem } from './pem.ts'
import { PkiError } from './pki-error.ts'

export type KeyUsage = 'digitalSignature' | 'nonRepudiation' | 'keyEncipherment' | 'keyCertSign'

/** What a certificate may be used for at the far end of a TLS or login exchange. */
export type ExtendedKeyUsage = 'serverAuth' | 'clientAuth'

/** One X.509 certificate, read once and strictly. Nothing in it is verified yet: see `verifyChain`. */
export interface Certificate {
  readonly der: Uint8Array
  readonly pem: string
  /** SHA-256 of the DER, lower-case hexadecimal. */
  readonly fingerprint: string
  /** Lower-case hexadecimal without leading zeros. */
  readonly serialNumber: string
  /** DER of the names: issuer and subject of a link are compared octet by octet. */
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  readonly commonName: string | undefined
  readonly organization: string | undefined
  /** A person's role; sites and servers have none in the central flow (`spec/provision.md` §4). */
  readonly role: string | undefined
  /** Ms since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
  readonly publicKey: KeyObject
  readonly signatureAlgorithm: string
  readonly isCa: boolean
  /** Greatest number of further CA certificates below this one; `undefined` is unlimited. */
  readonly pathLength: number | undefined
  /** `undefined`: the extension is absent and restricts nothing. */
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined
  /** Object identifiers; `undefined`: the extension is absent and restricts nothing. */
  readonly extendedKeyUsage: ReadonlySet<string> | undefined
  /** `DNS:localhost`, `IP:127.0.0.1`; other kinds of names are left out. */
  readonly subjectAltNames: readonly string[]
  readonly subjectKeyIdentifier: Uint8Array | undefined
  /** Present on certificates of Hanse kits: their kit has a signed manifest. */
  readonly kitMark: KitMark | undefined
  /** Object identifiers of critical extensions that this reader does not understand. */
  readonly unknownCritical: readonly string[]
  /** True if `issuerKey` made the signature; says nothing about names, time or usage. */
  isSignedBy(issuerKey: KeyObject): boolean
}

/**
 * Reads every certificate of a PEM text, leaf first by convention.
 * @param what names the text in errors, e.g. `client.crt`
 * @throws {PkiError} `ERR_PEM_FORMAT` (also for none, more than `limit`, or a block of another kind), `ERR_CERT_FORMAT`
 */
export function parseCertificates(pem: string, what: string, limit = 8): readonly Certificate[] {
  const blocks = parsePem(pem, what)
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE')
  if (other !== undefined)
    throw new PkiError(
      'ERR_PEM_FORMAT',
      `${what} has a block "${other.label}"; only certificates belong there`,
    )
  if (blocks.length === 0 || blocks.length > limit)
    throw new PkiError(
      'ERR_PEM_FORMAT',
      `${what} has ${blocks.length} certificates; 1 to ${limit} are allowed`,
      { certificates: blocks.length, limit },
    )
  return blocks.map(({ bytes }) => parseCertificate(bytes))
}

/**
 * Reads one certificate from DER.
 * @param der copied
 * @throws {PkiError} `ERR_CERT_FORMAT`
 */
export function parseCertificate(der: Uint8Array): Certificate {
  const bytes = Uint8Array.from(der)
  let x509: X509Certificate
  let publicKey: KeyObject
  try {
    x509 = new X509Certificate(bytes)
    publicKey = x509.publicKey
  } catch (cause) {
    throw new PkiError('ERR_CERT_FORMAT', 'the certificate cannot be read', {}, { cause })
  }
  const outer = new DerReader(bytes)
  const certificate = outer.enter(DerTag.sequence)
  outer.end()
  const body = certificate.enter(DerTag.sequence)
  const outerAlgorithm = certificate.read(DerTag.sequence)
  certificate.read(DerTag.bitString)
  certificate.end()

  if (body.nextTag === contextTag(0, true)) body.read() // version
  const serial = body.read(DerTag.integer).content
  const innerAlgorithm = body.read(DerTag.sequence)
  const issuer = body.read(DerTag.sequence)
  body.read(DerTag.sequence) // validity, read by Node
  const subject = body.read(DerTag.sequence)
  body.read(DerTag.sequence) // public key, read by Node
  let extensions: ReadonlyMap<string, Extension> = new Map()
  while (!body.done) {
    const element = body.read()
    if (element.tag === contextTag(3, true)) extensions = readExtensions(element)
  }
  if (Buffer.compare(outerAlgorithm.encoded, innerAlgorithm.encoded) !== 0)
    throw new PkiError('ERR_CERT_FORMAT', 'the certificate names two signature algorithms')

  const names = readSubject(subject.content)
  const constraints = readBasicConstraints(extensions.get(Oid.basicConstraints))
  const keyIdentifier = extensions.get(Oid.subjectKeyIdentifier)
  const kitMark = extensions.get(Oid.hanseKit)
  return {
    der: bytes,
    pem: toPem('CERTIFICATE', bytes),
    fingerprint: sha256Hex(bytes),
    serialNumber: Buffer.from(serial)
      .toString('hex')
      .replace(/^0+(?=.)/, ''),
    subject: subject.encoded,
    issuer: issuer.encoded,
    commonName: names.get(Oid.commonName),
    organization: names.get(Oid.organization),
    role: names.get(Oid.unstructuredName),
    notBefore: x509.validFromDate.getTime(),
    notAfter: x509.validToDate.getTime(),
    publicKey,
    signatureAlgorithm: readObjectIdentifier(
      new DerReader(innerAlgorithm.content).read(DerTag.objectIdentifier).content,
    ),
    isCa: constraints.isCa,
    pathLength: constraints.pathLength,
    keyUsage: readKeyUsage(extensions.get(Oid.keyUsage)),
    extendedKeyUsage: readExtendedKeyUsage(extensions.get(Oid.extendedKeyUsage)),
    subjectAltNames: readSubjectAltNames(extensions.get(Oid.subjectAltName)),
    subjectKeyIdentifier:
      keyIdentifier && new DerReader(keyIdentifier.value).read(DerTag.octetString).content,
    kitMark: kitMark && parseKitMark(kitMark.value),
    unknownCritical: [...extensions]
      .filter(([oid, { critical }]) => critical && !UNDERSTOOD.has(oid))
      .map(([oid]) => oid),
    isSignedBy(issuerKey) {
      try {
        return x509.verify(issuerKey)
      } catch {
        return false // a key of another kind than the signature
      }
    },
  }
}

interface Extension {
  readonly critical: boolean
  readonly value: Uint8Array
}

const UNDERSTOOD: ReadonlySet<string> = new Set([
  Oid.basicConstraints,
  Oid.keyUsage,
  Oid.extendedKeyUsage,
  Oid.subjectAltName,
  Oid.subjectKeyIdentifier,
  Oid.authorityKeyIdentifier,
  Oid.hanseKit,
])

function readExtensions(element: DerElement): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>()
  const wrapper = new DerReader(element.content)
  const list = wrapper.enter(DerTag.sequence)
  wrapper.end()
  while (!list.done) {
    const extension = list.enter(DerTag.sequence)
    const oid = readObjectIdentifier(extension.read(DerTag.objectIdentifier).content)
    let critical = false
    if (extension.nextTag === DerTag.boolean) critical = extension.read().content[0] !== 0
    const value = extension.read(DerTag.octetString).content
    extension.end()
    if (extensions.has(oid))
      throw new PkiError('ERR_CERT_FORMAT', `the certificate has extension ${oid} twice`)
    extensions.set(oid, { critical, value })
  }
  return extensions
}

const NAME_ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  [Oid.commonName, 'common name'],
  [Oid.organization, 'organization'],
  [Oid.unstructuredName, 'role'],
])

/** Each attribute that identity depends on may stand once only, in a type that reads one way only. */
function readSubject(content: Uint8Array): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  const rdns = new DerReader(content)
  while (!rdns.done) {
    const rdn = rdns.enter(DerTag.set)
    while (!rdn.done) {
      const attribute = rdn.enter(DerTag.sequence)
      const oid = readObjectIdentifier(attribute.read(DerTag.objectIdentifier).content)
      const value = attribute.read()
      attribute.end()
      const label = NAME_ATTRIBUTES.get(oid)
      if (label === undefined) continue
      const text = readDirectoryString(value)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a NUL in a name has fooled other readers
      if (text === undefined || text === '' || /[\u0000-\u001f\u007f]/.test(text))
        throw new PkiError('ERR_CERT_FORMAT', `the certificate's ${label} is not plain text`)
      if (names.has(oid))
        throw new PkiError('ERR_CERT_FORMAT', `the certificate has more than one ${label}`)
      names.set(oid, text)
    }
  }
  return names
}

function readBasicConstraints(extension: Extension | undefined): {
  isCa: boolean
  pathLength: number | undefined
} {
  if (extension === undefined) return { isCa: false, pathLength: undefined }
  const reader = new DerReader(extension.value).enter(DerTag.sequence)
  let isCa = false
  let pathLength: number | undefined
  if (reader.nextTag === DerTag.boolean) isCa = reader.read().content[0] !== 0
  if (reader.nextTag === DerTag.integer) {
    const { content } = reader.read()
    // More than one octet, or negative: longer than any chain that we accept, or nonsense.
    pathLength = content.length === 1 && content[0]! < 0x80 ? content[0]! : 0
  }
  reader.end()
  return { isCa, pathLength }
}

/** Names of the bits in the first octet, highest bit first (RFC 5280 §4.2.1.3). */
const KEY_USAGE_BITS: readonly (readonly [mask: number, usage: KeyUsage])[] = [
  [0x80, 'digitalSignature'],
  [0x40, 'nonRepudiation'],
  [0x20, 'keyEncipherment'],
  [0x04, 'keyCertSign'],
]

function readKeyUsage(extension: Extension | undefined): ReadonlySet<KeyUsage> | undefined {
  if (extension === undefined) return undefined
  const bits = new DerReader(extension.value).read(DerTag.bitString).content[1] ?? 0
  return new Set(KEY_USAGE_BITS.filter(([mask]) => (bits & mask) !== 0).map(([, usage]) => usage))
}

function readExtendedKeyUsage(extension: Extension | undefined): ReadonlySet<string> | undefined {
  if (extension === undefined) return undefined
  const usages = new Set<string>()
  const reader = new DerReader(extension.value).enter(DerTag.sequence)
  while (!reader.done)
    usages.add(readObjectIdentifier(reader.read(DerTag.objectIdentifier).content))
  return usages
}

function readSubjectAltNames(extension: Extension | undefined): readonly string[] {
  if (extension === undefined) return []
  const names: string[] = []
  const reader = new DerReader(extension.value).enter(DerTag.sequence)
  while (!reader.done) {
    const { tag, content } = reader.read()
    if (tag === contextTag(2, false)) names.push(`DNS:${String.fromCharCode(...content)}`)
    else if (tag === contextTag(7, false)) names.push(`IP:${formatAddress(content)}`)
  }
  return names
}

function formatAddress(octets: Uint8Array): string {
  const groups =
    octets.length === 4
      ? [...octets].join('.')
      : (Buffer.from(octets).toString('hex').match(/.{4}/g) ?? []).join(':')
  return isIPv4(groups) || isIPv6(groups) ? groups : Buffer.from(octets).toString('hex')
}
