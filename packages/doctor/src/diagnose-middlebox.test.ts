import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { middlebox } from '../test/middlebox.ts'
import { FAST, fastClock, freePort, Scene } from '../test/scene.ts'

let scene: Scene
let behind: number
beforeAll(async () => {
  scene = await Scene.set()
  behind = await freePort()
  await scene.makeLeague(
    'league',
    `  - { name: site-1, type: client, org: org }
  - { name: open, type: client, org: org, connection_security: clear }`,
  )
})
afterAll(() => scene[Symbol.asyncDispose]())

describe('a device on the way that swallows large packets', () => {
  it.each([
    ['the first message of TLS', 'site-1', 'mtls', 1_000, ['kit', 'reach']],
    ['a message without TLS', 'open', 'clear', 8_000, ['kit', 'reach', 'tls']],
  ] as const)('is found by %s', async (_what, name, mode, maxPacketBytes, steps) => {
    await using _server = await scene.cellListening('server1', mode, { port: behind })
    await using _device = await middlebox(scene.port, behind, { maxPacketBytes })
    const { faults, passed } = await scene.look(scene.kit(name), { timeoutMs: 1_000 })
    expect(faults.map(({ code }) => code)).toEqual(['large-packets-lost'])
    expect(passed).toEqual(steps)
  })

  it.each([
    ['site-1', 'mtls'],
    ['open', 'clear'],
  ] as const)('is not seen where there is none (%s)', async (name, mode) => {
    await using _server = await scene.cellListening('server1', mode, { port: behind })
    await using _device = await middlebox(scene.port, behind, {})
    expect(await scene.codesOf(scene.kit(name))).toEqual([])
  })
})

describe('a device on the way that does not bear three seconds of silence', () => {
  const SILENCE = { idleMs: 3_000 / FAST }
  const hold = (kit: string) => scene.look(kit, { clock: fastClock, idleMs: 6_000 })

  it.each(['cut', 'forgotten'] as const)('is found by a held connection: %s', async (onSilence) => {
    await using _server = await scene.cellListening('server1', 'mtls', { port: behind })
    await using _device = await middlebox(scene.port, behind, { ...SILENCE, onSilence })
    expect(await scene.codesOf(scene.kit('site-1'), { clock: fastClock })).toEqual([])
    const { faults, passed } = await hold(scene.kit('site-1'))
    expect(faults.map(({ code }) => code)).toEqual(['idle-cut'])
    expect(faults[0]?.seen).toMatch(/ s of silence|; the heartbeat of this participant is 20 s/)
    expect(passed).toEqual(['kit', 'reach', 'tls'])
  })

  it('is borne by a participant whose heartbeat is shorter', async () => {
    await using _server = await scene.cellListening('server1', 'mtls', { port: behind })
    await using _device = await middlebox(scene.port, behind, { ...SILENCE, onSilence: 'cut' })
    const copy = await scene.copyWith('site-1', { heartbeat_seconds: 1 })
    expect(await hold(copy)).toMatchObject({ ok: true, faults: [] })
  })

  it('is not looked for while the participant itself is connected', async () => {
    await using _server = await scene.cellListening()
    await using _running = await scene.connected('site-1')
    const { ok, warnings } = await hold(scene.kit('site-1'))
    expect(ok).toBe(true)
    expect(warnings).toEqual([expect.stringContaining('was not looked at')])
  })
})
