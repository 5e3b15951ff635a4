import type { Cell, Connector, PeerLink } from '@hanse/cellnet'
import { silentLogger } from '@hanse/contract'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeClock, fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { createFrameKeyShare } from '../../../pki/src/frame-proofs.ts'
import { fakeMac, fakeSigner, fakeTokenSignature, fakeVerifier } from '../../test/fake-proofs.ts'
import { LinkedCells } from '../../test/linked-cells.ts'
import { readToken } from '../authentication/token.ts'
import { adminCodecs, platformCodecs } from '../messages/message-codecs.ts'
import { Shareable } from '../messages/shareable.ts'
import type { KeyShare, KeyShareFactory } from './key-agreement.ts'
import { type Login, type LoginOptions, login } from './login.ts'
import { proofText } from './proofs.ts'
import { type Applicant, serveRegistration } from './registrar.ts'

const SERVER = 'server1'

let cells: LinkedCells
let clock: FakeClock
let applicants: Applicant[]
let refusals: string[]
beforeEach(async () => {
  const registry = createFobsRegistry(coreCodecs, platformCodecs, adminCodecs)
  cells = await LinkedCells.open(registry, { proofs: true })
  clock = fakeClock()
  applicants = []
  refusals = []
  openDoor()
})
afterEach(() => cells[Symbol.asyncDispose]())

function openDoor(): void {
  serveRegistration(
    cells.server,
    {
      signer: fakeSigner({ name: SERVER }),
      verifier: fakeVerifier(),
      mac: fakeMac,
      clock,
      createKeyShare: createFrameKeyShare,
      signToken: (name, token) => fakeTokenSignature(SERVER, name, token),
      refusal: () => undefined,
      onRegistered: (applicant) => applicants.push(applicant),
      onRefused: ({ reason }) => refusals.push(reason),
    },
    { project: 'league', software: 'hanse' },
  )
}

async function siteWithLink(
  policy = { proofs: true },
): Promise<{ readonly cell: Cell; readonly connector: Connector; readonly link: PeerLink }> {
  const cell = cells.cell('site-1')
  const connector = await cells.link(cell, policy)
  return { cell, connector, link: connector.link! }
}

function enter(
  { cell, connector }: Awaited<ReturnType<typeof siteWithLink>>,
  options: Partial<LoginOptions> = {},
  createKeyShare: KeyShareFactory = createFrameKeyShare,
): Promise<Login> {
  return login(
    {
      cell,
      signer: fakeSigner({ name: 'site-1' }),
      verifier: fakeVerifier(),
      clock,
      logger: silentLogger,
      link: () => connector.link,
      createKeyShare,
    },
    {
      kind: 'site',
      project: 'league',
      serverIdentity: SERVER,
      software: 'test 1',
      publicProperties: new Map(),
      ...options,
    },
  )
}

const claimsOf = ({ credentials }: Login) => readToken(credentials.token, fakeMac)

describe('a login where both ends offer proofs', () => {
  it('gives keys to the link, a token that is good only with them, and what the server can', async () => {
    const site = await siteWithLink()
    const result = await enter(site)
    expect(result.link).toBe(site.link)
    expect(claimsOf(result)).toMatchObject({ name: 'site-1', proven: true })
    expect(result.capabilities).toEqual(['proof/1'])
    expect(result.tokenLifetimeMs).toBe(24 * 3_600_000)
    const far = cells.server.peers.get('site-1')!
    expect([site.link.proofs.active, far.proofs.active]).toEqual([true, true])
    // The server opens its end, whoever logged in opens the other.
    expect([site.link.isOpen, far.isOpen]).toEqual([false, true])
  })

  it('is renewed over the same link: the same session, a newer token', async () => {
    const site = await siteWithLink()
    const first = await enter(site)
    clock.advance(1_000)
    const second = await enter(site, { renews: first.credentials })
    expect(claimsOf(second)).toMatchObject({ nonce: claimsOf(first)!.nonce, issuedAt: clock.now() })
    expect(applicants.map(({ renews }) => renews?.nonce)).toEqual([
      undefined,
      claimsOf(first)!.nonce,
    ])
  })

  it('goes on over another link, with other keys', async () => {
    const site = await siteWithLink()
    const first = await enter(site)
    await site.connector[Symbol.asyncDispose]()
    await expect.poll(() => cells.server.peers.size).toBe(0)
    const connector = await cells.link(site.cell, { proofs: true })
    const again = { ...site, connector, link: connector.link! }
    const second = await enter(again, { renews: first.credentials })
    expect(again.link.proofs.active).toBe(true)
    expect(claimsOf(second)?.nonce).toBe(claimsOf(first)?.nonce)
  })

  it('goes on with nothing that was issued to somebody else', async () => {
    const other = cells.cell('site-2')
    const connector = await cells.link(other, { proofs: true })
    const stolen = await login(
      {
        cell: other,
        signer: fakeSigner({ name: 'site-2' }),
        verifier: fakeVerifier(),
        clock,
        logger: silentLogger,
        link: () => connector.link,
        createKeyShare: createFrameKeyShare,
      },
      {
        kind: 'site',
        project: 'league',
        serverIdentity: SERVER,
        software: 'test 1',
        publicProperties: new Map(),
      },
    )
    const site = await siteWithLink()
    await expect(enter(site, { renews: stolen.credentials })).rejects.toMatchObject({
      code: 'ERR_LOGIN_REFUSED',
      message: expect.stringMatching(/issued to somebody else/),
    })
  })

  it('is not followed by a login of another kind over the same link', async () => {
    const site = await siteWithLink()
    await enter(site)
    await expect(enter(site)).rejects.toMatchObject({
      message: expect.stringMatching(/belongs to a login already/),
    })
  })

  it('takes a token of before a change of the server key for none', async () => {
    const site = await siteWithLink()
    const first = await enter(site)
    await site.connector[Symbol.asyncDispose]()
    await expect.poll(() => cells.server.peers.size).toBe(0)
    const connector = await cells.link(site.cell, { proofs: true })
    const token = first.credentials.token.replace('hanse1.', 'hanse0.')
    const renews = { ...first.credentials, token }
    const second = await enter({ ...site, connector }, { renews })
    expect(claimsOf(second)?.nonce).not.toBe(claimsOf(first)?.nonce)
  })
})

