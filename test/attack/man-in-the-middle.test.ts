import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decode } from '@msgpack/msgpack'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AttackerPeer, messageFrame } from '../support/attacker-peer.ts'
import { AttackerRelay, isMessage, isProven } from '../support/attacker-relay.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { ATTACK_SCHEME } from '../support/attacker-wire.ts'
import { freePort } from '../support/free-port.ts'
import { SERVER } from '../support/league.ts'

/**
 * A league whose links are clear, as behind a proxy that ends TLS, and somebody between site-1 and the server who sees
 * and changes everything.
 */
let scene: AttackScene
let relay: AttackerRelay
/** A message of the first link. */
let earlier: Buffer
beforeAll(async () => {
  const [port, serverPort] = [await freePort(), await freePort()]
  relay = await AttackerRelay.listen(port, serverPort)
  scene = await AttackScene.start({
    security: 'clear',
    port: serverPort,
    connectTo: new Map([['site-1', { host: '127.0.0.1', port }]]),
  })
}, 120_000)
afterAll(async () => {
  await scene?.[Symbol.asyncDispose]()
  await relay?.[Symbol.asyncDispose]()
})
beforeEach(async () => {
  relay.meddle = (frame) => [frame]
  await scene.begin()
})

afterEach(({ task }) => scene.end(task))

/** The site is back with a link of its own, and the league works. */
async function expectRecovered(): Promise<void> {
  relay.meddle = (frame) => [frame]
  await expect
    .poll(
      () =>
        scene.expectUnharmed().then(
          () => true,
          () => false,
        ),
      {
        timeout: 20_000,
      },
    )
    .toBe(true)
}

/** Changes the next frame of the site that carries a code, and gives every other through. */
function meddleOnce(change: (frame: Buffer) => readonly Buffer[]): void {
  let done = false
  relay.meddle = (frame, way) => {
    if (done || way !== 'to-server' || !isProven(frame)) return [frame]
    done = true
    return change(frame)
  }
}

/** What the site's own messages carried to show who it is. */
async function seenStamp(): Promise<Record<string, unknown>> {
  await scene.expectJobCompletes()
  const { frame } = relay.seen.findLast(
    ({ frame: one, way }) => way === 'to-server' && isProven(one),
  )!
  const headers = decode(frame.subarray(16, frame.readUInt16BE(4))) as Record<string, unknown>
  const stamp = ['client_name', '__token__', '__token_signature__', 'ssid'].map((key) => [
    key,
    headers[key],
  ])
  expect(stamp.every(([, value]) => typeof value === 'string')).toBe(true)
  return Object.fromEntries(stamp) as Record<string, unknown>
}

