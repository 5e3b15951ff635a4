import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Certificate, parseCertificates } from './certificate.ts'
import { issueLeaf, issueRoot } from './issue-certificate.ts'
import { generatePrivateKey, type PrivateKey, parsePrivateKey } from './private-key.ts'

const kits = new URL('../../../vectors/kits/', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, kits), 'utf8')
const state: Record<string, { cert: string; pri_key: string }> & {
  root_cert: string
  root_pri_key: string
} = JSON.parse(read('central/state/cert.TEST-ONLY.json'))
const rootKey = parsePrivateKey(state.root_pri_key, 'root key')
const [root] = parseCertificates(state.root_cert, 'root') as [Certificate]

const year = 365 * 86_400_000
const serialOf = (certificate: Certificate) => Buffer.from(certificate.serialNumber, 'hex')

describe('certificates of the reference profile', () => {
  it('equal the stock root octet for octet, given its serial number and times', () => {
    const ours = issueRoot(rootKey, {
      commonName: 'kit_reference',
      notBefore: root.notBefore,
      notAfter: root.notAfter,
      serialNumber: serialOf(root),
    })
    expect(ours.pem).toBe(root.pem)
  })

  it.each([
    ['fl-server.example.com', ['localhost', '127.0.0.1', 'fl-int.example.com']],
    ['site-default', ['site-default']],
    ['lead@example.org', ['lead@example.org']],
    ['relay-1a', ['relay-1a']],
  ])('equal the stock leaf of %s octet for octet', (name, hosts) => {
    const [stock] = parseCertificates(state[name]!.cert, name) as [Certificate]
    const ours = issueLeaf(root, rootKey, {
      commonName: name,
      organization: stock.organization,
      role: stock.role,
      publicKey: parsePrivateKey(state[name]!.pri_key, name).publicKey,
      hosts,
      notBefore: stock.notBefore,
      notAfter: stock.notAfter,
      serialNumber: serialOf(stock),
    })
    expect(ours.pem).toBe(stock.pem)
    expect(stock.kitMark).toBeUndefined()
  })
})

describe('certificates of Hanse kits', () => {
  let key: PrivateKey
  beforeAll(async () => {
    key = await generatePrivateKey()
  })
  const now = root.notBefore + 1000
  const leaf = (over: Partial<Parameters<typeof issueLeaf>[2]> = {}) =>
    issueLeaf(root, rootKey, {
      commonName: 'site-1',
      organization: 'org_a',
      publicKey: key.publicKey,
      hosts: ['site-1', '::1', '2001:db8::7', '10.1.2.3'],
      notBefore: now,
      notAfter: now + year,
      profile: {
        keyUsage: ['digitalSignature', 'keyEncipherment'],
        extendedKeyUsage: ['clientAuth', 'serverAuth'],
        kitMark: { version: 1, type: 'site' },
      },
      ...over,
    })

  it('say what they may be used for and that a manifest belongs to their kit', () => {
    const certificate = leaf()
    expect(certificate).toMatchObject({
      commonName: 'site-1',
      organization: 'org_a',
      role: undefined,
      isCa: false,
      keyUsage: new Set(['digitalSignature', 'keyEncipherment']),
      extendedKeyUsage: new Set(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']),
      kitMark: { version: 1, type: 'site' },
      unknownCritical: [],
    })
    const openssl = new X509Certificate(certificate.pem)
    expect(openssl.ca).toBe(false)
    expect(openssl.verify(root.publicKey)).toBe(true)
    expect(openssl.subjectAltName).toBe(
      'DNS:site-1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:0:7, IP Address:10.1.2.3',
    )
  })

  it('never outlive the root', () => {
    expect(leaf({ notAfter: root.notAfter + year }).notAfter).toBe(root.notAfter)
  })

  it('are refused when the root has expired', () => {
    expect(() => leaf({ notBefore: root.notAfter + 1 })).toThrow(
      expect.objectContaining({ code: 'ERR_CERT_EXPIRED' }),
    )
  })

  it.each(['', 'x'.repeat(65), 'a\nb', 'a\u0000b', 'größe'])(
    'are refused for the name %j',
    (commonName) => {
      expect(() => leaf({ commonName })).toThrow(expect.objectContaining({ code: 'ERR_ISSUE' }))
    },
  )

  it('are refused when the issuer is no CA or the key is another', () => {
    expect(() =>
      issueLeaf(leaf(), key, {
        commonName: 'x',
        publicKey: key.publicKey,
        hosts: ['x'],
        notBefore: now,
        notAfter: now + year,
      }),
    ).toThrow(expect.objectContaining({ code: 'ERR_ISSUE' }))
    expect(() =>
      issueLeaf(root, key, {
        commonName: 'x',
        publicKey: key.publicKey,
        hosts: ['x'],
        notBefore: now,
        notAfter: now + year,
      }),
    ).toThrow(expect.objectContaining({ code: 'ERR_ISSUE' }))
  })
})
