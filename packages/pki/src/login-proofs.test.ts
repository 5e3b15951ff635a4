import { describe, expect, it } from 'vitest'
import { loadIdentity } from './identity.ts'
import { issueLeaf, issueRoot, type LeafProfile } from './issue-certificate.ts'
import { type LoginClaim, loginSigner, loginVerifier, tokenMac } from './login-proofs.ts'
import { generatePrivateKey } from './private-key.ts'

const start = Date.parse('2026-12-01T00:00:00Z')
const clock = { now: () => start, setTimer: () => ({ [Symbol.dispose]() {} }) }
const times = { notBefore: start - 1000, notAfter: start + 1e9 }
const rootKey = await generatePrivateKey()
const root = issueRoot(rootKey, { commonName: 'league', ...times })

async function identityOf(name: string, usage: LeafProfile['extendedKeyUsage'], role?: string) {
  const key = await generatePrivateKey()
  const leaf = issueLeaf(root, rootKey, {
    commonName: name,
    organization: 'org_a',
    role,
    publicKey: key.publicKey,
    hosts: [name],
    ...times,
    profile: {
      keyUsage: ['digitalSignature'],
      extendedKeyUsage: usage,
      kitMark: { version: 1, type: 'site' },
    },
  })
  return loadIdentity({ cert: leaf.pem, key: key.exportPem(), root: root.pem }, { now: start })
}
const lead = await identityOf('lead@example.org', ['clientAuth'], 'lead')
const site = await identityOf('site-1', ['clientAuth'])

const signed = new TextEncoder().encode('lead@example.org and a nonce')
const signer = loginSigner(lead)
const claim = (over: Partial<LoginClaim> = {}): LoginClaim => ({
  certificateChain: signer.certificateChain,
  expectedName: 'lead@example.org',
  usage: 'client',
  signed,
  signature: signer.sign(signed),
  ...over,
})
const refuses = (code: string) => expect.objectContaining({ name: 'PkiError', code })

describe('login proofs', () => {
  const verifier = loginVerifier(site, clock)

  it('tell who the holder is', () => {
    expect(verifier.verify(claim())).toEqual({
      name: 'lead@example.org',
      organization: 'org_a',
      role: 'lead',
      fingerprint: lead.certificate.fingerprint,
    })
  })

  it.each(['client', 'Server', 'relay'])(
    'take the kind %s for no role of a person',
    async (kind) => {
      const place = await identityOf('site-2', ['clientAuth'], kind)
      const { certificateChain, sign } = loginSigner(place)
      const given = { certificateChain, expectedName: 'site-2', signature: sign(signed) }
      expect(verifier.verify(claim(given))).toMatchObject({ name: 'site-2', role: '' })
    },
  )

  it.each<[string, string, () => Partial<LoginClaim>]>([
    ['another name', 'ERR_CERT_NAME', () => ({ expectedName: 'admin@example.org' })],
    ['use as a server', 'ERR_CERT_USAGE', () => ({ usage: 'server' })],
    ['another text', 'ERR_SIGNATURE', () => ({ signed: new Uint8Array(3) })],
    ['a signature of somebody else', 'ERR_SIGNATURE', () => ({ signature: site.key.sign(signed) })],
    [
      'the certificate of somebody else',
      'ERR_CERT_NAME',
      () => ({ certificateChain: site.chainPem }),
    ],
    ['no certificate', 'ERR_PEM_FORMAT', () => ({ certificateChain: '' })],
  ])('refuse %s', (_what, code, over) => {
    expect(() => verifier.verify(claim(over()))).toThrow(refuses(code))
  })

  it('give codes over tokens that only this key makes', () => {
    const code = (identity: typeof lead) =>
      Buffer.from(tokenMac(identity.key).mac(signed)).toString('hex')
    expect(code(lead)).toBe(code(lead))
    expect(code(lead)).not.toBe(code(site))
    expect(code(lead)).toHaveLength(64)
  })
})
