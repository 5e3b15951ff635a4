import { createCell } from '@hanse/cellnet'
import { createFobsRegistry } from '@hanse/fobs'
import { describe, expect, it } from 'vitest'
import { describeCells } from '../../driver-socket/test/cells-suite.ts'
import { CLEAR } from '../../driver-socket/test/loopback.ts'
import { relayTo } from '../../driver-socket/test/relay.ts'
import { http } from './http.ts'

describeCells('http', http)

describe('a cell and a dialler like stock', () => {
  it('is told that a reply is too large for it, and stays connected', async () => {
    const registry = createFobsRegistry()
    await using server = createCell('server', { drivers: [http()], registry }, {})
    const { url } = await server.listen(new URL('http://127.0.0.1:0'), CLEAR)
    server.handle('task', 'large', () => ({ body: new Uint8Array(5_000_000) }))
    server.handle('task', 'small', () => ({ body: 'hello' }))
    await using relay = await relayTo(Number(url.port), (chunk) =>
      Buffer.from(chunk.toString('latin1').replace(/(hanse-long-messages: )1/i, '$10'), 'latin1'),
    )
    await using site = createCell('site-1', { drivers: [http()], registry }, {})
    const connector = site.dial(new URL(`http://127.0.0.1:${relay.port}`), CLEAR)
    const link = await new Promise((resolve) => connector.on('connected', resolve))
    expect((await site.request('server', 'task', 'large', null)).returnCode).toBe('msg_too_big')
    expect((await site.request('server', 'task', 'small', null)).body).toBe('hello')
    expect({ link: connector.link }).toEqual(link)
  })
})
