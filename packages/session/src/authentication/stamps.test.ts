import type { HeaderValue } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { participantStamp, serverStamp } from './stamps.ts'

const held = { name: 'site-1', token: 't', tokenSignature: 's', ssid: 'NA' }
const headersOf = (entries: Record<string, HeaderValue>) => new Map(Object.entries(entries))

describe('participant stamp', () => {
  it('stamps what goes to the server and replaces what a job process wrote', () => {
    const headers = headersOf({
      cn__origin: 'site-1.j',
      cn__destination: 'server.j',
      __token__: 'forged',
    })
    participantStamp('site-1', () => held)({ headers, nextHop: 'server', forwarded: true })
    expect(headers.get('__token__')).toBe('t')
    expect(headers.get('client_name')).toBe('site-1')
    expect(headers.has('cn__server_transit_required')).toBe(false)
  })

  it('hands no token to its own job processes', () => {
    const headers = headersOf({ cn__destination: 'site-1.j', __token__: 't' })
    participantStamp('site-1', () => held)({ headers, nextHop: 'site-1.j', forwarded: true })
    expect(headers.has('__token__')).toBe(false)
  })

  it('leaves a login alone, but nothing that a job process wrote', () => {
    const login = headersOf({ cn__destination: 'server', client_name: 'site-1' })
    participantStamp(
      'site-1',
      () => undefined,
    )({ headers: login, nextHop: 'server', forwarded: false })
    expect(login.get('client_name')).toBe('site-1')
    participantStamp(
      'site-1',
      () => undefined,
    )({ headers: login, nextHop: 'server', forwarded: true })
    expect(login.has('client_name')).toBe(false)
  })

  it('asks for transit when the message is for another family', () => {
    const headers = headersOf({ cn__destination: 'site-2.j' })
    participantStamp('site-1', () => held)({ headers, nextHop: 'server', forwarded: false })
    expect(headers.get('cn__server_transit_required')).toBe(true)
  })
})

describe('server stamp', () => {
  const stamp = serverStamp((name, token) => `sig(${name}|${token})`)

  it("signs the server's own messages and those of its jobs", () => {
    const own = headersOf({ cn__origin: 'server' })
    stamp({ headers: own, nextHop: 'site-1', forwarded: false })
    expect(own.get('__token_signature__')).toBe('sig(server|server)')
    const job = headersOf({ cn__origin: 'server.j1' })
    stamp({ headers: job, nextHop: 'site-1', forwarded: true })
    expect(job.get('client_name')).toBe('server_job')
    expect(job.get('__token_signature__')).toBe('sig(server_job|j1)')
  })

  it('leaves what members send each other as it is, and gives its jobs nothing', () => {
    const crossing = headersOf({ cn__origin: 'site-1' })
    stamp({ headers: crossing, nextHop: 'site-2', forwarded: true })
    expect(crossing.size).toBe(1)
    const toJob = headersOf({ cn__origin: 'server' })
    stamp({ headers: toJob, nextHop: 'server.j1', forwarded: false })
    expect(toJob.size).toBe(1)
  })
})
