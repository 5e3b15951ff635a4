import type { HeaderValue, PeerLink } from '@hanse/cellnet'
import type { ExternalCellPolicy } from '@hanse/provision'
import type { Applicant, TokenClaims } from '@hanse/session'
import { beforeEach, describe, expect, it } from 'vitest'
import { ExternalCells } from './external-cells.ts'

const A = 'site-1.-a'
const B = 'site-2.-b'
const POLICIES = new Map<string, ExternalCellPolicy>([
  [A, { watch: true, send: [] }],
  [B, { watch: false, send: [{ to: A, channel: 'app.x', topics: ['note'] }] }],
  ['site-3.-c', { watch: false, send: [{ to: B, channel: 'app.x', topics: ['*'] }] }],
])

let refused: string[]
let cells: ExternalCells
beforeEach(() => {
  refused = []
  cells = new ExternalCells({
    policies: POLICIES,
    onRefused: ({ target }) => refused.push(target),
  })
})

const linkOf = (fqcn: string, active = true) => ({ fqcn, proofs: { active } }) as PeerLink

interface Said {
  readonly by: string
  readonly to: string
  readonly what?: string
  readonly origin?: string
  readonly type?: string
  readonly stream?: string
}

/** Whether the filter lets it pass. */
function passes({ by, to, what = 'app.x/note', origin = by, type = 'req', stream }: Said): boolean {
  const [channel = '', topic = ''] = what.split('/')
  const place =
    stream === undefined
      ? { cn__channel: channel, cn__topic: topic }
      : { cn__channel: 'sm__STREAM', cn__topic: stream, sm__ch: channel, sm__tp: topic }
  const headers = new Map<string, HeaderValue>(
    Object.entries({ cn__msg_type: type, cn__origin: origin, cn__destination: to, ...place }),
  )
  return cells.filter({ headers, link: linkOf(by), forMe: to === 'server' }) === undefined
}

describe('an external cell', () => {
  it('is welcome only if it is named; others are not asked', () => {
    expect(cells.unwelcome(A)).toBeUndefined()
    expect(cells.unwelcome('site-1.-z')).toMatch(/external_cells/)
    expect(cells.unwelcome(`${A}.below`)).toMatch(/external_cells/)
    for (const other of ['site-1', 'site-1.job-7', 'site-1.-client_api_x', '_admin_1'])
      expect(cells.unwelcome(other)).toBeUndefined()
  })

  it('logs in over a link of its own, with proofs', () => {
    const applicant = (cell: string, link: PeerLink | undefined) => ({ cell, link }) as Applicant
    expect(cells.refusal(applicant(A, linkOf(A)))).toBeUndefined()
    expect(cells.refusal(applicant(A, linkOf(A, false)))).toMatch(/must prove/)
    expect(cells.refusal(applicant(A, linkOf('site-1')))).toMatch(/link of its own/)
    expect(cells.refusal(applicant(A, undefined))).toMatch(/link of its own/)
    expect(cells.refusal(applicant('site-1.-z', linkOf('site-1.-z')))).toMatch(/external_cells/)
  })

  it('is known by its latest login, until its link is gone', () => {
    const claims = (nonce: string) => ({ cell: A, nonce }) as TokenClaims
    expect(cells.objection(claims('one'))).toMatch(/has left/)
    cells.entered(claims('one'))
    expect(cells.objection(claims('one'))).toBeUndefined()
    cells.entered(claims('two'))
    expect(cells.objection(claims('one'))).toMatch(/logged in again/)
    cells.linkLost(A)
    expect(cells.objection(claims('two'))).toMatch(/has left/)
  })

  it('says to others what is granted, whole or in pieces, and nothing else', () => {
    expect(passes({ by: B, to: A })).toBe(true)
    expect(passes({ by: B, to: A, stream: 'sm__DATA' })).toBe(true)
    expect(passes({ by: 'site-3.-c', to: B, what: 'app.x/anything' })).toBe(true)
    expect(refused).toEqual([])
    expect(passes({ by: B, to: A, what: 'app.x/other' })).toBe(false)
    expect(passes({ by: B, to: A, what: 'app.y/note' })).toBe(false)
    expect(passes({ by: B, to: A, what: 'app.y/note', stream: 'sm__DATA' })).toBe(false)
    expect(passes({ by: A, to: B })).toBe(false)
    expect(passes({ by: B, to: 'site-1' })).toBe(false)
    expect(passes({ by: B, to: 'server.job' })).toBe(false)
    expect(refused[0]).toBe(`${A} app.x/other`)
  })

  it('says to the server only what it was granted', () => {
    for (const what of ['task/challenge', 'task/register', 'cellnet.channel/bye'])
      expect(passes({ by: B, to: 'server', what })).toBe(true)
    expect(passes({ by: A, to: 'server', what: 'external_cells/watch' })).toBe(true)
    expect(passes({ by: B, to: 'server', what: 'external_cells/watch' })).toBe(false)
    for (const what of ['task/heart_beat', 'task/get_task', 'admin/x', 'cellnet.channel/bulk'])
      expect(passes({ by: A, to: 'server', what })).toBe(false)
    expect(passes({ by: A, to: 'server', what: 'app.x/note' })).toBe(false)
  })

  it('answers whom it hears from, and acknowledges', () => {
    for (const to of ['server', B]) expect(passes({ by: A, to, type: 'reply' })).toBe(true)
    expect(passes({ by: A, to: B, what: 'return_only/r', stream: 'sm__DATA' })).toBe(true)
    expect(passes({ by: B, to: A, stream: 'sm__ACK' })).toBe(true)
    for (const to of ['site-1', 'server.job', 'site-3.-c'])
      expect(passes({ by: A, to, type: 'reply' })).toBe(false)
    expect(passes({ by: A, to: 'site-3.-c', stream: 'sm__ACK' })).toBe(false)
  })

  it('speaks for itself only, and nobody for it', () => {
    expect(passes({ by: B, to: A, origin: `${B}.below` })).toBe(false)
    expect(passes({ by: 'site-2', to: A, origin: B })).toBe(false)
    expect(passes({ by: 'site-2', to: 'server', what: 'task/heart_beat' })).toBe(true)
  })

  it('hears from no site, person or job', () => {
    for (const by of ['site-2', 'server.job', '_admin_1']) expect(passes({ by, to: A })).toBe(false)
  })
})
