import type { Cell } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeClock, fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { createFrameKeyShare } from '../../../pki/src/frame-proofs.ts'
import { fakeMac, fakeSigner, fakeTokenSignature, fakeVerifier } from '../../test/fake-proofs.ts'
import { LinkedCells } from '../../test/linked-cells.ts'
import { readToken } from '../authentication/token.ts'
import { Shareable } from '../messages/shareable.ts'
import { type LoginComponents, type LoginOptions, login } from './login.ts'
import { type ProofSigner, proofText } from './proofs.ts'
import { type Applicant, serveRegistration } from './registrar.ts'

const SERVER = 'server1'
let cells: LinkedCells
let clock: FakeClock
beforeEach(async () => {
  cells = await LinkedCells.open()
  clock = fakeClock()
})
afterEach(() => cells[Symbol.asyncDispose]())

interface Door {
  readonly let: Applicant[]
  readonly refused: { name: string; cell: string; reason: string }[]
}

/** Serves logins at the server. */
function openDoor({
  signer = fakeSigner({ name: SERVER }),
  refusal = (_applicant: Applicant): string | undefined => undefined,
  tokenSigner = SERVER,
  cell = cells.server,
} = {}): Door {
  const door: Door = { let: [], refused: [] }
  serveRegistration(
    cell,
    {
      signer,
      verifier: fakeVerifier(),
      mac: fakeMac,
      clock,
      createKeyShare: createFrameKeyShare,
      signToken: (name, token) => fakeTokenSignature(tokenSigner, name, token),
      refusal,
      onRegistered: (applicant) => door.let.push(applicant),
      onRefused: (facts) => door.refused.push(facts),
    },
    { project: 'league', software: 'hanse' },
  )
  return door
}

function enter(
  cell: Cell,
  signer: ProofSigner,
  options: Partial<LoginOptions> = {},
  components: Partial<LoginComponents> = {},
) {
  return login(
    { cell, signer, verifier: fakeVerifier(), clock, logger: silentLogger, ...components },
    {
      kind: 'site',
      project: 'league',
      serverIdentity: SERVER,
      software: 'test 1',
      publicProperties: new Map([['__identity_name__', signer.name]]),
      ...options,
    },
  )
}

const refusedWith = (text: RegExp) =>
  expect.objectContaining({ code: 'ERR_LOGIN_REFUSED', message: expect.stringMatching(text) })

describe('a login', () => {
  it('gives a site a token that names it, its cell and its certificate', async () => {
    const door = openDoor()
    const site = await cells.linked('site-1')
    const siteConfig = new Map([['allow_log_streaming', true]])
    const result = await enter(site, fakeSigner({ name: 'site-1' }), { siteConfig })
    expect(result.server.name).toBe(SERVER)
    expect(result.credentials).toMatchObject({ name: 'site-1', ssid: 'NA' })
    expect(readToken(result.credentials.token, fakeMac)).toMatchObject({
      kind: 'site',
      name: 'site-1',
      cell: 'site-1',
      fingerprint: 'fp-site-1',
    })
    expect(door.let).toMatchObject([
      { kind: 'site', software: 'test 1', siteConfig: '{"allow_log_streaming":true}' },
    ])
    expect(door.refused).toEqual([])
  })

  it('gives a person one for the cell of this run', async () => {
    openDoor()
    const admin = await cells.linked('_admin_1')
    const signer = fakeSigner({ name: 'lead@example.org', role: 'lead' })
    const { credentials } = await enter(admin, signer, { kind: 'admin' })
    expect(readToken(credentials.token, fakeMac)).toMatchObject({ kind: 'admin', cell: '_admin_1' })
  })

  it('waits for a server that is not there, and gives up at the signal', async () => {
    const site = cells.cell('site-1')
    const stop = new AbortController()
    const pending = enter(site, fakeSigner({ name: 'site-1' }), { signal: stop.signal })
    await expect.poll(() => clock.pending).toBe(1)
    openDoor()
    await cells.link(site)
    clock.advance(2_000)
    await expect(pending).resolves.toMatchObject({ credentials: { name: 'site-1' } })

    const lost = cells.cell('site-2')
    const waiting = enter(lost, fakeSigner({ name: 'site-2' }), { signal: stop.signal })
    stop.abort(new Error('stopped'))
    await expect(waiting).rejects.toThrow('stopped')
  })

  it('starts over with a server that was started anew in between', async () => {
    const door = openDoor()
    const site = await cells.linked('site-1')
    let forgets = 1
    cells.server.incoming(({ headers }) => {
      if (headers.get('cn__topic') !== 'register' || forgets-- <= 0) return undefined
      clock.advance(61_000)
      return undefined
    })
    const pending = enter(site, fakeSigner({ name: 'site-1' }))
    await expect.poll(() => clock.pending).toBe(1)
    clock.advance(2_000)
    await expect(pending).resolves.toMatchObject({ credentials: { name: 'site-1' } })
    expect(door.refused).toMatchObject([{ reason: expect.stringMatching(/no registration/) }])
  })

  it('does not start over for ever', async () => {
    cells.server.handle('task', 'register', () => ({
      returnCode: 'unauthenticated',
      error: 'no registration session',
    }))
    const signer = fakeSigner({ name: SERVER })
    cells.server.handle('task', 'challenge', ({ headers }) => ({
      body: challengeOf(signer, String(headers.get('nonce'))),
    }))
    const site = await cells.linked('site-1')
    const impatient = {
      ...clock,
      setTimer: (_ms: number, done: () => void) => systemClock.setTimer(0, done),
    }
    await expect(
      enter(site, fakeSigner({ name: 'site-1' }), {}, { clock: impatient }),
    ).rejects.toEqual(refusedWith(/no registration session/))
  })
})

