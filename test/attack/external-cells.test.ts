import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createCell, type PeerLink } from '@hanse/cellnet'
import { silentLogger, systemClock } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { createFrameKeyShare, loginSigner, loginVerifier } from '@hanse/pki'
import { type Credentials, login, participantStamp, platformCodecs } from '@hanse/session'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { logIn } from '../support/attacker-login.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { ATTACK_SCHEME } from '../support/attacker-wire.ts'
import { SERVER } from '../support/league.ts'

const PROGRAM = 'site-3.-program'
const FRIEND = 'site-4.-friend'

const SETTINGS = {
  format_version: 1,
  external_cells: {
    [PROGRAM]: { send: [{ to: FRIEND, channel: 'app.talk', topics: ['hello'] }] },
    [FRIEND]: {},
  },
}

let scene: AttackScene
beforeAll(async () => {
  scene = await AttackScene.start({
    prepare: (league) =>
      writeFile(join(league.kit(SERVER), 'local', 'hanse.json'), JSON.stringify(SETTINGS)),
  })
})
afterAll(() => scene?.[Symbol.asyncDispose]())
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

/** A program that has joined as it may, and can say what it likes. */
async function join3rdParty(holder: string, name: string, kind: 'external' | 'site' = 'external') {
  const { league } = scene
  const identity = await scene.identityOf(holder)
  const registry = createFobsRegistry(coreCodecs, platformCodecs)
  const cell = scene.owns(
    createCell(
      name,
      { drivers: [tcp(), http(), grpc()], registry },
      { ownName: holder, identities: new Map([['server', SERVER]]) },
    ),
  )
  let credentials: Credentials | undefined
  const stamp = participantStamp(name, () => credentials)
  cell.outgoing(stamp)
  const up = Promise.withResolvers<PeerLink>()
  const connector = cell.dial(
    new URL(`${ATTACK_SCHEME}://localhost:${league.port}`),
    { mode: 'mtls', tls: identity.tls },
    { proofs: true },
  )
  connector.on('connected', ({ link }) => up.resolve(link))
  connector.on('refused', ({ reason }) => up.reject(new Error(reason)))
  const link = await up.promise
  const result = await login(
    {
      cell,
      clock: systemClock,
      logger: silentLogger,
      link: () => link,
      signer: loginSigner(identity),
      verifier: loginVerifier(identity, systemClock),
      createKeyShare: createFrameKeyShare,
    },
    {
      kind,
      project: 'test_league',
      serverIdentity: SERVER,
      software: 'attacker',
      publicProperties: new Map(),
    },
  )
  credentials = result.credentials
  link.open()
  return {
    cell,
    credentials: () => credentials,
    /** Of somebody else. */
    use(stolen: Credentials) {
      credentials = stolen
    },
  }
}

describe('an external cell', () => {
  it.each([
    ['that the server does not name', 'site-3', 'site-3.-other', 'unexpected-name'],
    ['below one that it names', 'site-3', `${PROGRAM}.more`, 'unexpected-name'],
    ["of another kit's", 'site-3', FRIEND, 'identity-mismatch'],
  ])('%s does not come in', async (_which, holder, name, code) => {
    const peer = await scene.dial(holder)
    expect(await peer.hello(name)).toMatchObject({
      admitted: false,
      code: code.replace('-', '_'),
    })
    await scene.recorded(SERVER, { actor: holder, act: 'connect', code })
  })

  it('says nothing without a login', async () => {
    const peer = await scene.link('site-3', PROGRAM)
    const reply = await peer.request({
      cn__channel: 'app.talk',
      cn__topic: 'hello',
      cn__destination: FRIEND,
    })
    expect(reply.returnCode).toBe('unauthenticated')
    await scene.recorded(SERVER, { act: 'message', code: 'unauthenticated', text: /no token/ })
  })

  it.each([
    ['without proofs', 'external', /must prove where each message comes from/],
    ['as its site', 'regular', /is not that of 'site-3'/],
    ['as a person', 'admin', /gives no role/],
  ])('does not log in %s', async (_how, clientType, reason) => {
    const peer = await scene.link('site-3', PROGRAM)
    const { reply } = await logIn(peer, await scene.identityOf('site-3'), { clientType })
    expect(reply).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(reason),
    })
    await scene.recorded(SERVER, { act: 'login', code: 'unauthenticated', text: reason })
  })

  it('does not log in over the link of a site', async () => {
    const peer = await scene.link('site-3')
    const lies = { clientType: 'external' }
    const { reply } = await logIn(peer, await scene.identityOf('site-3'), lies)
    expect(reply.error).toMatch(/is not one that 'site-3' may give/)
    await scene.recorded(SERVER, { act: 'login', text: /external program/ })
  })

  it('says what it was granted', async () => {
    scene.noAttack()
    const friend = await join3rdParty('site-4', FRIEND)
    friend.cell.handle('app.talk', 'hello', ({ origin }) => ({ body: `hello ${origin}` }))
    const { cell } = await join3rdParty('site-3', PROGRAM)
    expect(await cell.request(FRIEND, 'app.talk', 'hello', null)).toMatchObject({
      returnCode: 'ok',
      body: `hello ${PROGRAM}`,
    })
  })

  it.each([
    ['a heartbeat of a site', 'server', 'task', 'heart_beat'],
    ['a question for a task', 'server', 'task', 'get_task'],
    ['a command of a person', 'server', 'admin', 'command'],
    ['a watch that was not granted', 'server', 'external_cells', 'watch'],
    ['a bulk of messages', 'server', 'cellnet.channel', 'bulk'],
    ['a word to another site', 'site-1', 'app.talk', 'hello'],
    ['a command to a site', 'site-1', 'admin', 'abort'],
    ['a word to a job', 'server.some-job', 'aux_communication', 'x'],
    ['another word to a friend', FRIEND, 'app.talk', 'bye'],
    ["a friend's other channel", FRIEND, 'aux_communication', 'hello'],
  ])('does not say %s', async (_what, to, channel, topic) => {
    const { cell } = await join3rdParty('site-3', PROGRAM)
    const reply = await cell.request(to, channel, topic, null, { timeoutMs: 2_000 })
    expect(reply.returnCode).not.toBe('ok')
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', code: 'not-granted' })
  })

  it('has no use for the token of its own site', async () => {
    const site = await join3rdParty('site-3', 'site-3', 'site')
    const program = await join3rdParty('site-3', PROGRAM)
    program.use(site.credentials()!)
    const reply = await program.cell.request('server', 'task', 'heart_beat', null)
    expect(reply.returnCode).toBe('unauthenticated')
    await scene.recorded(SERVER, {
      actor: 'site-3',
      code: 'unauthenticated',
      text: /token of 'site-3' came over the link of 'site-3\.-program'/,
    })
  })

  it('hears from no site, not even from its own', async () => {
    await join3rdParty('site-4', FRIEND)
    const site = await join3rdParty('site-3', 'site-3', 'site')
    const reply = await site.cell.request(FRIEND, 'app.talk', 'hello', null, { timeoutMs: 2_000 })
    expect(reply.returnCode).not.toBe('ok')
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', code: 'not-granted' })
  })
})
