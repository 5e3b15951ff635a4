import type { HeaderValue, PeerLink } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { serverOnlyFilter } from './server-only-filter.ts'

const SERVER = { fqcn: 'server' } as PeerLink
const JOB = { fqcn: 'site-1.j1' } as PeerLink

function pass(origin: string, destination: string, channel = 'admin', link = SERVER) {
  const refused: string[] = []
  const filter = serverOnlyFilter({
    isOwnJob: (peer) => peer === JOB,
    onRefused: ({ reason }) => refused.push(reason),
  })
  const headers = new Map<string, HeaderValue>([
    ['cn__origin', origin],
    ['cn__destination', destination],
    ['cn__channel', channel],
  ])
  const verdict = filter({ headers, link, forMe: destination === 'site-1' })
  expect(refused).toHaveLength(verdict === undefined ? 0 : 1)
  return verdict
}

describe('a site takes', () => {
  it.each([
    ["the server's commands", 'server', 'site-1', 'admin'],
    ['answers to its own requests', 'server', 'site-1', 'task'],
    ["its own jobs' server part, for that job", 'server.j1', 'site-1.j1', 'aux_communication'],
    ["the server part's notices for the site itself", 'server.j1', 'site-1', 'return_only'],
  ])('%s', (_what, origin, destination, channel) => {
    expect(pass(origin, destination, channel)).toBeUndefined()
  })

  it('what its own job sends, which another filter looks at', () => {
    expect(pass('site-1.j1', 'site-2', 'admin', JOB)).toBeUndefined()
  })
})

describe('a site refuses', () => {
  it.each([
    ['commands of a job at the server', 'server.j1', 'site-1', 'admin'],
    ['another member', 'site-2', 'site-1', 'admin'],
    ['another member, for a job', 'site-2.j1', 'site-1.j1', 'aux_communication'],
    ['one whose name only begins alike', 'server1', 'site-1', 'admin'],
    ["another job's server part", 'server.j2', 'site-1.j1', 'aux_communication'],
    ['the server itself, for a job', 'server', 'site-1.j1', 'client_command'],
  ])('%s', (_what, origin, destination, channel) => {
    expect(pass(origin, destination, channel)).toMatchObject({ reject: 'unauthenticated' })
  })

  it('the words of the server over any other link', () => {
    const other = { fqcn: 'site-2' } as PeerLink
    expect(pass('server', 'site-1', 'admin', other)).toMatchObject({ reject: 'unauthenticated' })
  })
})
