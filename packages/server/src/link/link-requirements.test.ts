import type { PeerLink } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { linkObjection } from './link-requirements.ts'

const linkOf = (active: boolean, tlsVersion?: string, keyExchange?: string) =>
  ({
    proofs: { active, report: { keyExchange } },
    connection: { info: { tlsVersion } },
  }) as PeerLink

const NOTHING = { messageProofs: false, tls13: false, postQuantum: false }

describe('a league that asks', () => {
  it('for nothing takes every link', () => {
    expect(linkObjection(linkOf(false), NOTHING)).toBeUndefined()
    expect(linkObjection(undefined, NOTHING)).toBeUndefined()
  })

  it('for message proofs turns away who has none', () => {
    const require = { ...NOTHING, messageProofs: true }
    expect(linkObjection(linkOf(true), require)).toBeUndefined()
    expect(linkObjection(linkOf(false), require)).toMatch(/every message proves/)
    expect(linkObjection(undefined, require)).toMatch(/every message proves/)
  })

  it('for TLS 1.3 turns away what has less', () => {
    const require = { ...NOTHING, tls13: true }
    expect(linkObjection(linkOf(false, 'TLSv1.3'), require)).toBeUndefined()
    expect(linkObjection(linkOf(false, 'TLSv1.2'), require)).toMatch(/has TLSv1.2/)
    expect(linkObjection(linkOf(true), require)).toMatch(/no TLS that ends at the server/)
  })

  it('for a post-quantum key exchange turns away what does not report one', () => {
    const require = { ...NOTHING, postQuantum: true }
    expect(linkObjection(linkOf(true, 'TLSv1.3', 'X25519MLKEM768'), require)).toBeUndefined()
    expect(linkObjection(linkOf(true, 'TLSv1.3', 'X25519'), require)).toMatch(/has X25519/)
    expect(linkObjection(linkOf(false, 'TLSv1.3'), require)).toMatch(/reports none/)
  })
})
