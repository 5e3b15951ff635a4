import type { LinkSecurity } from '@hanse/contract'
import { type FobsValue, LazyReference } from '@hanse/fobs'
import { afterEach, describe, expect, it } from 'vitest'
import { MemoryNetwork } from '../test/memory-driver.ts'
import { StubArray, stubRegistry } from '../test/streams/stub-arrays.ts'
import { type CellOptions, createCell } from './cell.ts'
import type { Cell } from './cell-api.ts'
import { CellError } from './cell-error.ts'

const CLEAR: LinkSecurity = { mode: 'clear' }
const SERVER_URL = new URL('memory://server:1')

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

/** A server and the named cells, all linked to it. */
async function league(
  names: readonly string[],
  options: CellOptions = {},
): Promise<{ server: Cell; cells: Cell[] }> {
  const network = new MemoryNetwork()
  const cells: Cell[] = []
  for (const name of ['server', ...names]) {
    const cell = createCell(
      name,
      { drivers: [network.driver()], registry: stubRegistry, random: () => 0 },
      { closeTimeoutMs: 50, ...options },
    )
    open.push(cell)
    cells.push(cell)
    if (name === 'server') {
      await cell.listen(SERVER_URL, CLEAR)
      continue
    }
    const connector = cell.dial(SERVER_URL, CLEAR)
    await new Promise((resolve) => connector.on('connected', resolve))
  }
  const [server, ...others] = cells
  return { server: server!, cells: others }
}

const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (7 * i + (i >> 8)) & 255)

describe('a streamed request that a filter refuses', () => {
  it.each(['server', 'site-2'])(
    'on its way to %s fails at once, with the reason',
    async (target) => {
      const { server, cells } = await league(['site-1', 'site-2'])
      for (const cell of [server, cells[1]!])
        cell.handle('aux_communication', 'echo', ({ body }) => ({ body }))
      server.incoming(({ headers }) =>
        headers.get('cn__origin') === 'site-1'
          ? { reject: 'unauthenticated', reason: 'the message carries no token' }
          : undefined,
      )
      // Without an answer this would take as long as the default, a minute and more.
      const reply = await cells[0]!.request(target, 'aux_communication', 'echo', pattern(3_145_851))
      expect(reply).toMatchObject({
        returnCode: 'comm_error',
        error: 'unauthenticated: the message carries no token',
      })
    },
  )

  it('stays unanswered where the filter drops it', async () => {
    const { server, cells } = await league(['site-1'])
    server.incoming(() => ({ drop: 'not now' }))
    const reply = await cells[0]!.request('server', 'aux_communication', 'echo', 1, {
      timeoutMs: 50,
    })
    expect(reply.returnCode).toBe('timeout')
  })
})

