import { systemClock } from '@hanse/contract'
import { type Identity, loginSigner, loginVerifier } from '@hanse/pki'
import {
  COMMAND,
  CommandVerifier,
  joinWords,
  personHeaders,
  type SignedCommand,
  signCommand,
} from '@hanse/session'
import { beforeAll, describe, expect, it } from 'vitest'
import { TestPeople } from '../../test/site-fixtures.ts'
import { rightsToAsk } from './decide-question.ts'
import { provenPerson } from './proven-person.ts'

const SCOPE = { league: 'test_league', server: 'server1' }
const SITE = 'site-1'

let boss: Identity
let site: Identity
let people: CommandVerifier
beforeAll(async () => {
  const identities = new TestPeople()
  boss = await identities.of('boss@example.org', 'project_admin')
  site = await identities.of(SITE, '')
  people = verifier()
})

const verifier = () =>
  new CommandVerifier({ verifier: loginVerifier(site, systemClock), clock: systemClock }, SCOPE)

const signed = (...words: string[]): Promise<SignedCommand> =>
  signCommand({ ...SCOPE, command: joinWords(words), meta: {} }, loginSigner(boss), systemClock)

/** What the server relays: in the name of a member, if one believes it. */
async function ask(
  topic: string,
  command: SignedCommand | undefined,
  { jobId = '', body = '', required = false } = {},
) {
  const said = { name: 'member@example.org', organization: 'said', role: 'member' }
  const headers = new Map<string, string>([
    ...personHeaders({ ...said, signed: command }, said),
    ...(jobId === '' ? [] : [['job_id', jobId] as const]),
  ])
  return provenPerson({ topic, headers, body }, people, {
    site: SITE,
    rights: rightsToAsk(topic)!,
    required,
  })
}

describe('who asks', () => {
  it('is who signed, whatever the server says', async () => {
    expect(await ask(COMMAND.shutdown, await signed('shutdown', 'client', SITE))).toEqual({
      name: 'boss@example.org',
      org: expect.any(String),
      role: 'project_admin',
      evidence: 'signature',
    })
  })

  it('is whom the server names where nothing is signed, and nobody where signatures are required', async () => {
    expect(await ask(COMMAND.checkStatus, undefined)).toMatchObject({
      name: 'member@example.org',
      evidence: 'relayed',
    })
    await expect(ask(COMMAND.checkStatus, undefined, { required: true })).rejects.toThrow(
      /only by their own signature/,
    )
  })

  it.each<[string, string, string[], { jobId?: string; body?: string }]>([
    ['all sites', COMMAND.restart, ['restart', 'all'], {}],
    ['all sites but not the server', COMMAND.restart, ['restart', 'client'], {}],
    ['some sites', COMMAND.restart, ['restart', 'client', 'site-2', SITE], {}],
    ['a job', COMMAND.showErrors, ['show_errors', 'j1', 'client', SITE], { jobId: 'j1' }],
    [
      'a level of a log',
      COMMAND.configureJobLog,
      ['configure_job_log', 'j1', 'all', 'DEBUG'],
      { jobId: 'j1', body: 'DEBUG' },
    ],
    ['an environment', COMMAND.reportEnvironment, ['report_env'], {}],
  ])('may ask about %s', async (_what, topic, words, more) => {
    expect(await ask(topic, await signed(...words), more)).toMatchObject({ evidence: 'signature' })
  })

  it.each<[string, string, string[], { jobId?: string; body?: string }]>([
    ['another question', COMMAND.shutdown, ['restart', 'all'], {}],
    ['the server only', COMMAND.shutdown, ['shutdown', 'server'], {}],
    ['another site', COMMAND.shutdown, ['shutdown', 'client', 'site-2'], {}],
    ['another job', COMMAND.showErrors, ['show_errors', 'j2', 'all'], { jobId: 'j1' }],
    ['no job', COMMAND.showErrors, ['show_errors', 'all'], { jobId: 'j1' }],
    [
      'another level of a log',
      COMMAND.configureSiteLog,
      ['configure_site_log', 'all', 'INFO'],
      { body: 'DEBUG' },
    ],
    ['no targets', COMMAND.shutdown, ['shutdown'], {}],
  ])('is refused with a signature that was made for %s', async (_what, topic, words, more) => {
    await expect(ask(topic, await signed(...words), more)).rejects.toThrow(/signed another command/)
  })

  it('is refused with a signature that was used before', async () => {
    const command = await signed('restart', 'all')
    await ask(COMMAND.restart, command)
    await expect(ask(COMMAND.restart, command)).rejects.toThrow(/taken before/)
  })

  it('is refused with a signature that was changed', async () => {
    const command = await signed('shutdown', 'client', 'site-2')
    const changed = { ...command, command: joinWords(['shutdown', 'client', SITE]) }
    await expect(ask(COMMAND.shutdown, changed)).rejects.toThrow(/not by the key/)
  })
})