describe('where TLS ends', () => {
  /** A link whose ends know these bindings of their TLS connections. */
  async function over(
    mode: 'mtls' | 'tls',
    [near, far]: readonly [string | undefined, string | undefined],
  ) {
    const claim = (peerName: string, channelBinding: string | undefined) => ({
      mode,
      peerName: mode === 'mtls' ? peerName : undefined,
      ...(channelBinding !== undefined && { channelBinding }),
    })
    const cell = cells.cell('site-1', {
      dialler: claim('site-1', far),
      listener: claim('server', near),
    })
    const connector = await cells.link(cell, { proofs: true })
    const covers: boolean[] = []
    const createShare = (): KeyShare => {
      const own = createFrameKeyShare()
      return {
        share: own.share,
        agree(share, options) {
          covers.push(options.coversPayload)
          return own.agree(share, options)
        },
      }
    }
    return { site: { cell, connector, link: connector.link! }, createShare, covers }
  }

  it.each<['mtls' | 'tls', readonly [string | undefined, string | undefined], boolean]>([
    ['mtls', ['aa', 'aa'], false],
    ['tls', ['aa', 'aa'], false],
    ['tls', ['aa', 'bb'], true],
    ['tls', ['aa', undefined], true],
    ['tls', [undefined, 'bb'], true],
    ['mtls', [undefined, undefined], true],
  ])(
    'codes cover bodies unless both ends have the same TLS connection: %s %o',
    async (mode, ends, all) => {
      const { site, createShare, covers } = await over(mode, ends)
      await enter(site, {}, createShare)
      expect(covers).toEqual([all])
    },
  )

  it('nobody may be in between where TLS is mutual', async () => {
    for (const near of ['aa', undefined]) {
      const { site } = await over('mtls', [near, 'bb'])
      await expect(enter(site)).rejects.toMatchObject({
        code: 'ERR_LOGIN_REFUSED',
        message: expect.stringMatching(/somebody is in between/),
      })
      await site.connector[Symbol.asyncDispose]()
      await expect.poll(() => cells.server.peers.size).toBe(0)
    }
  })
})

describe('somebody on the way', () => {
  /** Answers challenges like the server, but for what `change` does to the answer. */
  function intercept(change: (proofs: Map<string, unknown>) => void): void {
    const signer = fakeSigner({ name: SERVER })
    cells.server.handle('task', 'challenge', ({ headers }) => {
      const own = createFrameKeyShare()
      const proofs = new Map<string, unknown>([
        ['capabilities', ['proof/1']],
        ['share', own.share],
        ['covers_payload', true],
        ['signature', new Uint8Array(32)],
      ])
      change(proofs)
      const body = new Shareable()
      body.content.set('nonce', 'n')
      body.content.set('cn', SERVER)
      body.content.set('cert', new TextEncoder().encode(signer.certificateChain))
      const text = proofText(SERVER, String(headers.get('nonce')))
      body.content.set('signature', signer.sign(text) as Uint8Array)
      if (proofs.size > 0) body.content.set('hanse', proofs as Map<string, string>)
      return { body }
    })
  }

  it('cannot put in a key of its own: the server signs what it said', async () => {
    intercept(() => {})
    await expect(enter(await siteWithLink())).rejects.toMatchObject({
      code: 'ERR_SERVER_IDENTITY',
      message: expect.stringMatching(/the signature does not hold/),
    })
  })

  it('cannot take the offer out of the login', async () => {
    intercept((proofs) => proofs.clear())
    await expect(enter(await siteWithLink())).rejects.toMatchObject({
      code: 'ERR_LOGIN_PROTOCOL',
      message: expect.stringMatching(/does not say with which keys/),
    })
  })

  it('cannot make a server that is known to prove its messages look like one that cannot', async () => {
    await using plain = await LinkedCells.open()
    const cell = plain.cell('site-1')
    const connector = await plain.link(cell, { proofs: true })
    const site = { cell, connector, link: connector.link! }
    await expect(enter(site, { expectedCapabilities: ['proof/1'] })).rejects.toMatchObject({
      code: 'ERR_DOWNGRADE',
      message: expect.stringMatching(/known to offer proof\/1 and now does not/),
    })
  })

  it('cannot log in without proofs over a link that offered them', async () => {
    const site = await siteWithLink()
    const reply = await site.cell.request('server', 'task', 'challenge', null, {
      headers: { cn: 'site-1', nonce: 'n' },
      via: site.link,
    })
    expect(reply).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(/must agree on their keys/),
    })
    expect(refusals).toEqual([expect.stringMatching(/must agree on their keys/)])
  })
})
