import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCertificates } from './certificate.ts'
import { loadIdentity } from './identity.ts'
import { generatePrivateKey, parsePrivateKey } from './private-key.ts'
import { signToken, verifySignature, verifyText, verifyToken } from './signature.ts'

const read = (path: string) =>
  readFileSync(new URL(`../../../vectors/kits/${path}`, import.meta.url), 'utf8')
const now = Date.parse('2026-12-01T00:00:00Z')
const startup = 'central/kits/site-default/startup'
const keyPem = read('test-keys/TEST-ONLY-central-site-default-client.key')
const texts = {
  cert: read(`${startup}/client.crt`),
  key: keyPem,
  root: read(`${startup}/rootCA.pem`),
}
const secretPart = keyPem.split('\n')[5]!

describe('signatures', () => {
  it('accepts the signature that stock made, and no other text or key', () => {
    const vector = JSON.parse(read('signed-folders/primitive.json'))
    const { publicKey } = parseCertificates(read(vector.cert), 'root')[0]!
    expect(verifyText(publicKey, vector.text, vector.signature_b64)).toBe(true)
    expect(verifyToken(publicKey, 'site-1', 'token-abc', vector.signature_b64)).toBe(true)
    expect(verifyText(publicKey, `${vector.text}.`, vector.signature_b64)).toBe(false)
    const other = loadIdentity(texts, { now }).certificate.publicKey
    expect(verifyText(other, vector.text, vector.signature_b64)).toBe(false)
  })

  it('verifies what it signed, text and octets, and nothing that was changed', async () => {
    const key = await generatePrivateKey()
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), fc.nat(7), (text, at, bit) => {
        const signature = key.sign(text)
        expect(verifySignature(key.publicKey, Buffer.from(text), signature)).toBe(true)
        const index = at % signature.length
        signature[index] = signature[index]! ^ (1 << bit)
        expect(verifySignature(key.publicKey, text, signature)).toBe(false)
      }),
      { numRuns: 20 },
    )
    const token = signToken(key, 'site-1', 'token')
    expect(verifyToken(key.publicKey, 'site-1', 'token', token)).toBe(true)
    for (const damaged of [
      '',
      'NA',
      `${token}\n`,
      token.slice(0, -1),
      token.replace(/..==$/, 'x=='),
    ])
      expect(verifyText(key.publicKey, 'site-1token', damaged)).toBe(false)
  })

  it('uses the longest salt and refuses a shorter one', async () => {
    const { constants, sign } = await import('node:crypto')
    const key = await generatePrivateKey()
    const short = sign('sha256', Buffer.from('x'), {
      key: key.exportPem(),
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 32,
    })
    expect(verifySignature(key.publicKey, 'x', short)).toBe(false)
  })
})

describe('PrivateKey', () => {
  it('never shows in logs, errors or JSON', () => {
    const key = parsePrivateKey(keyPem, 'client.key')
    const identity = loadIdentity(texts, { now })
    for (const value of [key, identity, identity.tls, { nested: identity }, [identity.tls]])
      for (const text of [inspect(value, { depth: 9 }), JSON.stringify(value), `${value}`]) {
        expect(text).not.toContain('PRIVATE')
        expect(text).not.toContain(secretPart)
      }
    expect(inspect(key)).toBe('[redacted]')
    expect(identity.tls.key).toContain('BEGIN RSA PRIVATE KEY')
  })

  it('derives secrets that are stable, differ by purpose and by key', async () => {
    const key = parsePrivateKey(keyPem, 'client.key')
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    expect(hex(key.deriveSecret('tokens'))).toBe(
      hex(parsePrivateKey(keyPem, 'again').deriveSecret('tokens')),
    )
    expect(hex(key.deriveSecret('tokens'))).not.toBe(hex(key.deriveSecret('cookies')))
    expect(hex(key.deriveSecret('tokens'))).not.toBe(
      hex((await generatePrivateKey()).deriveSecret('tokens')),
    )
    expect(key.deriveSecret('tokens', 48)).toHaveLength(48)
  })

  it.each([
    ['garbage', 'ERR_PEM_FORMAT', 'x'],
    [
      'a damaged key',
      'ERR_KEY_FORMAT',
      keyPem.replace(secretPart, secretPart.split('').reverse().join('')),
    ],
    ['two keys', 'ERR_PEM_FORMAT', keyPem + keyPem],
    ['a certificate', 'ERR_KEY_FORMAT', texts.cert],
  ])('refuses %s without quoting it', (_what, code, text) => {
    try {
      parsePrivateKey(text, 'client.key')
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code })
      expect(inspect(error, { depth: 9 })).not.toContain(secretPart)
    }
  })

  it('writes the form that kits carry', () => {
    expect(parsePrivateKey(keyPem, 'client.key').exportPem()).toBe(keyPem)
  })
})

describe('loadIdentity', () => {
  it('refuses a key of another kit', () => {
    const key = read('test-keys/TEST-ONLY-central-site-ip-client.key')
    expect(() => loadIdentity({ ...texts, key }, { now })).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_MISMATCH' }),
    )
  })

  it('reads name, organization and what TLS needs', () => {
    expect(loadIdentity({ ...texts, cert: texts.cert + texts.root }, { now })).toMatchObject({
      name: 'site-default',
      organization: 'org_a',
      role: undefined,
      chainPem: texts.cert,
      tls: { ca: texts.root, cert: texts.cert, key: keyPem },
    })
  })
})
