import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Certificate, parseCertificates } from './certificate.ts'
import { issueLeaf, issueRoot, type LeafRequest } from './issue-certificate.ts'
import { generatePrivateKey, type PrivateKey } from './private-key.ts'
import { verifyChain } from './verify-chain.ts'

const now = Date.parse('2026-12-01T00:00:00Z')
const day = 86_400_000
const read = (path: string) =>
  readFileSync(new URL(`../../../vectors/kits/${path}`, import.meta.url), 'utf8')
const refuses = (code: string) => expect.objectContaining({ name: 'PkiError', code })

let rootKey: PrivateKey
let otherKey: PrivateKey
let leafKey: PrivateKey
let root: Certificate
const window = { notBefore: now - day, notAfter: now + 30 * day }

beforeAll(async () => {
  ;[rootKey, otherKey, leafKey] = await Promise.all([
    generatePrivateKey(),
    generatePrivateKey(),
    generatePrivateKey(),
  ])
  root = issueRoot(rootKey, { commonName: 'league', ...window })
})

function leaf(over: Partial<LeafRequest> = {}): Certificate {
  return issueLeaf(root, rootKey, {
    commonName: 'site-1',
    organization: 'org_a',
    publicKey: leafKey.publicKey,
    hosts: ['site-1'],
    ...window,
    ...over,
  })
}

describe('verifyChain', () => {
  it('accepts stock certificates of the central and of the distributed flow', () => {
    const centralRoot = parseCertificates(read('central/kits/site-ip/startup/rootCA.pem'), 'root')
    const site = parseCertificates(read('central/kits/site-ip/startup/client.crt'), 'client.crt')
    expect(
      verifyChain(site, centralRoot, {
        now,
        commonName: 'site-ip',
        organization: 'org_a',
        usage: 'clientAuth',
      }).commonName,
    ).toBe('site-ip')
    const ca = parseCertificates(read('distributed/ca/rootCA.pem'), 'root')
    const hospital = parseCertificates(
      read('distributed/packaged/kits/hospital-a/startup/client.crt'),
      'client.crt',
    )
    expect(verifyChain(hospital, ca, { now, usage: 'clientAuth' }).keyUsage).toContain(
      'keyEncipherment',
    )
    expect(() => verifyChain(site, ca, { now })).toThrow(refuses('ERR_CERT_OTHER_CA'))
  })

  it('names an expired certificate, one from the future and an expired root', () => {
    expect(() => verifyChain([leaf()], [root], { now: window.notAfter + 1 })).toThrow(
      /certificate of "league" expired on 2026-12-31/,
    )
    const short = leaf({ notAfter: now - 1000 })
    expect(() => verifyChain([short], [root], { now })).toThrow(refuses('ERR_CERT_EXPIRED'))
    const early = leaf({ notBefore: now + day })
    expect(() => verifyChain([early], [root], { now })).toThrow(refuses('ERR_CERT_NOT_YET_VALID'))
  })

  it('refuses another CA, also one of the same name, also when the chain brings it along', () => {
    const stranger = issueRoot(otherKey, { commonName: 'stranger', ...window })
    const impostor = issueRoot(otherKey, { commonName: 'league', ...window })
    const issue = (issuer: Certificate) =>
      issueLeaf(issuer, otherKey, {
        commonName: 'site-1',
        publicKey: leafKey.publicKey,
        hosts: ['site-1'],
        ...window,
      })
    const reasons = (chain: Certificate[]) => () => verifyChain(chain, [root], { now })
    expect(reasons([issue(stranger)])).toThrow(refuses('ERR_CERT_OTHER_CA'))
    expect(reasons([issue(stranger), stranger])).toThrow(refuses('ERR_CERT_OTHER_CA'))
    expect(reasons([issue(impostor)])).toThrow(refuses('ERR_CERT_SIGNATURE'))
    expect(reasons([issue(impostor), impostor])).toThrow(refuses('ERR_CERT_SIGNATURE'))
  })

  it('refuses a participant who issues certificates', () => {
    const participant = leaf()
    // issueLeaf refuses to do this; a forger would not.
    const forged = issueLeaf({ ...participant, isCa: true }, leafKey, {
      commonName: 'server',
      publicKey: otherKey.publicKey,
      hosts: ['server'],
      ...window,
    })
    expect(() => verifyChain([forged, participant], [root], { now })).toThrow(
      refuses('ERR_CERT_NOT_CA'),
    )
  })

  it('refuses the root itself as a participant', () => {
    expect(() => verifyChain([root], [root], { now })).toThrow(refuses('ERR_CERT_IS_CA'))
  })

  it('accepts the root appended to the chain, and one of several roots', () => {
    const older = issueRoot(otherKey, { commonName: 'league', ...window })
    expect(verifyChain([leaf(), root], [older, root], { now }).commonName).toBe('site-1')
  })

  it('refuses another name, organization or role, and names that only look alike', () => {
    const check =
      (requirements: object, over: Partial<LeafRequest> = {}) =>
      () =>
        verifyChain([leaf(over)], [root], { now, ...requirements })
    expect(check({ commonName: 'site-2' })).toThrow(refuses('ERR_CERT_NAME'))
    expect(check({ commonName: 'site-1' }, { commonName: 'Site-1' })).toThrow(
      refuses('ERR_CERT_NAME'),
    )
    expect(check({ commonName: 'site-1' }, { commonName: 'site-1 ' })).toThrow(
      refuses('ERR_CERT_NAME'),
    )
    expect(check({ organization: 'org_b' })).toThrow(refuses('ERR_CERT_ORGANIZATION'))
    expect(check({ role: 'lead' })).toThrow(refuses('ERR_CERT_ROLE'))
    expect(check({ role: 'lead' }, { role: 'lead' })).not.toThrow()
  })

  it('keeps to key usage and extended key usage where they exist', () => {
    const person = leaf({
      profile: {
        keyUsage: ['digitalSignature', 'nonRepudiation'],
        extendedKeyUsage: ['clientAuth'],
        kitMark: { version: 1, type: 'admin' },
      },
    })
    const usage = (certificate: Certificate, use: 'serverAuth' | 'clientAuth') => () =>
      verifyChain([certificate], [root], { now, usage: use })
    expect(usage(person, 'clientAuth')).not.toThrow()
    expect(usage(person, 'serverAuth')).toThrow(refuses('ERR_CERT_USAGE'))
    expect(usage(leaf(), 'serverAuth')).not.toThrow()
    const cannotSign = leaf({
      profile: {
        keyUsage: ['keyEncipherment'],
        extendedKeyUsage: ['serverAuth'],
        kitMark: { version: 1, type: 'server' },
      },
    })
    expect(usage(cannotSign, 'serverAuth')).toThrow(refuses('ERR_CERT_USAGE'))
  })

  it('refuses short RSA keys', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    expect(() => verifyChain([leaf({ publicKey })], [root], { now })).toThrow(
      refuses('ERR_CERT_WEAK'),
    )
  })

  it('refuses empty and overlong chains', () => {
    expect(() => verifyChain([], [root], { now })).toThrow(refuses('ERR_CERT_FORMAT'))
    expect(() => verifyChain(new Array(6).fill(leaf()), [root], { now })).toThrow(
      refuses('ERR_CERT_FORMAT'),
    )
  })
})
