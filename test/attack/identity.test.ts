import { loadKit } from '@hanse/provision'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  challenge,
  command,
  logIn,
  openAttackerSession,
  register,
} from '../support/attacker-login.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { League, SERVER } from '../support/league.ts'

const MEMBER = 'member@example.org'
const BOSS = 'boss@example.org'

let scene: AttackScene
let foreign: League
beforeAll(async () => {
  ;[scene, foreign] = await Promise.all([
    AttackScene.start(),
    League.provision({ name: 'other_league', sites: ['site-1'] }),
  ])
})
afterAll(async () => {
  await Promise.all([scene?.[Symbol.asyncDispose](), foreign?.[Symbol.asyncDispose]()])
})
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

describe('a connection', () => {
  it('without a certificate gets nowhere', async () => {
    const nobody = await scene.dial(undefined)
    expect(await nobody.hello('site-3')).toMatchObject({ admitted: false, code: 'closed' })
    await scene.recorded(SERVER, { act: 'connect', code: 'handshake-missing' })
  })

  it('with a certificate of another league gets nowhere', async () => {
    const { identity } = await loadKit(foreign.kit('site-1'), { now: Date.now() })
    const stranger = await scene.stranger(identity)
    expect(await stranger.hello('site-1')).toMatchObject({ admitted: false, code: 'closed' })
    await scene.recorded(SERVER, { act: 'connect', code: 'handshake-untrusted' })
  })

  it.each([
    ['another site', 'site-1', 'identity_mismatch'],
    ['a job of another site', 'site-1.5f1c', 'identity_mismatch'],
    ['a cell below another site', 'site-1.site-3', 'identity_mismatch'],
    ["one of the server's jobs", 'server.5f1c', 'identity_mismatch'],
    ['the server', 'server', 'own_name'],
    ['a site whose name begins alike', 'site-33', 'identity_mismatch'],
    ['nothing that is a name', '../site-3', 'invalid_name'],
  ])('that says it is %s is refused with the reason', async (_who, name, code) => {
    const peer = await scene.dial('site-3')
    expect(await peer.hello(name)).toMatchObject({ admitted: false, code })
    await peer.closed
    const isName = code !== 'invalid_name'
    await scene.recorded(SERVER, {
      actor: 'site-3',
      act: isName ? 'connect' : 'protocol',
      code: isName ? code.replace('_', '-') : 'headers',
    })
  })

  it('under a name that is alive does not push it out, even with its certificate', async () => {
    const copy = await scene.dial('site-1')
    expect(await copy.hello('site-1')).toMatchObject({ admitted: false, code: 'name_in_use' })
    await scene.recorded(SERVER, { actor: 'site-1', act: 'connect', code: 'name-in-use' })
  })

  it('that greets a second time under another name is cut', async () => {
    const peer = await scene.link('site-3')
    void peer.hello('site-1')
    await peer.closed
    await scene.recorded(SERVER, { actor: 'site-3', act: 'protocol', code: 'frame' })
  })
})

