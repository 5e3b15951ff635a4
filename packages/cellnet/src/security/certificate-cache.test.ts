import type { AcceptedCertificate } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../test/fake-clock.ts'
import { CertificateCache } from './certificate-cache.ts'

const certificate = (
  commonName: string,
  expiry = Number.MAX_SAFE_INTEGER,
): AcceptedCertificate => ({
  commonName,
  fingerprint: commonName,
  expiry,
})

describe('CertificateCache', () => {
  it('forgets what was used longest ago', () => {
    const cache = new CertificateCache(fakeClock(), { maxEntries: 2, maxAgeMs: 1000 })
    cache.set('a', certificate('a'))
    cache.set('b', certificate('b'))
    cache.get('a')
    cache.set('c', certificate('c'))
    expect(['a', 'b', 'c'].map((name) => cache.get(name)?.commonName)).toEqual([
      'a',
      undefined,
      'c',
    ])
    expect(cache.size).toBe(2)
  })

  it('forgets with age, and when the certificate ends', () => {
    const clock = fakeClock(0)
    const cache = new CertificateCache(clock, { maxEntries: 9, maxAgeMs: 1000 })
    cache.set('old', certificate('old'))
    cache.set('ending', certificate('ending', 500))
    clock.advance(499)
    expect(cache.get('ending')).toBeDefined()
    clock.advance(1)
    expect(cache.get('ending')).toBeUndefined()
    clock.advance(499)
    expect(cache.get('old')).toBeDefined()
    clock.advance(1)
    expect(cache.get('old')).toBeUndefined()
    expect(cache.size).toBe(0)
  })
})
