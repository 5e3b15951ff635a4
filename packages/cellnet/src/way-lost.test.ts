import { duplexPair } from 'node:stream'
import type { LinkSecurity } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { createFobsRegistry } from '@hanse/fobs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryNetwork } from '../test/memory-driver.ts'
import { createCell } from './cell.ts'
import type { Cell } from './cell-api.ts'
import { CHANNEL_CELL, TOPIC_WAY_LOST } from './channels.ts'
import { isBehind } from './routing/fqcn.ts'

const CLEAR: LinkSecurity = { mode: 'clear' }
const SERVER_URL = new URL('memory://server:1')
const LONG_MS = 600_000

const open: AsyncDisposable[] = []
let network: MemoryNetwork
let server: Cell
let site: Cell
/** Has one pipe, to its site. */
let job: Cell

function cell(fqcn: string): Cell {
  const made = createCell(
    fqcn,
    { drivers: [network.driver()], registry: createFobsRegistry() },
    { closeTimeoutMs: 50 },
  )
  open.push(made)
  return made
}

beforeEach(async () => {
  network = new MemoryNetwork()
  ;[server, site, job] = ['server', 'site-1', 'site-1.job'].map(cell) as [Cell, Cell, Cell]
  await server.listen(SERVER_URL, CLEAR)
  const connector = site.dial(SERVER_URL, CLEAR)
  await new Promise<void>((resolve) => connector.on('connected', () => resolve()))
  const [upper, lower] = duplexPair()
  site.adopt(pipeConnection(upper), 'passive')
  await job.adopt(pipeConnection(lower), 'active').ready
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

describe('a cell that speaks through its parent', () => {
  // The first is a single message, the other a stream.
  it.each(['task', 'other'])(
    'learns at once that what it asked on %s was lost',
    async (channel) => {
      server.handle(channel, 'slow', () => {
        network.cutAll()
        return new Promise(() => {})
      })
      const reply = await job.request('server', channel, 'slow', null, { timeoutMs: LONG_MS })
      expect(reply).toMatchObject({
        returnCode: 'comm_error',
        error: expect.stringMatching(/link .*lost/),
      })
    },
  )

  it.each(['task', 'other'])('still hears its parent itself, asked on %s', async (channel) => {
    const answer = Promise.withResolvers<void>()
    site.handle(channel, 'slow', async () => {
      network.cutAll()
      await answer.promise
      return { body: 'late' }
    })
    server.handle(channel, 'slow', () => new Promise(() => {}))
    const own = job.request('site-1', channel, 'slow', null, { timeoutMs: LONG_MS })
    // Over the same pipe: once it has failed, the news was heard.
    await job.request('server', channel, 'slow', null, { timeoutMs: LONG_MS })
    answer.resolve()
    expect(await own).toMatchObject({ returnCode: 'ok', body: 'late' })
  })

  it('believes nobody else that a way is lost', async () => {
    const lie = new TextEncoder().encode('server')
    server.handle('task', 'slow', async () => {
      await server.notify('site-1.job', CHANNEL_CELL, TOPIC_WAY_LOST, lie)
      return { body: 'all is well' }
    })
    const reply = await job.request('server', 'task', 'slow', null, { timeoutMs: LONG_MS })
    expect(reply).toMatchObject({ returnCode: 'ok', body: 'all is well' })
  })

  it('takes anything for the name of a lost cell without harm', async () => {
    for (const payload of [new Uint8Array(), Uint8Array.of(0xff), new Uint8Array(10_000)])
      expect(await site.notify('site-1.job', CHANNEL_CELL, TOPIC_WAY_LOST, payload)).toBe('ok')
    server.handle('task', 'echo', ({ body }) => ({ body }))
    expect(await job.request('server', 'task', 'echo', 'x')).toMatchObject({ body: 'x' })
  })
})

it.each([
  ['server', 'server', 'site-1.job', true],
  ['server.job', 'server', 'site-1.job', true],
  // What goes to other sites goes by the server.
  ['site-2.job', 'server', 'site-1.job', true],
  ['site-1', 'server', 'site-1.job', false],
  ['site-1.other', 'server', 'site-1.job', false],
  ['site-1.job', 'site-1', 'server.job', true],
  ['site-2.job', 'site-1', 'server.job', false],
  ['site-10', 'site-1', 'server.job', false],
])('to %s, %s lost, of %s: %s', (target, lost, self, behind) => {
  expect(isBehind(target, lost, self)).toBe(behind)
})
