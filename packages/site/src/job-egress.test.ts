import type { HeaderValue, PeerLink } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { jobEgressFilter } from './job-egress.ts'

const JOB = 'j1'
const jobLink = { fqcn: `site-1.${JOB}` } as PeerLink
const serverLink = { fqcn: 'server' } as PeerLink

function setUp() {
  const refused: string[] = []
  const filter = jobEgressFilter('site-1', {
    jobOf: (link) => (link === jobLink ? JOB : undefined),
    onRefused: ({ reason }) => refused.push(reason),
  })
  const send = (headers: Record<string, HeaderValue>, link: PeerLink = jobLink) =>
    filter({
      headers: new Map(Object.entries({ cn__origin: `site-1.${JOB}`, ...headers })),
      link,
      forMe: headers['cn__destination'] === 'site-1',
    })
  return { send, refused }
}

describe('egress of a job', () => {
  it.each([
    [
      'a poll',
      {
        cn__destination: 'server.j1',
        cn__channel: 'sm__STREAM',
        cn__topic: 'sm__DATA',
        sm__ch: 'server_command',
        sm__tp: 'get_task',
      },
    ],
    [
      'an acknowledgement',
      { cn__destination: 'server.j1', cn__channel: 'sm__STREAM', cn__topic: 'sm__ACK' },
    ],
    [
      'a download',
      {
        cn__destination: 'server.j1',
        cn__channel: 'sm__STREAM',
        cn__topic: 'sm__DATA',
        sm__ch: 'download_service__',
        sm__tp: 'x',
      },
    ],
    [
      'its status',
      { cn__destination: 'site-1', cn__channel: 'admin', cn__topic: 'train.notify_job_status' },
    ],
  ])('lets through %s', (_what, headers) => {
    expect(setUp().send(headers)).toBeUndefined()
  })

  it.each([
    [
      'another job',
      { cn__destination: 'server.j2', cn__channel: 'aux_communication', cn__topic: 'x' },
    ],
    [
      'the server itself',
      { cn__destination: 'server', cn__channel: 'task', cn__topic: 'heart_beat' },
    ],
    ['another site', { cn__destination: 'site-2', cn__channel: 'admin', cn__topic: 'admin' }],
    [
      'a name that only begins like its server job',
      { cn__destination: 'server.j12', cn__channel: 'aux_communication', cn__topic: 'x' },
    ],
    [
      "a server's command",
      { cn__destination: 'server.j1', cn__channel: 'server_command', cn__topic: 'abort' },
    ],
    [
      'a streamed server command',
      {
        cn__destination: 'server.j1',
        cn__channel: 'sm__STREAM',
        cn__topic: 'sm__DATA',
        sm__ch: 'server_command',
        sm__tp: 'abort',
      },
    ],
    [
      "the server's own ear for jobs",
      { cn__destination: 'server.j1', cn__channel: 'server_parent_listener', cn__topic: 'x' },
    ],
    [
      'another origin',
      {
        cn__origin: 'site-1',
        cn__destination: 'server.j1',
        cn__channel: 'aux_communication',
        cn__topic: 'x',
      },
    ],
    [
      "another job's origin",
      {
        cn__origin: 'site-1.j2',
        cn__destination: 'server.j1',
        cn__channel: 'aux_communication',
        cn__topic: 'x',
      },
    ],
  ])('refuses %s', (_what, headers) => {
    const { send, refused } = setUp()
    expect(send(headers)).toMatchObject({ reject: 'unauthenticated' })
    expect(refused).toHaveLength(1)
  })

  it('leaves all other links to other filters', () => {
    expect(
      setUp().send({ cn__destination: 'site-1.j1', cn__channel: 'x' }, serverLink),
    ).toBeUndefined()
  })
})
