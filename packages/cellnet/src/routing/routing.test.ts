import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createNameResolver } from '../security/name-resolver.ts'
import { fqcnFault, isAdminName, parseFqcn } from './fqcn.ts'
import { nextHop, type RouteQuery } from './next-hop.ts'
import { mayOriginate } from './peer-table.ts'

describe('cell names', () => {
  it.each([
    ['', 'empty'],
    ['a..b', 'empty part'],
    ['.a', 'empty part'],
    ['a.b.a', "dup 'a'"],
    ['a b', 'invalid char'],
    ['a/b', 'invalid char'],
    ['ä', 'invalid char'],
    ['a\n', 'invalid char'],
    ['x'.repeat(513), 'longer than 512 characters'],
  ])('are refused: %j', (name, fault) => {
    expect(fqcnFault(name)).toBe(fault)
  })

  it('are trimmed before they are checked', () => {
    expect(parseFqcn('  site-1.3f~_x  ')).toBe('site-1.3f~_x')
    expect(() => parseFqcn('a.')).toThrow(expect.objectContaining({ code: 'ERR_FQCN' }))
  })

  it('of admins are the prefix and a UUID version 4, nothing near it', () => {
    expect(isAdminName('_admin_3778b489-d73a-42ed-a3aa-e68ae97468d8')).toBe(true)
    expect(isAdminName('_admin_3778b489-d73a-12ed-a3aa-e68ae97468d8')).toBe(false)
    expect(isAdminName('_admin_x')).toBe(false)
    expect(isAdminName('_admin_3778b489-d73a-42ed-a3aa-e68ae97468d8.x')).toBe(false)
  })
})

interface Case {
  readonly name: string
  readonly self: string
  readonly to: string
  readonly peers: readonly string[]
  readonly hop: string | undefined
  readonly transit?: boolean
  readonly route?: readonly string[]
  readonly from?: string
}

describe('nextHop', () => {
  it.each<Case>([
    { name: 'a peer', self: 'site-1', to: 'site-2', peers: ['server', 'site-2'], hop: 'site-2' },
    { name: 'through the server', self: 'site-1', to: 'site-2', peers: ['server'], hop: 'server' },
    { name: 'a job of a site', self: 'server', to: 'site-1.j', peers: ['site-1'], hop: 'site-1' },
    {
      name: 'the longest prefix',
      self: 'server',
      to: 'r.s.j',
      peers: ['r', 'r.s'],
      hop: 'r.s',
    },
    {
      name: 'a child that is gone',
      self: 'site-1',
      to: 'site-1.j',
      peers: ['server'],
      hop: undefined,
    },
    {
      name: 'below a child that is gone: no detour over the server',
      self: 'r',
      to: 'r.s.j',
      peers: ['server'],
      hop: undefined,
    },
    { name: 'down to a grandchild', self: 'r', to: 'r.s.j', peers: ['r.s'], hop: 'r.s' },
    {
      name: 'a cousin over the parent',
      self: 'r.a',
      to: 'r.b',
      peers: ['r', 'server'],
      hop: 'r',
    },
    {
      name: 'an ancestor without parent, over the server',
      self: 'site-1.j',
      to: 'site-1',
      peers: ['server'],
      hop: 'server',
    },
    { name: 'up from a job', self: 'site-1.j', to: 'site-2', peers: ['site-1'], hop: 'site-1' },
    { name: 'nowhere', self: 'server', to: 'site-9', peers: ['site-1'], hop: undefined },
    {
      name: 'across the server, though a direct link is there',
      self: 'site-1',
      to: 'site-2',
      peers: ['site-2', 'server'],
      transit: true,
      hop: 'server',
    },
    {
      name: 'across the server over the nearest ancestor',
      self: 'r.s.j',
      to: 'site-2',
      peers: ['r', 'site-2'],
      transit: true,
      hop: 'r',
    },
    {
      name: 'down again after the server',
      self: 'site-2',
      to: 'site-2.j',
      peers: ['site-2.j', 'server'],
      transit: true,
      route: ['site-1.j', 'site-1', 'server'],
      from: 'server',
      hop: 'site-2.j',
    },
    {
      name: 'no loop',
      self: 'site-1',
      to: 'site-9',
      peers: ['server'],
      route: ['server'],
      from: 'server',
      hop: undefined,
    },
    {
      name: 'back to where it came from, if that is the destination',
      self: 'server',
      to: 'site-1',
      peers: ['site-1'],
      route: ['site-1'],
      hop: 'site-1',
    },
    {
      name: 'a transit message turning at the server',
      self: 'server',
      to: 'r.b',
      peers: ['r'],
      transit: true,
      route: ['r.a', 'r'],
      hop: 'r',
    },
  ])('finds $name', ({ self, to, peers, hop, transit = false, route = [], from }) => {
    const query: RouteQuery = {
      self,
      destination: to,
      serverTransit: transit,
      route,
      cameFrom: from,
    }
    const choice = nextHop(query, (fqcn) => peers.includes(fqcn))
    expect(choice).toEqual(
      hop === undefined
        ? { kind: 'fail', returnCode: 'target_unreachable' }
        : { kind: 'hop', fqcn: hop },
    )
  })

  it('knows itself and invalid names', () => {
    const query = { self: 'a', serverTransit: true, route: [], cameFrom: undefined }
    expect(nextHop({ ...query, destination: 'a' }, () => true)).toEqual({ kind: 'local' })
    expect(nextHop({ ...query, destination: 'a..b' }, () => true)).toEqual({
      kind: 'fail',
      returnCode: 'invalid_target',
    })
  })

  it('never chooses itself, a stranger, or a cell the message has passed', () => {
    const name = fc
      .uniqueArray(fc.constantFrom('server', 'r', 's', 't', 'j'), { minLength: 1, maxLength: 3 })
      .map((segments) => segments.join('.'))
    fc.assert(
      fc.property(
        name,
        name,
        fc.array(name, { maxLength: 5 }),
        fc.array(name, { maxLength: 4 }),
        (self, destination, others, route) => {
          const peers = new Set(others.filter((other) => other !== self))
          const choice = nextHop(
            { self, destination, serverTransit: false, route, cameFrom: undefined },
            (fqcn) => peers.has(fqcn),
          )
          if (choice.kind !== 'hop') return
          expect(peers.has(choice.fqcn)).toBe(true)
          if (choice.fqcn !== destination) expect(route).not.toContain(choice.fqcn)
        },
      ),
    )
  })
})

