import { createHmac } from 'node:crypto'
import type { HeaderValue, PeerLink } from '@hanse/cellnet'
import { describe, expect, it } from 'vitest'
import { type TokenClaims, writeToken } from './token.ts'
import { createTokenGuard, type RefusedMessage } from './token-guard.ts'

const mac = {
  mac: (data: Uint8Array) => new Uint8Array(createHmac('sha256', 'key').update(data).digest()),
}

const claimsOf = (name: string, more: Partial<TokenClaims> = {}): TokenClaims => ({
  kind: 'site',
  name,
  cell: name,
  fingerprint: `fp-${name}`,
  issuedAt: 0,
  nonce: name,
  proven: false,
  ...more,
})

const linkOf = (
  fqcn: string,
  peerName = fqcn,
  fingerprint = `fp-${peerName}`,
  proven = false,
): PeerLink => ({
  fqcn,
  peerName,
  connection: { info: { peerFingerprint: fingerprint } } as PeerLink['connection'],
  role: 'passive',
  connectedAt: 0,
  capabilities: [],
  proofs: { offered: proven, active: proven, report: {}, stage: () => {}, start: () => {} },
  isOpen: true,
  open: () => {},
})

/** A guard whose signature over a text is that text turned round. */
function setUp(objection: (claims: TokenClaims) => string | undefined = () => undefined) {
  const refused: RefusedMessage[] = []
  const now = { ms: 0 }
  const guard = createTokenGuard({
    mac,
    clock: { now: () => now.ms, setTimer: () => ({ [Symbol.dispose]() {} }) },
    verifySignature: (text, signature) => signature === signatureOf(text),
    objection,
    isOwnJob: (link) => link.fqcn === 'server.job',
    onRefused: (refusal) => refused.push(refusal),
  })
  const pass = (headers: Map<string, HeaderValue>, link: PeerLink | undefined) =>
    guard.filter({ headers, link, forMe: headers.get('cn__destination') === 'server' })
  return { guard, refused, pass, now }
}

const signatureOf = (text: string) => [...text].toReversed().join('')

function message(name: string, more: Record<string, HeaderValue> = {}, claims = claimsOf(name)) {
  const token = writeToken(claims, mac)
  return new Map<string, HeaderValue>(
    Object.entries({
      cn__origin: name,
      cn__destination: 'server',
      cn__channel: 'task',
      cn__topic: 'heart_beat',
      client_name: name,
      __token__: token,
      __token_signature__: signatureOf(name + token),
      ...more,
    }),
  )
}