function challengeOf(signer: ProofSigner, nonce: string): Shareable {
  return new Shareable(
    new Map(),
    new Map<string, FobsValue>([
      ['nonce', 'n'],
      ['cn', signer.name],
      ['cert', new TextEncoder().encode(signer.certificateChain)],
      ['signature', signer.sign(proofText(signer.name, nonce)) as Uint8Array],
    ]),
  )
}

describe('the server', () => {
  const cases: [string, string, ProofSigner, Partial<LoginOptions>, RegExp][] = [
    [
      'a site of another league',
      'site-1',
      fakeSigner({ ca: 'other', name: 'site-1' }),
      {},
      /not of this league/,
    ],
    [
      'a stolen certificate without its key',
      'site-1',
      fakeSigner({ name: 'site-1' }, 'guessed'),
      {},
      /signature does not hold/,
    ],
    [
      'a certificate that is not for clients',
      'site-1',
      fakeSigner({ name: 'site-1', usage: 'server' }),
      {},
      /not for a client/,
    ],
    [
      'another project',
      'site-1',
      fakeSigner({ name: 'site-1' }),
      { project: 'other' },
      /does not match/,
    ],
    [
      "a cell that is not the site's",
      'site-2',
      fakeSigner({ name: 'site-1' }),
      {},
      /cell 'site-2' is not that of 'site-1'/,
    ],
    [
      "a person's certificate as a site",
      'lead',
      fakeSigner({ name: 'lead', role: 'lead' }),
      {},
      /is a person's, not a site's/,
    ],
    [
      "a site's certificate as a person",
      '_admin_1',
      fakeSigner({ name: 'site-1' }),
      { kind: 'admin' },
      /gives no role/,
    ],
    [
      'a person in a cell that is not for people',
      'lead',
      fakeSigner({ name: 'lead', role: 'lead' }),
      { kind: 'admin' },
      /_admin_ cell/,
    ],
  ]
  it.each(cases)('refuses and reports %s', async (_what, name, signer, options, reason) => {
    const door = openDoor()
    const cell = await cells.linked(name)
    await expect(enter(cell, signer, options)).rejects.toEqual(refusedWith(reason))
    expect(door.let).toEqual([])
    expect(door.refused).toEqual([
      { name: signer.name, cell: name, reason: expect.stringMatching(reason) },
    ])
  })

  it('lets its owner say no to a name that is proven', async () => {
    openDoor({ refusal: ({ identity }) => `Client '${identity.name}' is disabled` })
    const site = await cells.linked('site-1')
    await expect(enter(site, fakeSigner({ name: 'site-1' }))).rejects.toEqual(
      refusedWith(/disabled/),
    )
  })

  /** What a client sends, step by step. */
  function byHand(cell: Cell, signer: ProofSigner) {
    const challenge = async () => {
      const reply = await cell.request('server', 'task', 'challenge', null, {
        headers: { cn: signer.name, nonce: 'mine' },
      })
      return String((reply.body as Shareable).content.get('nonce'))
    }
    const register = (nonce: string, more: Record<string, string> = {}, body?: unknown) =>
      cell.request(
        'server',
        'task',
        'register',
        body ??
          new Shareable(
            new Map(),
            new Map<string, FobsValue>([
              ['cert', new TextEncoder().encode(signer.certificateChain)],
              ['signature', signer.sign(proofText(signer.name, nonce)) as Uint8Array],
            ]),
          ),
        {
          headers: {
            client_name: signer.name,
            client_type: 'regular',
            project_name: 'league',
            ...more,
          },
        },
      )
    return { challenge, register }
  }

  it('takes a nonce once, only its newest, and only for a while', async () => {
    const door = openDoor()
    const site = await cells.linked('site-1')
    const { challenge, register } = byHand(site, fakeSigner({ name: 'site-1' }))
    const nonce = await challenge()
    expect((await register(nonce)).returnCode).toBe('ok')
    expect(await register(nonce)).toMatchObject({ returnCode: 'unauthenticated' })

    const older = await challenge()
    await challenge()
    expect(await register(older)).toMatchObject({ error: expect.stringMatching(/signature/) })

    const late = await challenge()
    clock.advance(60_001)
    expect(await register(late)).toMatchObject({ error: expect.stringMatching(/no registration/) })
    expect(door.let).toHaveLength(1)
    expect(door.refused).toHaveLength(3)
  })

  it('gives one link so many challenges and no more, and others theirs', async () => {
    const door = openDoor()
    const [flood, other] = [await cells.linked('site-1'), await cells.linked('site-2')]
    const ask = (cell: Cell) =>
      cell.request('server', 'task', 'challenge', null, { headers: { cn: 'x', nonce: 'mine' } })
    for (let i = 0; i < 20; i++) expect(await ask(flood)).toMatchObject({ returnCode: 'ok' })
    expect(await ask(flood)).toMatchObject({
      returnCode: 'service_unavailable',
      error: expect.stringMatching(/challenges/),
    })
    expect(await ask(other)).toMatchObject({ returnCode: 'ok' })
    expect(door.refused).toMatchObject([{ cell: 'site-1' }])
    clock.advance(10_000)
    expect(await ask(flood)).toMatchObject({ returnCode: 'ok' })
  })

  it("does not take another's nonce", async () => {
    openDoor()
    const one = byHand(await cells.linked('site-1'), fakeSigner({ name: 'site-1' }))
    const two = byHand(await cells.linked('site-2'), fakeSigner({ name: 'site-2' }))
    const nonce = await one.challenge()
    await two.challenge()
    expect(await two.register(nonce)).toMatchObject({ returnCode: 'unauthenticated' })
    expect((await one.register(nonce)).returnCode).toBe('ok')
  })

  it('refuses what is not a registration', async () => {
    openDoor()
    const site = await cells.linked('site-1')
    const { challenge, register } = byHand(site, fakeSigner({ name: 'site-1' }))
    for (const [more, body, reason] of [
      [{ client_type: 'god' }, undefined, /client_type/],
      [{}, 'text', /not a Shareable/],
      [{}, new Shareable(), /missing/],
    ] as const) {
      const nonce = await challenge()
      expect(await register(nonce, more, body)).toMatchObject({
        returnCode: 'unauthenticated',
        error: expect.stringMatching(reason),
      })
    }
    for (const nonce of ['', 'x'.repeat(129)])
      expect(
        await site.request('server', 'task', 'challenge', null, { headers: { nonce } }),
      ).toMatchObject({ returnCode: 'invalid_request' })
  })

  it('takes no facts about a site that are too many or no JSON', async () => {
    const door = openDoor()
    const site = await cells.linked('site-1')
    for (const siteConfig of [
      new Map([['text', 'x'.repeat(70_000)]]),
      new Map([['bytes', new Uint8Array(1)]]),
    ])
      await enter(site, fakeSigner({ name: 'site-1' }), { siteConfig })
    expect(door.let.map((applicant) => applicant.siteConfig)).toEqual(['', ''])
  })
})