describe('a login', () => {
  const refused = async (login: ReturnType<typeof logIn>, reason: RegExp, actor?: string) => {
    const { reply } = await login
    expect(reply).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(reason),
    })
    await scene.recorded(SERVER, {
      act: 'login',
      code: 'unauthenticated',
      text: reason,
      ...(actor === undefined ? {} : { actor }),
    })
  }

  it('as another site is refused', async () => {
    const peer = await scene.link('site-3')
    const login = logIn(peer, await scene.identityOf('site-3'), { clientName: 'site-1' })
    await refused(login, /did not prove its identity/, 'site-1')
  })

  it("as another site with that site's certificate, which is public, is refused", async () => {
    const peer = await scene.link('site-3')
    const { chainPem } = await scene.identityOf('site-1')
    const lies = { clientName: 'site-1', certificateChain: chainPem }
    await refused(
      logIn(peer, await scene.identityOf('site-3'), lies),
      /signature is not by the key/,
    )
  })

  it('as the server is refused', async () => {
    const peer = await scene.link('site-3')
    const lies = { clientName: 'server1' }
    await refused(logIn(peer, await scene.identityOf('site-3'), lies), /identity/, 'server1')
  })

  it('of a site as a person is refused, whatever its cell is called', async () => {
    const lies = { clientType: 'admin' }
    const identity = await scene.identityOf('site-3')
    await refused(logIn(await scene.link('site-3'), identity, lies), /gives no role/)
    const admin = await scene.link('site-3', scene.personCell())
    await refused(logIn(admin, identity, lies), /gives no role/)
  })

  it('of a person as a site is refused', async () => {
    const peer = await scene.link(MEMBER, scene.personCell())
    const lies = { clientType: 'regular' }
    await refused(logIn(peer, await scene.identityOf(MEMBER), lies), /is a person's/, MEMBER)
  })

  it("over a link of somebody else's certificate is refused", async () => {
    const peer = await scene.link('site-3', scene.personCell())
    await refused(logIn(peer, await scene.identityOf(BOSS)), /link's certificate names 'site-3'/)
  })

  it('as a relay is refused: there are none in this version', async () => {
    const peer = await scene.link('site-3')
    await refused(logIn(peer, await scene.identityOf('site-3'), { clientType: 'relay' }), /relays/)
  })

  it('for another project is refused', async () => {
    const peer = await scene.link('site-3')
    await refused(logIn(peer, await scene.identityOf('site-3'), { project: 'x' }), /does not match/)
  })

  it('that was recorded is worth nothing: not again, not after a new challenge, not elsewhere', async () => {
    const { peer, recording } = await scene.intruder('site-3')
    expect(await peer.request(recording.headers, recording.payload)).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(/ask for a challenge first/),
    })
    await challenge(peer)
    expect(await peer.request(recording.headers, recording.payload)).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(/signature is not by the key/),
    })
    await peer[Symbol.asyncDispose]()
    const later = await scene.link('site-3')
    await challenge(later)
    expect(await later.request(recording.headers, recording.payload)).toMatchObject({
      returnCode: 'unauthenticated',
    })
    await scene.recorded(SERVER, { actor: 'site-3', act: 'login', text: /signature is not by/ })
  })

  it('with the challenge of another connection is refused', async () => {
    const nonce = await challenge(await scene.link('site-3'))
    const peer = await scene.link('site-4')
    const { reply } = await register(peer, await scene.identityOf('site-4'), nonce)
    expect(reply.error).toMatch(/ask for a challenge first/)
    await scene.recorded(SERVER, { actor: 'site-4', act: 'login', text: /challenge first/ })
  })

  it('under the origin of another cell is refused', async () => {
    const peer = await scene.link('site-3')
    const nonce = await challenge(peer)
    const identity = await scene.identityOf('site-3')
    const { reply } = await register(peer, identity, nonce, { origin: 'site-1' })
    expect(reply.returnCode).toBe('unauthenticated')
    await scene.recorded(SERVER, { actor: 'site-3', code: 'forged-origin', text: /task\/register/ })
  })
})

