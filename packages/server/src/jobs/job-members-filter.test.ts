import type { HeaderValue, PeerLink } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { jobMembersFilter } from './job-members-filter.ts'

function setUp() {
  const refused: string[] = []
  const filter = jobMembersFilter({
    participantsOf: (jobId) => (jobId === 'j1' ? ['site-1', 'relay.site-2'] : undefined),
    isOwnJob: ({ fqcn }) => fqcn.startsWith('server.'),
    onRefused: ({ reason }) => refused.push(reason),
  })
  const pass = (peer: string, origin: string, destination: string) =>
    filter({
      headers: new Map<string, HeaderValue>([
        ['cn__origin', origin],
        ['cn__destination', destination],
      ]),
      // The filter looks at the name alone.
      link: { fqcn: peer } as PeerLink,
      forMe: destination === 'server',
    })
  return { pass, refused }
}

describe('a running job', () => {
  it.each([
    ['the part of the job at a site', 'site-1', 'site-1.j1'],
    ['a cell below it', 'site-1', 'site-1.j1.helper'],
    ['the site itself', 'site-1', 'site-1'],
    ['a site below a relay', 'relay.site-2', 'relay.site-2.j1'],
  ])('hears %s', (_who, peer, origin) => {
    expect(setUp().pass(peer, origin, 'server.j1')).toBeUndefined()
  })

  it.each([
    ['a site that takes no part', 'site-3', 'site-3.j1', /takes no part/],
    ['one whose name only begins alike', 'site-10', 'site-10.j1', /takes no part/],
    ['a person', '_admin_x', '_admin_x', /takes no part/],
    ['another job of the same site', 'site-1', 'site-1.j2', /is not the part of job j1/],
    ['a job of which the name only begins alike', 'site-1', 'site-1.j10', /is not the part/],
    ['another job of the server', 'server.j2', 'server.j2', /another job/],
  ])('does not hear %s', (_who, peer, origin, reason) => {
    const { pass, refused } = setUp()
    expect(pass(peer, origin, 'server.j1')).toMatchObject({ reject: 'unauthenticated' })
    expect(pass(peer, origin, 'server.j1.below')).toMatchObject({ reject: 'unauthenticated' })
    expect(refused).toEqual([expect.stringMatching(reason), expect.stringMatching(reason)])
  })
})

it('leaves alone what is for nobody, for the server or for other families', () => {
  const { pass, refused } = setUp()
  expect(pass('site-3', 'site-3', 'server.j9')).toBeUndefined()
  expect(pass('site-3', 'site-3', 'server')).toBeUndefined()
  expect(pass('site-3', 'site-3', 'site-1.j1')).toBeUndefined()
  expect(refused).toEqual([])
})