describe('streamed channels', () => {
  it.each<[string, FobsValue]>([
    ['nothing', null],
    ['a few bytes', pattern(5)],
    ['several chunks', pattern(3_145_851)],
    ['a map', new Map([['k', [1, 2.5, 'x']]])],
  ])('carry %s there and back', async (_name, body) => {
    const { server, cells } = await league(['site-1'])
    server.handle('aux_communication', 'echo', ({ body: value }) => ({ body: value }))
    const reply = await cells[0]!.request('server', 'aux_communication', 'echo', body)
    expect(reply).toMatchObject({ returnCode: 'ok', origin: 'server' })
    expect(reply.body).toEqual(body)
  })

  it('show the handler what a plain channel would', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('server_command', '*', ({ origin, channel, topic, headers, link }) => ({
      body: [origin, channel, topic, String(headers.get('job_id')), link?.fqcn ?? ''],
      headers: { answered: true },
    }))
    const reply = await cells[0]!.request('server', 'server_command', 'get', null, {
      headers: { job_id: 'J' },
    })
    expect(reply.body).toEqual(['site-1', 'server_command', 'get', 'J', 'site-1'])
    expect(reply.headers.get('answered')).toBe(true)
  })

  it('cross the server, between cells of different families', async () => {
    const { cells } = await league(['site-1', 'site-2'])
    cells[1]!.handle('aux_communication', 'echo', ({ body }) => ({ body }))
    const reply = await cells[0]!.request('site-2', 'aux_communication', 'echo', pattern(2_500_000))
    expect(reply.body).toEqual(pattern(2_500_000))
  })

  it('answer with the code that a handler throws, and keep other errors to themselves', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('aux_communication', 'known', () => {
      throw new CellError('ERR_INVALID_SESSION', 'log in again')
    })
    server.handle('aux_communication', 'unknown', () => {
      throw new Error('/etc/secret')
    })
    const ask = (topic: string) => cells[0]!.request('server', 'aux_communication', topic, null)
    expect(await ask('known')).toMatchObject({
      returnCode: 'invalid_session',
      error: 'log in again',
    })
    const unknown = await ask('unknown')
    expect(unknown.returnCode).toBe('process_exception')
    expect(unknown.error).not.toContain('secret')
  })

  it('fail at once for unknown topics and unreachable cells', async () => {
    const { cells } = await league(['site-1'])
    expect((await cells[0]!.request('server', 'aux_communication', 'nope', null)).returnCode).toBe(
      'comm_error',
    )
    const nowhere = await cells[0]!.request('site-9', 'aux_communication', 'x', null)
    expect(['comm_error', 'target_unreachable']).toContain(nowhere.returnCode)
  })

  it('work within one cell', async () => {
    const { server } = await league([])
    server.handle('aux_communication', 'echo', ({ body }) => ({ body }))
    const value = new Map<string, FobsValue>([['a', new StubArray(pattern(50))]])
    const reply = await server.request('server', 'aux_communication', 'echo', value)
    expect(reply.body).toEqual(value)
  })

  it('refuse bodies over the handler’s limit', async () => {
    const { server, cells } = await league(['site-1'])
    server.handle('aux_communication', 'small', () => ({}), { maxBodyBytes: 1000 })
    const reply = await cells[0]!.request('server', 'aux_communication', 'small', pattern(1001))
    expect(reply.returnCode).toBe('comm_error')
  })

  it('deliver notifications', async () => {
    const { server, cells } = await league(['site-1'])
    const got = Promise.withResolvers<FobsValue>()
    server.handle('metrics', 'log', ({ body }) => {
      got.resolve(body)
      return undefined
    })
    expect(await cells[0]!.notify('server', 'metrics', 'log', 'm')).toBe('ok')
    expect(await got.promise).toBe('m')
  })

  it('broadcast to many, arrays pulled by each', async () => {
    const { server, cells } = await league(['site-1', 'site-2', 'site-3'])
    for (const cell of cells)
      cell.handle('aux_communication', 'train', ({ body }) => {
        const array = body instanceof Map ? body.get('w') : undefined
        return { body: array instanceof StubArray ? array.item.length : -1 }
      })
    const model = new Map([['w', new StubArray(pattern(3_000_000))]])
    const targets = cells.map(({ fqcn }) => fqcn)
    const replies = await server.broadcast(targets, 'aux_communication', 'train', model)
    expect([...replies.values()].map(({ body }) => body)).toEqual([3_000_006, 3_000_006, 3_000_006])
  })

  it('pull the arrays of a reply', async () => {
    const { server, cells } = await league(['site-1'])
    const model = new Map([['w', new StubArray(pattern(100_000))]])
    server.handle('aux_communication', 'get', () => ({ body: model }))
    const reply = await cells[0]!.request('server', 'aux_communication', 'get', null)
    const array = reply.body instanceof Map ? reply.body.get('w') : undefined
    // The stub puts the item's name in front.
    expect(array instanceof StubArray && array.item.subarray(6)).toEqual(pattern(100_000))
  })

  it('leave references alone where the handler only passes on', async () => {
    const { server, cells } = await league(['site-1'])
    const seen = Promise.withResolvers<FobsValue>()
    server.handle(
      'aux_communication',
      'pass',
      ({ body }) => {
        seen.resolve(body)
        return {}
      },
      { passThrough: true },
    )
    const model = new Map([['w', new StubArray(pattern(100))]])
    await cells[0]!.request('server', 'aux_communication', 'pass', model)
    const body = await seen.promise
    expect(body instanceof Map && body.get('w')).toBeInstanceOf(LazyReference)
  })

  it('serve the plain form of a streamed channel too', async () => {
    const { server, cells } = await league(['site-1'])
    // Stock cells send some requests so, whatever the channel.
    server.handle('aux_communication', 'x', ({ body }) => ({ body }))
    cells[0]!.outgoing(({ headers }) => {
      if (headers.get('cn__channel') === 'task') headers.set('cn__channel', 'aux_communication')
    })
    const reply = await cells[0]!.request('server', 'task', 'x', 'plain')
    expect(reply).toMatchObject({ returnCode: 'ok', body: 'plain' })
  })
})
