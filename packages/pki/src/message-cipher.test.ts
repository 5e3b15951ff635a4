import { readFileSync } from 'node:fs'
import type { Clock } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCertificates } from './certificate.ts'
import { loadIdentity } from './identity.ts'
import { issueLeaf, issueRoot } from './issue-certificate.ts'
import { createMessageCipher } from './message-cipher.ts'
import { generatePrivateKey } from './private-key.ts'

const vector: {
  root_ca_pem: string
  identities: Record<string, { cert_pem: string; key_pem: string }>
  messages: { name: string; from: string; to: string; cipher_hex: string; plain_hex: string }[]
} = JSON.parse(readFileSync(new URL('../../../vectors/cell_cipher.json', import.meta.url), 'utf8'))

const start = Date.parse('2026-12-01T00:00:00Z')
function movableClock() {
  let now = start
  return {
    now: () => now,
    setTimer: () => ({ [Symbol.dispose]() {} }),
    advance(ms: number) {
      now += ms
    },
  } satisfies Clock & { advance(ms: number): void }
}

function cipherOf(name: string, clock = movableClock(), options = {}) {
  const { cert_pem, key_pem } = vector.identities[name]!
  const identity = loadIdentity(
    { cert: cert_pem, key: key_pem, root: vector.root_ca_pem },
    { now: start },
  )
  return createMessageCipher({ identity, clock }, options)
}

const certificateOf = (name: string) => vector.identities[name]!.cert_pem
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const wrappedKey = (envelope: Uint8Array) => hex(envelope.subarray(13, 269))
const refuses = (code: string) => expect.objectContaining({ name: 'CipherError', code })

describe('createMessageCipher', () => {
  it.each(vector.messages)('opens what stock sealed: $name', async ({ from, to, ...message }) => {
    const receiver = cipherOf(to)
    const sender = await receiver.accept(certificateOf(from), from)
    const plaintext = await receiver.open(Buffer.from(message.cipher_hex, 'hex'), sender)
    expect(hex(plaintext)).toBe(message.plain_hex)
  })

  it('seals so that the other side opens, whatever the parts', async () => {
    const site = cipherOf('site-1')
    const server = cipherOf('server')
    const toServer = await site.accept(server.certificates.chain, 'server')
    const fromSite = await server.accept(site.certificates.chain, 'site-1')
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }),
        async (parts) => {
          const envelope = await site.seal(parts, toServer)
          const whole = Buffer.concat(parts)
          expect(envelope.length).toBe(525 + whole.length + 16)
          expect(hex(await server.open(envelope, fromSite))).toBe(whole.toString('hex'))
        },
      ),
      { numRuns: 25 },
    )
  })

  it('refuses every changed octet with an error of its own, never with a plaintext', async () => {
    const server = cipherOf('server')
    const sender = await server.accept(certificateOf('site-1'), 'site-1')
    const envelope = Buffer.from(vector.messages[0]!.cipher_hex, 'hex')
    await fc.assert(
      fc.asyncProperty(
        fc.nat(envelope.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, mask) => {
          const changed = Uint8Array.from(envelope)
          changed[at]! ^= mask
          await expect(server.open(changed, sender)).rejects.toThrow(
            refuses(at === 0 ? 'ERR_ENVELOPE_FORMAT' : 'ERR_ENVELOPE_SIGNATURE'),
          )
        },
      ),
      { numRuns: 40 },
    )
    await expect(server.open(envelope.subarray(0, 540), sender)).rejects.toThrow(
      refuses('ERR_ENVELOPE_FORMAT'),
    )
  })

  it('does not open what was sealed for another, though its sender signed it', async () => {
    const site = cipherOf('site-1')
    const own = await site.accept(site.certificates.chain, 'site-1')
    const server = cipherOf('server')
    const sender = await server.accept(site.certificates.chain, 'site-1')
    await expect(server.open(await site.seal([], own), sender)).rejects.toThrow(
      refuses('ERR_ENVELOPE_DECRYPT'),
    )
  })

  it('renews the key of a receiver by age and by amount', async () => {
    const clock = movableClock()
    const site = cipherOf('site-1', clock, { maxKeyBytes: 100 })
    const receiver = await site.accept(certificateOf('server'), 'server')
    const seal = async (bytes: number) =>
      wrappedKey(await site.seal([new Uint8Array(bytes)], receiver))
    const first = await seal(60)
    expect(await seal(40)).toBe(first)
    const second = await seal(1)
    expect(second).not.toBe(first)
    clock.advance(3_599_999)
    expect(await seal(1)).toBe(second)
    clock.advance(1)
    expect(await seal(1)).not.toBe(second)
  })

  it('takes only certificates that it accepted itself and that are still valid', async () => {
    const clock = movableClock()
    const site = cipherOf('site-1', clock)
    const receiver = await cipherOf('server').accept(certificateOf('server'), 'server')
    await expect(site.seal([], receiver)).rejects.toThrow(refuses('ERR_CERTIFICATE_UNKNOWN'))
    const mine = await site.accept(certificateOf('server'), undefined)
    clock.advance(mine.expiry - start + 1)
    await expect(site.seal([], mine)).rejects.toThrow(refuses('ERR_CERTIFICATE_EXPIRED'))
    await expect(site.accept(certificateOf('server'), undefined)).rejects.toThrow(
      refuses('ERR_CERTIFICATE_EXPIRED'),
    )
  })

  it('refuses other names, other roots, long keys and unreadable chains', async () => {
    const site = cipherOf('site-1')
    const chain = certificateOf('server')
    await expect(site.accept(chain, 'site-2')).rejects.toThrow(refuses('ERR_CERTIFICATE_NAME'))
    await expect(site.accept('x', 'server')).rejects.toThrow(refuses('ERR_CERTIFICATE_FORMAT'))
    const times = { notBefore: start - 1000, notAfter: start + 1e9 }
    const key = await generatePrivateKey()
    const stranger = issueRoot(key, { commonName: 'test-root', ...times })
    const forged = issueLeaf(stranger, key, {
      commonName: 'server',
      publicKey: parseCertificates(chain, 'server')[0]!.publicKey,
      hosts: ['server'],
      ...times,
    })
    await expect(site.accept(forged.pem + stranger.pem, 'server')).rejects.toThrow(
      refuses('ERR_CERTIFICATE_UNTRUSTED'),
    )
    const long = await generatePrivateKey(3072)
    const leaf = issueLeaf(stranger, key, {
      commonName: 'big',
      publicKey: long.publicKey,
      hosts: ['big'],
      ...times,
    })
    expect(() =>
      createMessageCipher({
        clock: movableClock(),
        identity: loadIdentity(
          { cert: leaf.pem, key: long.exportPem(), root: stranger.pem },
          { now: start },
        ),
      }),
    ).toThrow(refuses('ERR_CERTIFICATE_KEY'))
  })

  it('forgets the oldest certificates when too many were accepted', async () => {
    const site = cipherOf('site-1', movableClock(), { maxCached: 1 })
    const first = await site.accept(certificateOf('server'), 'server')
    await site.accept(certificateOf('site-1'), 'site-1')
    await expect(site.seal([], first)).rejects.toThrow(refuses('ERR_CERTIFICATE_UNKNOWN'))
  })
})
