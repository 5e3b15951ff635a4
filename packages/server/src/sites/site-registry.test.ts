import type { TokenClaims } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { type SiteAbsence, SiteRegistry, type SiteRegistryEvents } from './site-registry.ts'

const claimsOf = (name: string, nonce = name): TokenClaims => ({
  kind: 'site',
  name,
  cell: name,
  fingerprint: '',
  issuedAt: 0,
  nonce,
  proven: false,
})

function setUp(maxSites = 10, recall: SiteRegistryEvents['recall'] = () => undefined) {
  let now = 0
  const log: string[] = []
  const clock = { now: () => now, setTimer: () => ({ [Symbol.dispose]() {} }) }
  const registry = new SiteRegistry(
    clock,
    {
      recall,
      onPresent: (site) => log.push(`present ${site.name}`),
      onAbsent: (site, why: SiteAbsence) => log.push(`absent ${site.name} ${why}`),
    },
    { maxSites, heartbeatTimeoutMs: 30_000 },
  )
  const enter = (name: string, nonce = name, software = '') =>
    registry.register({
      claims: claimsOf(name, nonce),
      organization: '',
      software,
      siteConfig: '',
    })
  const beat = (name: string, nonce = name) => registry.heartbeat(claimsOf(name, nonce))
  return { registry, log, enter, beat, pass: (ms: number) => (now += ms) }
}

describe('site registry', () => {
  it('lets a newer login of a name end the older one', () => {
    const { registry, log, enter, beat } = setUp()
    enter('a', 'first')
    beat('a', 'first')
    enter('a', 'second')
    beat('a', 'second')
    expect(log).toEqual(['present a', 'absent a restarted', 'present a'])
    expect(registry.objection(claimsOf('a', 'first'))).toMatch(/logged in again/)
    expect(registry.objection(claimsOf('a', 'second'))).toBeUndefined()
  })

  it('knows whether sites may run on the stock package: all but those that say they are Hanse', () => {
    const { registry, enter, beat } = setUp()
    expect(registry.mayRunStock()).toBe(true)
    enter('a', 'first', 'hanse 1.0.0')
    expect(registry.mayRunStock()).toBe(false)
    enter('b', 'first', '2.9.0')
    expect(registry.mayRunStock()).toBe(true)
    enter('b', 'second', 'hanse 1.0.0')
    expect(registry.mayRunStock()).toBe(false)
    // After a restart of the server nothing is known of a site that comes back.
    beat('c')
    expect(registry.mayRunStock()).toBe(true)
  })

  it('knows a site again by its token after a restart of the server', () => {
    const { registry, log, beat } = setUp()
    expect(beat('a')).toBeUndefined()
    expect(log).toEqual(['present a'])
    expect(registry.get('a')?.connected).toBe(true)
  })

  it('refuses a heartbeat with the token of a login that has ended', () => {
    const { enter, beat } = setUp()
    enter('a', 'second')
    expect(beat('a', 'first')).toBe('Client ID already registered as a client: a')
  })

  it('tells a lost link at once, the return at the next heartbeat, and death after the time-out', () => {
    const { registry, log, enter, beat, pass } = setUp()
    enter('a')
    beat('a')
    registry.linkLost('a')
    registry.linkLost('a')
    expect(registry.online()).toHaveLength(0)
    beat('a')
    pass(29_000)
    registry.sweep()
    pass(2_000)
    registry.sweep()
    expect(log).toEqual([
      'present a',
      'absent a connection-lost',
      'present a',
      'absent a heartbeat-missed',
    ])
    expect(registry.list()).toHaveLength(0)
  })

  it('keeps a disabled name out by login, heartbeat and message, until it is enabled', () => {
    const { registry, enter, beat } = setUp()
    enter('a')
    registry.disable('a')
    expect(registry.refusal('a')).toMatch(/disabled/)
    expect(beat('a')).toMatch(/disabled/)
    expect(registry.objection(claimsOf('a'))).toMatch(/disabled/)
    registry.enable('a')
    expect(beat('a')).toBeUndefined()
  })

  it('keeps a name out as long as there is one reason to', () => {
    const { registry, log, enter } = setUp()
    enter('a')
    expect(registry.disable('a')).toBe(true)
    expect(registry.disable('a', 'revoked')).toBe(false)
    registry.enable('a', 'revoked')
    expect(registry.refusal('a')).toMatch(/disabled/)
    registry.enable('a')
    expect(registry.refusal('a')).toBeUndefined()
    expect(log).toEqual(['absent a disabled'])
  })

  it('knows again what a site said before the server was restarted, by its certificate', () => {
    const { registry, beat } = setUp(10, (name, fingerprint) =>
      name === 'a' && fingerprint === ''
        ? { name, fingerprint, organization: 'clinic', software: 'hanse 1', siteConfig: '{}' }
        : undefined,
    )
    beat('a')
    expect(registry.get('a')).toMatchObject({ organization: 'clinic', software: 'hanse 1' })
    beat('b')
    expect(registry.get('b')).toMatchObject({ organization: '', software: '' })
  })

  it('gives a site no job before its first heartbeat: only then does it answer commands', () => {
    const { registry, log, enter, beat } = setUp()
    enter('a')
    expect(registry.online()).toHaveLength(0)
    expect(registry.get('a')?.connected).toBe(false)
    expect(log).toEqual([])
    beat('a')
    expect(registry.online().map(({ name }) => name)).toEqual(['a'])
    expect(log).toEqual(['present a'])
  })

  it('takes no more sites than it may', () => {
    const { registry, enter } = setUp(1)
    enter('a')
    expect(registry.refusal('b')).toMatch(/Maximum/)
    expect(registry.refusal('a')).toBeUndefined()
  })
})
