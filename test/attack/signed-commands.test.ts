import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '@hanse/contract'
import { loginSigner } from '@hanse/pki'
import { SIGNED_COMMAND_HEADER, signCommand, writeSignedCommand } from '@hanse/session'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AttackerPerson } from '../support/attacker-person.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { LEAD, SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'
const SCOPE = { league: 'test_league', server: SERVER }
const ASK = 'report_resources client site-1 site-2'

let scene: AttackScene
beforeAll(async () => {
  scene = await AttackScene.start({
    // Of two honest sites one obeys people only by their own signature.
    prepare: (league) =>
      writeFile(
        join(league.kit('site-1'), 'local', 'hanse.json'),
        JSON.stringify({
          format_version: 1,
          confinement: { minimum: 'none' },
          require: { signed_commands: true },
        }),
      ),
  })
}, 120_000)
afterAll(() => scene?.[Symbol.asyncDispose]())
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

const person = async (name: string, proofs: boolean) =>
  scene.owns(await AttackerPerson.open(scene.league.port, await scene.identityOf(name), { proofs }))

const signedAs = async (name: string, command: string, meta = {}) => {
  const signer = loginSigner(await scene.identityOf(name))
  const signed = await signCommand({ ...SCOPE, command, meta }, signer, systemClock)
  return { [SIGNED_COMMAND_HEADER]: writeSignedCommand(signed) }
}

/** Sites that gave their resources. */
function answeredIn(reply: string): string[] {
  return ['site-1', 'site-2'].filter((site) => reply.includes(`["${site}","{`))
}

describe('a command over a link with proofs', () => {
  it('is obeyed with the signature of its person, by the server and by every site', async () => {
    scene.noAttack()
    const boss = await person(BOSS, true)
    const reply = await boss.command(ASK, await signedAs(BOSS, ASK))
    expect(reply).not.toMatch(/signature/)
    expect(answeredIn(reply)).toEqual(['site-1', 'site-2'])
  })

  it.each<[string, () => Promise<Record<string, string>>, RegExp]>([
    ['without a signature', async () => ({}), /not signed by the person who gives it/],
    [
      'with the signature of another command',
      () => signedAs(BOSS, 'check_status server'),
      /signature is of another command/,
    ],
    [
      'with the signature of another argument',
      () => signedAs(BOSS, ASK, { more: true }),
      /not what was signed/,
    ],
    [
      'with the signature of another person',
      () => signedAs(LEAD, ASK),
      /signed by 'lead@example.org', the session is of 'boss@example.org'/,
    ],
    [
      'with a signature that is none',
      async () => ({ [SIGNED_COMMAND_HEADER]: '{}' }),
      /cannot be read/,
    ],
  ])('%s is refused, and recorded', async (_what, headers, reason) => {
    const boss = await person(BOSS, true)
    expect(await boss.command(ASK, await headers())).toMatch(reason)
    await scene.recorded(SERVER, { actor: BOSS, code: 'command-proof', text: reason })
  })

  it('is not obeyed a second time, also in another session', async () => {
    const headers = await signedAs(BOSS, ASK)
    const [one, two] = [await person(BOSS, true), await person(BOSS, true)]
    await one.command(ASK, headers)
    expect(await two.command(ASK, headers)).toMatch(/taken before/)
    await scene.recorded(SERVER, { actor: BOSS, code: 'command-proof', text: /taken before/ })
  })
})

describe('a command that nobody signed', () => {
  it('is refused by a site that requires signatures; others ask their policy', async () => {
    const boss = await person(BOSS, false)
    const reply = await boss.command(ASK)
    expect(answeredIn(reply)).toEqual(['site-2'])
    expect(reply).toMatch(/only by their own signature/)
    await scene.recorded('site-1', { actor: BOSS, code: 'command-proof', text: /own signature/ })
  })
})
