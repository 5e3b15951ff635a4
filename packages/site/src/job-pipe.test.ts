import { type Duplex, duplexPair } from 'node:stream'
import { type Cell, createCell, type HeaderValue } from '@hanse/cellnet'
import { pipeConnection } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { participantStamp } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { jobEgressFilter } from './job-egress.ts'
import { serverOnlyFilter } from './link/server-only-filter.ts'

const SITE = 'site-1'
const JOB = 'site-1.j1'
const CREDENTIALS = { name: SITE, token: 'secret', tokenSignature: 'secret too', ssid: 'NA' }

/** What arrived at the other side of the site: destination, origin, channel and topic, token. */
const seen: (readonly [string, string, string, string])[] = []
let refused = Promise.withResolvers<string>()
const open: AsyncDisposable[] = []

function cellOf(name: string): Cell {
  const cell = createCell(
    name,
    { drivers: [], registry: createFobsRegistry(coreCodecs) },
    { closeTimeoutMs: 20 },
  )
  open.push(cell)
  return cell
}

function connectionOf(end: Duplex) {
  return pipeConnection(end, { closeTimeoutMs: 20 })
}

async function join(upper: Cell, lower: Cell): Promise<void> {
  const [above, below] = duplexPair()
  const accepted = upper.adopt(connectionOf(above), 'passive', { expectedName: lower.fqcn })
  const dialled = lower.adopt(connectionOf(below), 'active')
  await Promise.all([accepted.ready, dialled.ready])
}

let site: Cell
/** The process of a job, as an attacker would have it that took it over. */
let job: Cell
beforeEach(async () => {
  refused = Promise.withResolvers()
  const server = cellOf('server')
  const serverJob = cellOf('server.j1')
  site = cellOf(SITE)
  job = cellOf(JOB)
  const textOf = (headers: ReadonlyMap<string, HeaderValue>, key: string) =>
    String(headers.get(key) ?? '')
  server.incoming(({ headers, link }) => {
    if (link?.fqcn === SITE && headers.get('cn__msg_type') === 'req')
      seen.push([
        textOf(headers, 'cn__destination'),
        textOf(headers, 'cn__origin'),
        `${textOf(headers, 'cn__channel')}/${textOf(headers, 'cn__topic')}`,
        textOf(headers, '__token__'),
      ])
    return undefined
  })
  serverJob.handle('aux_communication', 'ask', () => ({ body: 'answered' }))
  site.incoming(
    jobEgressFilter(SITE, {
      jobOf: ({ fqcn }) => (fqcn === JOB ? 'j1' : undefined),
      onRefused: ({ reason }) => refused.resolve(reason),
    }),
  )
  site.incoming(
    serverOnlyFilter({
      isOwnJob: ({ fqcn }) => fqcn === JOB,
      onRefused: ({ reason }) => refused.resolve(reason),
    }),
  )
  site.onPeer('misdeed', ({ code }) => refused.resolve(code))
  site.outgoing(participantStamp(SITE, () => CREDENTIALS))
  await join(server, serverJob)
  await join(server, site)
  await join(site, job)
  seen.length = 0
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

describe('the process of a job', () => {
  it('reaches its own part at the server, with the token of its site, which it never sees', async () => {
    const keys: string[] = []
    job.incoming(({ headers }) => {
      keys.push(...headers.keys())
      return undefined
    })
    const reply = await job.request('server.j1', 'aux_communication', 'ask', null)
    expect(reply).toMatchObject({ returnCode: 'ok', body: 'answered' })
    expect(seen[0]).toEqual(['server.j1', JOB, expect.any(String), 'secret'])
    expect(keys.length).toBeGreaterThan(0)
    expect(keys.filter((key) => /token|ssid|client_name/.test(key))).toEqual([])
  })

  it.each([
    ['the server', 'server', 'task', 'heart_beat'],
    ['the server as a person', 'server', 'hci_channel', 'command'],
    ["the server's own ear", 'server', 'server_parent_listener', 'ready'],
    ['another job at the server', 'server.j2', 'task', 'x'],
    ['another job at the server, by a stream', 'server.j2', 'aux_communication', 'x'],
    ['another site', 'site-2', 'admin', 'admin'],
    ['another job here', 'site-1.j2', 'task', 'x'],
    ['a command of its own part at the server', 'server.j1', 'server_command', 'abort'],
    ['its site on a channel for others', SITE, 'task', 'x'],
  ])('does not reach %s', async (_what, target, channel, topic) => {
    // Refused streams are not answered: their sender finds out by itself.
    await job.notify(target, channel, topic, null)
    expect(await refused.promise).toMatch(/./)
    expect(seen).toEqual([])
  })

  it.each(['site-1.j2', 'site-1', 'site-2', 'server', 'server.j1'])(
    'cannot speak as %s',
    async (origin) => {
      job.outgoing(({ headers }) => void headers.set('cn__origin', origin))
      await job.notify('server.j1', 'task', 'ask', null)
      expect(await refused.promise).toMatch(/forged_origin|own cell/)
      expect(seen).toEqual([])
    },
  )

  it('gets a link under its own name only', async () => {
    const [above, below] = duplexPair()
    const second = site.adopt(connectionOf(above), 'passive', { expectedName: 'site-1.j2' })
    const liar = cellOf('site-1.j3')
    liar.adopt(connectionOf(below), 'active').ready.catch(() => undefined)
    await expect(second.ready).rejects.toThrow(/this link is for site-1.j2/)
  })
})