describe("a person's session", () => {
  const open = async (name: string) => {
    const login = await scene.intruder(name, scene.personCell())
    const session = await openAttackerSession(login.peer, await scene.identityOf(name), login.stamp)
    expect(session.token, session.text).not.toBe('')
    return { ...login, ...session }
  }

  it('opened with a recorded login on another connection is refused', async () => {
    const { recording } = await open(BOSS)
    // The proof has no nonce: it is worth something only where its certificate has registered.
    const thief = await scene.intruder(MEMBER, scene.personCell())
    const headers = { ...recording.headers, ...thief.stamp }
    const { payload } = await thief.peer.request(headers, recording.payload)
    expect(new TextDecoder().decode(payload)).toMatch(/REJECT/)
    await scene.recorded(SERVER, { actor: MEMBER, act: 'session.open', text: /boss@example.org/ })
  })

  it('is of no use to another person, nor to the same person elsewhere', async () => {
    const { token } = await open(BOSS)
    const thief = await scene.intruder(MEMBER, scene.personCell())
    expect(await command(thief.peer, thief.stamp, 'list_jobs', token)).toMatch(/not_authenticated/)
    await scene.recorded(SERVER, { actor: MEMBER, act: 'list_jobs', code: 'session-foreign' })
    const elsewhere = await scene.intruder(BOSS, scene.personCell())
    expect(await command(elsewhere.peer, elsewhere.stamp, 'check_status server', token)).toMatch(
      /belongs to another connection/,
    )
    await scene.recorded(SERVER, { actor: BOSS, act: 'check_status', code: 'session-foreign' })
  })

  it('ends with the logout, and with its connection', async () => {
    const { peer, stamp, token } = await open(MEMBER)
    expect(await command(peer, stamp, '_logout', token)).toMatch(/"status":"ok"/)
    expect(await command(peer, stamp, 'list_jobs', token)).toMatch(/session has ended/)
    await scene.recorded(SERVER, { actor: MEMBER, act: 'list_jobs', code: 'session-unknown' })
    const second = await open(MEMBER)
    await second.peer[Symbol.asyncDispose]()
    const again = await scene.intruder(MEMBER, second.peer.name)
    expect(await command(again.peer, again.stamp, 'list_sessions', second.token)).toMatch(
      /session has ended/,
    )
  })

  it('cannot be made up', async () => {
    const { peer, stamp, token } = await open(MEMBER)
    const [body = '', signature = ''] = token.split(':')
    const claims = Buffer.from(body, 'base64').toString().replace('"member"', '"project_admin"')
    const forged = `${Buffer.from(claims).toString('base64')}:${signature}`
    expect(await command(peer, stamp, 'list_jobs -d', forged)).toMatch(/not issued by this server/)
    await scene.recorded(SERVER, { actor: MEMBER, code: 'token-invalid' })
  })

  it('of a member submits, aborts, deletes and shuts down nothing', async () => {
    const { peer, stamp, token } = await open(MEMBER)
    const job = crypto.randomUUID()
    for (const text of ['submit_job x', 'shutdown server', 'disable_client site-1'])
      expect(await command(peer, stamp, text, token), text).toMatch(/not_authorized/)
    expect(await command(peer, stamp, `abort_job ${job}`, token)).toMatch(/invalid_job_id/)
    await scene.recorded(SERVER, { actor: MEMBER, act: 'submit_job', code: 'right-not-granted' })
  })
})

describe('a thief whose kit is revoked', () => {
  const asBoss = async (...args: string[]) => {
    const result = await scene.league.hanse(...args, '--as', scene.league.kit(BOSS))
    expect(result.code, result.stdout).toBe(0)
  }
  afterEach(async () => {
    await asBoss('reinstate', 'site-3')
    await asBoss('reinstate', MEMBER)
  })

  it('loses a link with a good token at once, and gets no other', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    await asBoss('revoke', 'site-3', '--reason', 'its kit was stolen')
    await peer.closed
    const back = await scene.dial('site-3')
    if ((await back.hello('site-3')).admitted)
      expect(await back.request({ ...stamp, cn__topic: 'heart_beat' })).toMatchObject({
        returnCode: 'unauthenticated',
      })
    await scene.recorded(SERVER, { actor: 'site-3', text: /revoked/ })
  })

  it('loses its session as a person', async () => {
    const { peer, stamp } = await scene.intruder(MEMBER, scene.personCell())
    const identity = await scene.identityOf(MEMBER)
    const { token } = await openAttackerSession(peer, identity, stamp)
    await asBoss('revoke', MEMBER)
    await peer.closed
    const back = await scene.dial(MEMBER)
    if ((await back.hello(peer.name)).admitted)
      expect(await command(back, stamp, 'list_jobs', token)).toMatch(/revoked|unauthenticated/)
    await scene.recorded(SERVER, { actor: MEMBER, text: /revoked/ })
  })
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})