describe('mayOriginate', () => {
  it.each([
    ['server', 'site-1', 'site-1', true],
    ['server', 'site-1', 'site-1.job', true],
    ['server', 'site-1', 'site-2', false],
    ['server', 'site-1', 'site-10', false],
    ['server', 'site-1', 'server.job', false],
    ['site-1', 'server', 'site-2', true],
    ['site-1', 'server', 'site-1', false],
    ['r.s', 'r', 'site-2', true],
    ['site-1', 'site-1.job', 'server', false],
  ])('at %s, from peer %s, origin %s: %s', (self, peer, origin, allowed) => {
    expect(mayOriginate(self, peer, origin)).toBe(allowed)
  })
})

describe('createNameResolver', () => {
  it.each([
    ['server', 'fl.example.com', 'site-1', 'site-1'],
    ['server', 'fl.example.com', 'site-1.job', 'site-1'],
    ['server', 'fl.example.com', 'server', 'fl.example.com'],
    ['server', 'fl.example.com', 'server.job', 'fl.example.com'],
    ['relay-a', 'relay-a', 'relay-a.site-1', 'site-1'],
    ['relay-a', 'relay-a', 'relay-a.site-1.job', 'site-1'],
    ['relay-a', 'relay-a', 'site-2.job', 'site-2'],
    ['site-1', 'site-1', 'site-1.job', 'job'],
    ['site-1', 'site-1', 'site-1.-client_api_x', 'site-1'],
  ])('at %s (CN %s), %s must present %s', (self, ownName, fqcn, name) => {
    expect(createNameResolver({ self, ownName })(fqcn)).toBe(name)
  })

  it('follows the configured identities, the longest prefix first', () => {
    const identities = new Map([
      ['server', 'fl.example.com'],
      ['r', 'relay'],
      ['r.s', 'special'],
    ])
    const resolve = createNameResolver({ self: 'site-1', ownName: 'site-1', identities })
    expect(resolve('server.job')).toBe('fl.example.com')
    expect(resolve('r.s.job')).toBe('special')
    expect(resolve('r.t')).toBe('relay')
  })
})