describe('somebody between a site and the server', () => {
  it('sees that every message after the login carries a code', async () => {
    scene.noAttack()
    await scene.expectJobCompletes()
    const messages = relay.seen.filter(({ frame }) => isMessage(frame))
    const first = messages.findIndex(({ frame }) => isProven(frame))
    // A challenge and its answer; all that follows is proven, the registration too.
    expect(first).toBe(2)
    expect(messages.slice(first).every(({ frame }) => isProven(frame))).toBe(true)
    earlier = messages.find(({ frame, way }) => way === 'to-server' && isProven(frame))!.frame
  }, 60_000)

  const changes: [string, (frame: Buffer) => readonly Buffer[]][] = [
    [
      'changes the last byte of one',
      (frame) => {
        const changed = Buffer.from(frame)
        changed[changed.length - 1]! ^= 1
        return [changed]
      },
    ],
    [
      'changes a byte of its headers',
      (frame) => {
        const changed = Buffer.from(frame)
        changed[20]! ^= 1
        return [changed]
      },
    ],
    ['sends one twice', (frame) => [frame, frame]],
    ['leaves one out', () => []],
    [
      'takes the code off one',
      (frame) => {
        const headers = frame.readUInt16BE(4)
        const bare = Buffer.concat([
          frame.subarray(0, 16 + headers - 16),
          frame.subarray(16 + headers),
        ])
        bare.writeUInt32BE(bare.length, 0)
        bare.writeUInt16BE(headers - 16, 4)
        bare.writeUInt16BE(0, 8)
        return [bare]
      },
    ],
    // Not the first of these: it takes a link that is no more.
    ['puts in one of an earlier link', (frame) => [earlier, frame]],
  ]
  // What carries a frame has no part in its code: over the other drivers, one that is changed and one that is missing.
  it.each(ATTACK_SCHEME === 'tcp' ? changes : [changes[0]!, changes[3]!])(
    'that %s ends the link; the site comes back, and the league works',
    async (_what, change) => {
      const from = scene.league.place('site-1').events.length
      meddleOnce(change)
      // Two things to say: that one is missing shows with the next.
      const said = [1, 2].map(() => scene.session.command('report_resources client site-1'))
      said.forEach((one) => void one.catch(() => undefined))
      await scene.league.place('site-1').event('lost', from)
      await scene.recorded(SERVER, { actor: 'site-1', code: 'proof', folded: true })
      await expectRecovered()
      await scene.expectJobCompletes()
    },
    90_000,
  )

  it('leaves a trace in the record of the server', async () => {
    scene.noAttack()
    const entries = (await scene.league.record(SERVER)).filter(({ code }) => code === 'proof')
    const site = {
      act: 'protocol',
      outcome: 'refused',
      actor: expect.objectContaining({ name: 'site-1' }),
    }
    const kinds = [/code does not hold/, /carries no code, though all must/]
    for (const text of ATTACK_SCHEME === 'tcp' ? kinds : kinds.slice(0, 1))
      expect(entries).toContainEqual(
        expect.objectContaining({ ...site, text: expect.stringMatching(text) }),
      )
  })

  it('cannot say anything of its own with the token that it sees', async () => {
    const stamp = await seenStamp()
    const from = scene.league.place('site-1').events.length
    relay.inject(messageFrame('site-1', { ...stamp, cn__topic: 'quit' }))
    await scene.league.place('site-1').event('lost', from)
    await scene.recorded(SERVER, { actor: 'site-1', code: 'proof', folded: true })
    await expectRecovered()
  }, 60_000)

  it('cannot use that token on a link of its own while the site is away', async () => {
    const stamp = await seenStamp()
    await scene.league.place('site-1').stop()
    await using peer = await AttackerPeer.dial({
      port: scene.league.port,
      scheme: ATTACK_SCHEME,
      identity: undefined,
      clear: true,
    })
    await expect.poll(() => peer.hello('site-1'), { timeout: 10_000 }).toEqual({ admitted: true })
    expect(await peer.request({ ...stamp, cn__topic: 'heart_beat' })).toMatchObject({
      returnCode: 'unauthenticated',
      error: expect.stringMatching(/good only together with proofs/),
    })
    await scene.recorded(SERVER, {
      code: 'unauthenticated',
      text: /good only together with proofs/,
    })
    await peer[Symbol.asyncDispose]()
    await scene.league.startPlace('site-1')
    await expectRecovered()
  }, 60_000)

  it('cannot take the offer out of the greetings: the site knows what its server can', async () => {
    const kit = scene.league.kit('site-1')
    expect(JSON.parse(await readFile(join(kit, 'state', 'known-server.json'), 'utf8'))).toEqual({
      format_version: 1,
      server: SERVER,
      capabilities: ['proof/1'],
    })
    relay.meddle = (frame) => [
      Buffer.from(frame.toString('latin1').replace('proof/1', 'proof/0'), 'latin1'),
    ]
    const from = scene.league.place('site-1').events.length
    relay.cut()
    const refused = await scene.league.place('site-1').event('refused', from)
    expect(refused).toMatchObject({ reason: expect.stringMatching(/known to offer proof\/1/) })
    await expectRecovered()
  }, 60_000)
})