describe('a site', () => {
  it.each<[string, ProofSigner]>([
    ['another name', fakeSigner({ name: 'evil' })],
    ['another league', fakeSigner({ ca: 'other', name: SERVER })],
    ['a certificate without its key', fakeSigner({ name: SERVER }, 'guessed')],
    ["a client's certificate", fakeSigner({ name: SERVER, usage: 'client' })],
  ])('tells nothing to a server with %s', async (_what, signer) => {
    const door = openDoor({ signer })
    const site = await cells.linked('site-1')
    await expect(enter(site, fakeSigner({ name: 'site-1' }))).rejects.toMatchObject({
      code: 'ERR_SERVER_IDENTITY',
    })
    expect([...door.let, ...door.refused]).toEqual([])
  })

  it('takes no token that the server did not sign', async () => {
    openDoor({ tokenSigner: 'somebody' })
    const site = await cells.linked('site-1')
    await expect(enter(site, fakeSigner({ name: 'site-1' }))).rejects.toMatchObject({
      code: 'ERR_LOGIN_PROTOCOL',
    })
  })

  it.each<[string, unknown, string]>([
    ['no map', 'x', 'ERR_LOGIN_PROTOCOL'],
    ['no token', new Map(), 'ERR_LOGIN_REFUSED'],
    [
      'a signature that is no base64',
      new Map([
        ['__token__', 't'],
        ['__token_signature__', '%'],
      ]),
      'ERR_LOGIN_PROTOCOL',
    ],
  ])('understands an answer with %s', async (_what, body, code) => {
    const signer = fakeSigner({ name: SERVER })
    cells.server.handle('task', 'challenge', ({ headers }) => ({
      body: challengeOf(signer, String(headers.get('nonce'))),
    }))
    cells.server.handle('task', 'register', () => ({ body }))
    const site = await cells.linked('site-1')
    await expect(enter(site, fakeSigner({ name: 'site-1' }))).rejects.toMatchObject({ code })
  })

  it('understands no challenge without its parts', async () => {
    const site = await cells.linked('site-1')
    for (const body of ['x', new Shareable()]) {
      cells.server.handle('task', 'challenge', () => ({ body }))
      await expect(enter(site, fakeSigner({ name: 'site-1' }))).rejects.toMatchObject({
        code: 'ERR_LOGIN_PROTOCOL',
      })
    }
  })
})
