import type { Cell } from '@hanse/cellnet'
import type { TokenClaims } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { LinkedCells } from '../../../session/test/linked-cells.ts'
import { serveSites } from './serve-sites.ts'
import { SiteRegistry } from './site-registry.ts'

let cells: LinkedCells
let site: Cell
let sites: SiteRegistry
let kind: TokenClaims['kind'] | undefined
const reports: string[] = []
const log: string[] = []
beforeEach(async () => {
  cells = await LinkedCells.open()
  site = await cells.linked('site-1')
  kind = 'site'
  reports.length = 0
  log.length = 0
  sites = new SiteRegistry(
    fakeClock(),
    {
      onPresent: ({ name }) => log.push(`present ${name}`),
      onAbsent: ({ name }, why) => log.push(`absent ${name} ${why}`),
    },
    { maxSites: 10, heartbeatTimeoutMs: 30_000 },
  )
  serveSites({
    cell: cells.server,
    sites,
    // The guard's part: whose token it is.
    claimsOf: ({ origin, headers }) =>
      kind && {
        kind,
        name: origin,
        cell: origin,
        fingerprint: '',
        issuedAt: 0,
        nonce: String(headers.get('__token__')),
        proven: false,
      },
    onReportedJobs: (_site, jobs) => jobs.filter((job) => job !== 'j1'),
    onFinalReport: (...facts) => reports.push(facts.join(' ')),
  })
})
afterEach(() => cells[Symbol.asyncDispose]())

const send = (topic: string, body: unknown = null, headers = {}) =>
  site.request('server', 'task', topic, body, { headers })

describe('a heartbeat', () => {
  it('makes a site present, and is answered with jobs that do not run', async () => {
    const reply = await send('heart_beat', null, { __token__: 't', job_ids: ['j1', 'old', 7] })
    expect(reply.returnCode).toBe('ok')
    expect(reply.headers.get('abort_jobs')).toEqual(['old'])
    expect(log).toEqual(['present site-1'])
    expect((await send('heart_beat', null, { __token__: 't' })).headers.has('abort_jobs')).toBe(
      false,
    )
  })

  it('with the token of another login is answered as stock does, jobs included', async () => {
    await send('heart_beat', null, { __token__: 't' })
    const reply = await send('heart_beat', null, { __token__: 'other', job_ids: ['old'] })
    expect(reply).toMatchObject({
      returnCode: 'comm_error',
      error: 'Client ID already registered as a client: site-1',
    })
    expect(reply.headers.get('abort_jobs')).toEqual(['old'])
  })

  it('of a disabled site is refused', async () => {
    sites.disable('site-1')
    expect(await send('heart_beat', null, { __token__: 't' })).toMatchObject({
      returnCode: 'unauthenticated',
    })
  })
})

it('a goodbye ends the part of a site', async () => {
  await send('heart_beat', null, { __token__: 't' })
  expect((await send('quit')).returnCode).toBe('ok')
  expect(log.at(-1)).toBe('absent site-1 quit')
})

describe('a final report', () => {
  it('is handed on, its words bounded', async () => {
    const report = new Map<string, string | number>([
      ['job_id', 'j1'],
      ['code', 101],
      ['reason', 'x'.repeat(5_000)],
    ])
    expect((await send('report_job_failure', report)).returnCode).toBe('ok')
    await send(
      'report_job_failure',
      new Map<string, string | number>([
        ['job_id', 'j2'],
        ['code', 0],
      ]),
    )
    expect(reports).toEqual([`site-1 j1 101 ${'x'.repeat(1_000)}`, 'site-1 j2 0 '])
  })

  it.each([['text'], [new Map()], [new Map([['job_id', 'j1']])]])(
    'that is none is refused: %s',
    async (body) => {
      expect((await send('report_job_failure', body)).returnCode).toBe('invalid_request')
      expect(reports).toEqual([])
    },
  )
})

it.each(['heart_beat', 'quit', 'report_job_failure'])(
  'takes %s from nobody but sites',
  async (topic) => {
    for (const other of ['admin', undefined] as const) {
      kind = other
      expect((await send(topic)).returnCode).toBe('unauthenticated')
    }
    expect([log, reports]).toEqual([[], []])
  },
)
