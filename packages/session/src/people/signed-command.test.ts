import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { fakeSigner, fakeVerifier } from '../../test/fake-proofs.ts'
import {
  CommandVerifier,
  digestOf,
  readSignedCommand,
  type SignedCommand,
  signCommand,
  writeSignedCommand,
} from './signed-command.ts'

const SCOPE = { league: 'league', server: 'server1' }
const LEAD = fakeSigner({ name: 'lead@example.org', role: 'lead' })

function setUp() {
  const clock = fakeClock()
  const place = new CommandVerifier({ verifier: fakeVerifier(), clock }, SCOPE)
  const sign = (more = {}) =>
    signCommand({ ...SCOPE, command: 'abort_job j1', meta: { a: 1 }, ...more }, LEAD, clock)
  return { clock, place, sign }
}

const refused = (why: RegExp) =>
  expect.objectContaining({ code: 'ERR_COMMAND_PROOF', message: expect.stringMatching(why) })

describe('a signed command', () => {
  it('shows who gave it, and goes over the wire as text', async () => {
    const { place, sign } = setUp()
    const signed = await sign()
    expect(signed.metaDigest).toBe(await digestOf({ a: 1 }))
    const read = readSignedCommand(writeSignedCommand(signed))
    expect(read).toEqual(signed)
    expect(await place.take(read!)).toMatchObject({ name: 'lead@example.org', role: 'lead' })
  })

  it('is taken once, for each use', async () => {
    const { place, sign } = setUp()
    const signed = await sign()
    await place.take(signed, 'a')
    await place.take(signed, 'b')
    await expect(place.take(signed, 'a')).rejects.toEqual(refused(/taken before/))
  })

  it.each<[keyof SignedCommand, string | number]>([
    ['command', 'abort_job j2'],
    ['metaDigest', '00'],
    ['nonce', 'another'],
    ['signedAt', 1],
    ['person', 'boss@example.org'],
    ['signature', 'AAAA'],
    ['signature', '%'],
  ])('whose %s was changed to %s is refused', async (key, value) => {
    const { place, sign } = setUp()
    await expect(place.take({ ...(await sign()), [key]: value })).rejects.toEqual(refused(/./))
  })

  it.each([{ league: 'other' }, { server: 'other' }])(
    'that was given to somebody else is refused: %o',
    async (scope) => {
      const { place, sign } = setUp()
      await expect(place.take(await sign(scope))).rejects.toEqual(refused(/it was given to/))
    },
  )

  it('is refused when it is old, or of the future', async () => {
    const { clock, place, sign } = setUp()
    const signed = await sign()
    clock.advance(300_001)
    await expect(place.take(signed)).rejects.toEqual(refused(/between the clocks/))
    const ahead = { ...(await sign()), signedAt: clock.now() + 300_001 }
    await expect(place.take(ahead)).rejects.toEqual(refused(/between the clocks/))
  })

  it('is remembered for as long as it could be taken again', async () => {
    const { clock, place, sign } = setUp()
    const signed = await sign()
    await place.take(signed)
    clock.advance(299_000)
    await expect(place.take(signed)).rejects.toEqual(refused(/taken before/))
  })

  it('is nothing else, whatever text comes', () => {
    fc.assert(fc.property(fc.string(), (text) => readSignedCommand(text) === undefined))
    fc.assert(
      fc.property(fc.json(), (text) => {
        readSignedCommand(text)
      }),
    )
    expect(readSignedCommand(`{"league":"${'x'.repeat(300_000)}"}`)).toBeUndefined()
  })
})
