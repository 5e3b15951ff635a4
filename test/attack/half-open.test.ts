import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { upgradeRequest, wireFrame } from '../../packages/driver-http/test/websocket-bytes.ts'
import { callFrame, frameMessage, H2, h2Frame, PREFACE } from '../support/attacker-http2.ts'
import { helloFrame } from '../support/attacker-peer.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { ATTACK_SCHEME } from '../support/attacker-wire.ts'
import { SERVER } from '../support/league.ts'
import { openFiles, residentMebibytes } from '../support/process-memory.ts'

let scene: AttackScene
/** Those that are still open. */
const sockets = new Set<Socket>()
beforeAll(async () => {
  scene = await AttackScene.start()
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  await scene?.[Symbol.asyncDispose]()
})
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

/** How long the server waits for a handshake, and again for a greeting; with room for a busy machine. */
const DEADLINE_MS = 10_000
const PATIENCE_MS = DEADLINE_MS + 8_000
/** Handshakes that the server has under way at one time. */
const MAX_HANDSHAKES = 256

/** A whole first message, as the driver carries it, to be said a byte at a time. */
function greeting(): Uint8Array {
  const hello = helloFrame('site-3')
  if (ATTACK_SCHEME === 'tcp') return hello
  if (ATTACK_SCHEME === 'http') return wireFrame(hello)
  return h2Frame(H2.data, 0, 1, frameMessage(hello))
}

/** What has to be said before the first message. */
function opening(): Uint8Array {
  if (ATTACK_SCHEME === 'tcp') return new Uint8Array(0)
  if (ATTACK_SCHEME === 'http') return Buffer.from(upgradeRequest())
  return Buffer.concat([PREFACE, h2Frame(H2.settings, 0, 0), callFrame(1)])
}

/** Says one byte at a time, so slowly that the whole never comes. @returns how long the other side took it */
async function dribble(socket: Socket, bytes: Uint8Array): Promise<number> {
  const began = performance.now()
  let at = 0
  const timer = setInterval(() => {
    if (at < bytes.length - 1) socket.write(bytes.subarray(at, at + 1))
    at += 1
  }, 250)
  await once(socket, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) })
  clearInterval(timer)
  return performance.now() - began
}

/** A connection without TLS; ends with the file. */
async function clearSocket(localAddress: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: scene.league.port, localAddress })
  socket.on('error', () => undefined)
  sockets.add(socket)
  socket.once('close', () => sockets.delete(socket))
  await Promise.race([once(socket, 'connect'), once(socket, 'close')])
  return socket
}

/** A new login, a person's question, and a site that answers to it. */
async function expectServed(): Promise<void> {
  const { peer, stamp } = await scene.intruder('site-3')
  expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
  await peer[Symbol.asyncDispose]()
  await scene.expectUnharmed()
  const { code, stdout } = await scene.league.asLead('status')
  expect(code, stdout).toBe(0)
}

it('ten thousand half-open connections keep nobody out, and take no memory', async () => {
  const [addresses, each] = [100, 100]
  const { pid } = scene.league.place(SERVER)
  await expectServed()
  const [memory, files] = [await residentMebibytes(pid), await openFiles(pid)]
  let opened = 0
  let mostFiles = 0
  const halfOpen = async (address: number): Promise<void> => {
    const socket = await clearSocket(`127.0.2.${address}`)
    opened += 1
    // Every other one goes as far as the first byte of its ClientHello.
    if (opened % 2 === 0) socket.write(Uint8Array.of(0x16))
  }
  for (let round = 1; round <= each; round++) {
    await Promise.all(Array.from({ length: addresses }, (_, i) => halfOpen(i + 1)))
    mostFiles = Math.max(mostFiles, await openFiles(pid))
    // In the middle of it, with every place taken.
    if (round === each / 2) await expectServed()
  }
  expect(opened).toBe(addresses * each)
  expect(mostFiles - files).toBeGreaterThan(MAX_HANDSHAKES / 2)
  expect(mostFiles - files).toBeLessThan(MAX_HANDSHAKES + 2 * addresses)
  await expectServed()
  expect((await residentMebibytes(pid)) - memory).toBeLessThan(128)
  await scene.recorded(SERVER, { act: 'connect', code: 'handshake-too-many' })
  // Thousands of refusals of one kind are one entry, and later one more that counts them.
  const entries = await scene.league.record(SERVER)
  expect(entries.filter(({ code }) => code === 'handshake-too-many').length).toBeLessThan(4)
})

it('who never says anything, or a byte at a time, is cut by the deadline, and nobody waits for it', async () => {
  // Those of the flood that still have a place.
  expect(sockets.size).toBeGreaterThan(MAX_HANDSHAKES / 2)
  const alpn = ATTACK_SCHEME === 'grpc' ? 'h2' : undefined
  // The record and type of a ClientHello; nothing of it is ever whole.
  const hello = Uint8Array.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, ...Array(90).fill(7)])
  const slow = [dribble(await clearSocket('127.0.0.2'), hello)]
  if (ATTACK_SCHEME !== 'tcp')
    slow.push(dribble((await scene.socket('site-3', { alpn })).socket, opening()))
  const inFrame = await scene.socket('site-4', { alpn })
  inFrame.socket.write(opening())
  if (ATTACK_SCHEME !== 'tcp') await inFrame.until(({ length }) => length > 0)
  slow.push(dribble(inFrame.socket, greeting()))

  await expectServed()
  for (const ms of await Promise.all(slow)) expect(ms).toBeLessThan(PATIENCE_MS)
  expect(sockets.size).toBe(0)
  const late = { act: 'connect', code: 'handshake-timeout' }
  await scene.recorded(SERVER, { ...late, actor: 'unknown' })
  if (ATTACK_SCHEME !== 'tcp') await scene.recorded(SERVER, { ...late, actor: 'site-3' })
  await scene.recorded(SERVER, { actor: 'site-4', act: 'protocol', code: 'no-greeting' })
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})
