import { type Cell, createCell } from '@hanse/cellnet'
import type { ConnectionSecurity, Driver, LinkSecurity } from '@hanse/contract'
import { createFobsRegistry } from '@hanse/fobs'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createLeagues, type League } from './league.ts'
import { relayTo } from './relay.ts'

const MEGABYTE = 2 ** 20

/** Two cells over one driver: what a driver is for. */
export function describeCells(scheme: string, create: () => Driver): void {
  let league: League
  beforeAll(async () => {
    ;[league] = await createLeagues()
  })
  const open: AsyncDisposable[] = []
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
  })

  const cell = (fqcn: string): Cell => {
    const made = createCell(
      fqcn,
      { drivers: [create()], registry: createFobsRegistry() },
      { ownName: fqcn, closeTimeoutMs: 100 },
    )
    open.push(made)
    return made
  }
  const securityOf = (mode: ConnectionSecurity, name: string): LinkSecurity =>
    mode === 'clear' ? { mode } : { mode, tls: league.material(name) }

  describe(`two cells over ${scheme}`, () => {
    it.each(['clear', 'tls', 'mtls'] as const)('talk, small and large, %s', async (mode) => {
      const server = cell('server')
      const { url } = await server.listen(
        new URL(`${scheme}://127.0.0.1:0`),
        securityOf(mode, 'server'),
      )
      server.handle('task', 'echo', ({ body }) => ({ body }))
      server.handle('aux_communication', 'echo', ({ body }) => ({ body }))
      const site = cell('site-1')
      const connector = site.dial(url, securityOf(mode, 'site-1'))
      await new Promise((resolve) => connector.on('connected', resolve))
      expect((await site.request('server', 'task', 'echo', 'hello')).body).toBe('hello')

      const body = new Uint8Array(64 * MEGABYTE)
      for (let i = 0; i < body.length; i += 4099) body[i] = i
      const reply = await site.request('server', 'aux_communication', 'echo', body)
      expect(reply.returnCode).toBe('ok')
      expect(reply.body instanceof Uint8Array && Buffer.from(reply.body).equals(body)).toBe(true)
    })

    it('pass on long bodies for others as they are, headers that are bytes included', async () => {
      const listenAt = (one: Cell) =>
        one.listen(new URL(`${scheme}://127.0.0.1:0`), { mode: 'clear' })
      const dial = async (one: Cell, url: URL) => {
        const connector = one.dial(url, { mode: 'clear' })
        await new Promise((resolve) => connector.on('connected', resolve))
      }
      const server = cell('server')
      const site = cell('site-1')
      const job = cell('site-1.job')
      await dial(site, (await listenAt(server)).url)
      await dial(job, (await listenAt(site)).url)
      const proof = Uint8Array.of(1, 2, 3)
      for (const one of [server, job])
        one.outgoing(({ headers }) => void headers.set('proof', proof))
      server.handle('aux_communication', 'echo', ({ body, headers }) => {
        expect(headers.get('proof')).toEqual(proof)
        return { body }
      })
      const bodies = [1, 100_000, 5 * MEGABYTE + 1, 16 * MEGABYTE].map((length, seed) => {
        const body = new Uint8Array(length)
        for (let i = 0; i < length; i += 509) body[i] = i + seed
        return body
      })
      await Promise.all(
        bodies.map(async (body) => {
          const reply = await job.request('server', 'aux_communication', 'echo', body)
          expect(reply.headers.get('proof')).toEqual(proof)
          expect(reply.body instanceof Uint8Array && Buffer.from(reply.body).equals(body)).toBe(
            true,
          )
        }),
      )
    })

    it('find each other again after a cut in the middle of a large message', async () => {
      const server = cell('server')
      const { url } = await server.listen(
        new URL(`${scheme}://127.0.0.1:0`),
        securityOf('mtls', 'server'),
      )
      server.handle('task', 'echo', ({ body }) => ({ body }))
      server.handle('aux_communication', 'echo', ({ body }) => ({ body }))
      const relay = await relayTo(Number(url.port))
      open.push(relay)
      const site = cell('site-1')
      const connector = site.dial(
        new URL(`${scheme}://127.0.0.1:${relay.port}`),
        securityOf('mtls', 'site-1'),
        { maxBackoffMs: 50 },
      )
      await new Promise((resolve) => connector.on('connected', resolve))
      const lost = new Promise((resolve) => connector.on('lost', resolve))
      const again = lost.then(() => new Promise((resolve) => connector.on('connected', resolve)))
      const large = site.request(
        'server',
        'aux_communication',
        'echo',
        new Uint8Array(64 * MEGABYTE),
        { timeoutMs: 1_000 },
      )
      while (relay.bytes() < 8 * MEGABYTE) await new Promise(setImmediate)
      relay.cut()
      await lost
      await again
      expect((await site.request('server', 'task', 'echo', 'hello')).body).toBe('hello')
      expect((await large).returnCode).not.toBe('ok')
    })
  })
}
