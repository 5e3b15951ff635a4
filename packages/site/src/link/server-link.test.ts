import type { Cell, Connector, ConnectorEvents } from '@hanse/cellnet'
import { silentLogger, systemClock, TransportError } from '@hanse/contract'
import { describe, expect, it, vi } from 'vitest'
import { siteKit, TestPeople } from '../../test/site-fixtures.ts'
import { ServerLink, type ServerLinkEvent } from './server-link.ts'

const people = new TestPeople()
type Listener = (event: never) => void

/** A link of which a test says what happens. */
async function setUp() {
  const listeners = new Map<string, Listener>()
  const requests: string[] = []
  let isUp = false
  let url: URL | undefined
  const connector = {
    get link() {
      return isUp ? { proofs: { offered: false, active: false }, capabilities: [] } : undefined
    },
    on(event: string, listener: Listener) {
      listeners.set(event, listener)
      return { [Symbol.dispose]() {} }
    },
    async [Symbol.asyncDispose]() {
      requests.push('disposed')
    },
  } as unknown as Connector
  const cell = {
    fqcn: 'site-1',
    dial(to: URL) {
      url = to
      return connector
    },
    request(
      _target: string,
      _channel: string,
      topic: string,
      _body: unknown,
      options: { signal?: AbortSignal },
    ) {
      requests.push(topic)
      return new Promise((_resolve, reject) =>
        options.signal?.addEventListener('abort', () => reject(options.signal?.reason)),
      )
    },
  } as unknown as Cell
  const events: ServerLinkEvent[] = []
  const link = new ServerLink({
    cell,
    kit: siteKit(await people.of('site-1', '')),
    clock: systemClock,
    logger: silentLogger,
    onEvent: (event) => events.push(event),
  })
  return {
    link,
    events,
    requests,
    url: () => url?.href,
    up: () => {
      isUp = true
    },
    happen<Name extends keyof ConnectorEvents>(name: Name, event: Partial<ConnectorEvents[Name]>) {
      listeners.get(name)?.(event as never)
    },
  }
}

const failed = (reason: string, fault?: string) => ({
  reason,
  error: new TransportError(
    'ERR_TLS_HANDSHAKE',
    reason,
    fault === undefined ? {} : { reason: fault },
  ),
  retryInMs: 1,
})

describe('the link to the server', () => {
  it('dials where the kit says and tells what happens', async () => {
    const { link, events, happen, url } = await setUp()
    expect(url()).toBe('tcp://localhost:1')
    happen('failed', failed('nothing listens at localhost:1'))
    happen('connected', {})
    happen('lost', { reason: 'the server ended' })
    expect(events).toEqual([
      { event: 'waiting', reason: 'nothing listens at localhost:1' },
      { event: 'connected' },
      { event: 'lost', reason: 'the server ended' },
    ])
    expect(link.credentials).toBeUndefined()
  })

  it.each([
    ['name_in_use', 'ERR_NAME_IN_USE', /stop the other process/],
    ['identity_mismatch', 'ERR_SITE_REFUSED', /do not fit together/],
  ] as const)('ends a login that cannot succeed: %s', async (code, expected, words) => {
    const { link, happen } = await setUp()
    const login = link.login(new Map(), 'test', {})
    happen('refused', { code, reason: 'no' })
    await expect(login).rejects.toMatchObject({
      code: expected,
      message: expect.stringMatching(words),
    })
  })

  it.each(['untrusted', 'expired', 'name', 'revoked'])(
    'ends a login at a lasting fault of certificates: %s',
    async (fault) => {
      const { link, happen } = await setUp()
      const login = link.login(new Map(), 'test', {})
      happen('failed', failed('the handshake failed', fault))
      await expect(login).rejects.toMatchObject({ code: 'ERR_SITE_REFUSED' })
    },
  )

  it('goes on waiting where waiting may help, until the signal', async () => {
    const { link, happen } = await setUp()
    const stop = new AbortController()
    const login = link.login(new Map(), 'test', { signal: stop.signal })
    happen('failed', failed('nobody listens'))
    happen('failed', failed('reset', 'reset'))
    happen('refused', { code: 'too_many', reason: 'later' })
    stop.abort(new Error('stopped'))
    await expect(login).rejects.toThrow('stopped')
  })

  it('has one login under way, whoever asks for it', async () => {
    const { link, requests, up } = await setUp()
    up()
    const stop = new AbortController()
    const first = link.login(new Map(), 'test', { signal: stop.signal })
    const others = [link.renew(), link.renew()]
    const ends = Promise.allSettled([first, ...others])
    await vi.waitFor(() => expect(requests).toEqual(['challenge']))
    stop.abort(new Error('stopped'))
    expect((await ends).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(requests).toEqual(['challenge'])
    const later = expect(link.renew()).rejects.toThrow()
    await vi.waitFor(() => expect(requests).toEqual(['challenge', 'challenge']))
    await link[Symbol.asyncDispose]()
    await later
  })

  it('says goodbye only over a link that is up', async () => {
    const { link, requests, up } = await setUp()
    await link.quit(new Map())
    expect(requests).toEqual([])
    up()
    void link.quit(new Map())
    expect(requests).toEqual(['quit'])
    await link[Symbol.asyncDispose]()
    expect(requests).toEqual(['quit', 'disposed'])
  })
})
