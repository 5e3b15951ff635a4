import type { Cell } from '@hanse/cellnet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LinkedCells } from '../../test/linked-cells.ts'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import { handleAux, notifyAux, outcome, requestAux, returnCodeOf } from './aux-messages.ts'

const SERVER = new Map([['__identity_name__', 'league']])
const SITE = new Map([['__identity_name__', 'site-1']])

let cells: LinkedCells
let site: Cell
beforeEach(async () => {
  cells = await LinkedCells.open()
  site = await cells.linked('site-1')
})
afterEach(() => cells[Symbol.asyncDispose]())

describe('an aux message', () => {
  it('tells who sent it, is answered with who answers, and brings its cookies back', async () => {
    handleAux(cells.server, 'topic', SERVER, ({ origin, topic, body, peerProperties }) => {
      const reply = outcome('OK')
      reply.content.set('seen', [origin, topic, body.content.get('x') ?? null])
      reply.content.set('peer', new Map(peerProperties))
      return reply
    })
    const cookies = new Map([['cookie', 1]])
    const body = new Shareable(new Map([['__cookie_jar__', cookies]]), new Map([['x', 7]]))
    const reply = await requestAux(site, 'server', 'topic', body, SITE)
    expect(returnCodeOf(reply)).toBe('OK')
    expect(reply.content.get('seen')).toEqual(['site-1', 'topic', 7])
    expect(reply.content.get('peer')).toEqual(SITE)
    expect(reply.headers.get('__cookie_jar__')).toEqual(cookies)
    const context = reply.headers.get('__peer_ctx__')
    expect(context instanceof FLContext && context.publicProperty('__identity_name__')).toBe(
      'league',
    )
  })

  it('can go without an answer', async () => {
    const arrived = Promise.withResolvers<string>()
    handleAux(cells.server, 'topic', SERVER, ({ origin }) => {
      arrived.resolve(origin)
      return undefined
    })
    await notifyAux(site, 'server', 'topic', new Shareable(), SITE)
    expect(await arrived.promise).toBe('site-1')
  })

  it('without a word of its sender is not served', async () => {
    handleAux(cells.server, 'topic', SERVER, () => outcome('OK'))
    const send = async (body: unknown) =>
      (await site.request('server', 'aux_communication', 'topic', body)).body as Shareable
    expect(returnCodeOf(await send('text'))).toBe('BAD_REQUEST_DATA')
    for (const properties of [new Map(), 'text'])
      expect(
        returnCodeOf(await send(new Shareable(new Map([['__peer_props__', properties]])))),
      ).toBe('MISSING_PEER_CONTEXT')
  })

  it.each([
    ['comm_error', 'COMMUNICATION_ERROR'],
    ['authentication_error', 'unauthenticated'],
    ['service_unavailable', 'service_unavailable'],
    ['abort_run', 'abort_run'],
    ['something new', 'ERROR'],
  ])('that a cell refuses with %s comes back as %s', async (returnCode, expected) => {
    cells.server.handle('aux_communication', 'topic', () => ({ returnCode }))
    const reply = await requestAux(site, 'server', 'topic', new Shareable(), SITE)
    expect(returnCodeOf(reply)).toBe(expected)
  })

  it('tells a fault of the handler from an answer that is none', async () => {
    handleAux(cells.server, 'fails', SERVER, () => {
      throw new Error('a secret')
    })
    const failed = await requestAux(site, 'server', 'fails', new Shareable(), SITE)
    expect(returnCodeOf(failed)).toBe('EXECUTION_EXCEPTION')
    cells.server.handle('aux_communication', 'odd', () => ({ body: 'text' }))
    const odd = await requestAux(site, 'server', 'odd', new Shareable(), SITE)
    expect(returnCodeOf(odd)).toBe('ERROR')
  })

  it('to a cell that is not there comes back at once', async () => {
    const reply = await requestAux(cells.cell('alone'), 'server', 'topic', new Shareable(), SITE)
    expect(returnCodeOf(reply)).toBe('COMMUNICATION_ERROR')
  })
})