describe('token guard', () => {
  it('passes a message of the cell that logged in, and of the cells below it', () => {
    const { guard, pass } = setUp()
    expect(pass(message('site-1'), linkOf('site-1'))).toBeUndefined()
    const job = message('site-1', { cn__origin: 'site-1.job', cn__destination: 'server.job' })
    expect(pass(job, linkOf('site-1'))).toBeUndefined()
    expect(guard.claimsOf(job)).toMatchObject({ kind: 'site', name: 'site-1' })
  })

  it('takes the token of a login with proofs over a link with proofs only, and the reverse', () => {
    const { pass } = setUp()
    const proven = claimsOf('site-1', { proven: true })
    const withProofs = linkOf('site-1', 'site-1', 'fp-site-1', true)
    expect(pass(message('site-1', {}, proven), withProofs)).toBeUndefined()
    expect(pass(message('site-1', {}, proven), linkOf('site-1'))).toMatchObject({
      reject: 'unauthenticated',
      reason: expect.stringMatching(/good only together with proofs/),
    })
    expect(pass(message('site-1'), withProofs)).toMatchObject({
      reason: expect.stringMatching(/of a login without/),
    })
  })

  it('ends the token of a login with proofs after its time; others live with their sessions', () => {
    const { pass, now } = setUp()
    const proven = message('site-1', {}, claimsOf('site-1', { proven: true }))
    const link = linkOf('site-1', 'site-1', 'fp-site-1', true)
    now.ms = 24 * 3_600_000
    expect(pass(proven, link)).toBeUndefined()
    now.ms += 1
    expect(pass(proven, link)).toMatchObject({ reason: expect.stringMatching(/expired/) })
    expect(pass(message('site-2'), linkOf('site-2'))).toBeUndefined()
  })

  const attacks: [string, Map<string, HeaderValue>, PeerLink, RegExp][] = [
    ['no token', message('site-1', { __token__: '' }), linkOf('site-1'), /no token/],
    [
      'a made-up token',
      message('site-1', { __token__: 'hanse1.e30.AAAA' }),
      linkOf('site-1'),
      /not issued/,
    ],
    [
      'a stock-like token',
      message('site-1', { __token__: crypto.randomUUID() }),
      linkOf('site-1'),
      /not issued/,
    ],
    [
      'another signature',
      message('site-1', { __token_signature__: 'x' }),
      linkOf('site-1'),
      /not issued/,
    ],
    [
      "another's name",
      message('site-1', { client_name: 'site-2' }),
      linkOf('site-1'),
      /another name|not issued/,
    ],
    ['a forged origin', message('site-1', { cn__origin: 'site-2' }), linkOf('site-1'), /origin/],
    [
      'a name that only begins alike',
      message('site-1', { cn__origin: 'site-10' }),
      linkOf('site-1'),
      /origin/,
    ],
    [
      'the origin of the server',
      message('site-1', { cn__origin: 'server' }),
      linkOf('site-1'),
      /origin/,
    ],
    ['a token stolen by another cell', message('site-1'), linkOf('site-2'), /link of another cell/],
    [
      'a link with another certificate',
      message('site-1'),
      linkOf('site-1', 'site-2'),
      /certificate names/,
    ],
    [
      'another certificate of the same name',
      message('site-1'),
      linkOf('site-1', 'site-1', 'other'),
      /another certificate/,
    ],
    [
      'a challenge sent under a foreign origin',
      message('site-1', { cn__topic: 'challenge', cn__origin: 'site-2', __token__: '' }),
      linkOf('site-1'),
      /no token/,
    ],
    [
      'a register that only passes through',
      message('site-1', { cn__topic: 'register', cn__destination: 'site-2', __token__: '' }),
      linkOf('site-1'),
      /no token/,
    ],
    [
      'a goodbye in the name of another',
      message('site-1', {
        cn__channel: 'cellnet.channel',
        cn__topic: 'bye',
        cn__origin: 'site-2',
        __token__: '',
      }),
      linkOf('site-1'),
      /no token/,
    ],
  ]
  it.each(attacks)('refuses and reports: %s', (_name, headers, link, reason) => {
    const { refused, pass } = setUp()
    expect(pass(headers, link)).toMatchObject({
      reject: 'unauthenticated',
      reason: expect.stringMatching(reason),
    })
    expect(refused).toHaveLength(1)
  })

  it('moves the boundary of name and token nowhere', () => {
    const { pass } = setUp()
    const honest = message('site-1')
    const token = honest.get('__token__') as string
    const shifted = message('site-1', { client_name: 'site-', __token__: `1${token}` })
    expect(pass(shifted, linkOf('site-1'))).toMatchObject({ reject: 'unauthenticated' })
  })

  it('lets a login through before there is a token', () => {
    const { pass } = setUp()
    const challenge = new Map<string, HeaderValue>([
      ['cn__origin', 'site-1'],
      ['cn__destination', 'server'],
      ['cn__channel', 'task'],
      ['cn__topic', 'challenge'],
    ])
    expect(pass(challenge, linkOf('site-1'))).toBeUndefined()
  })

  it('asks on every message whether the claims still hold', () => {
    let objection: string | undefined
    const { pass } = setUp(() => objection)
    expect(pass(message('site-1'), linkOf('site-1'))).toBeUndefined()
    objection = "'site-1' is disabled"
    expect(pass(message('site-1'), linkOf('site-1'))).toMatchObject({ reason: objection })
  })

  it("needs no token from the server's own job and tells nobody another's token", () => {
    const { pass } = setUp()
    const own = new Map<string, HeaderValue>([['cn__origin', 'server.job']])
    expect(pass(own, linkOf('server.job'))).toBeUndefined()
    const crossing = message('site-1', {
      cn__destination: 'site-2',
      cn__server_transit_required: true,
    })
    expect(pass(crossing, linkOf('site-1'))).toBeUndefined()
    for (const key of ['client_name', '__token__', '__token_signature__', 'ssid'])
      expect(crossing.has(key)).toBe(false)
  })
})
