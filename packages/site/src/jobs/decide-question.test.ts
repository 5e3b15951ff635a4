import { readPolicy } from '@hanse/policy'
import { type ActingPerson, COMMAND } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { decideQuestion, rightsToAsk } from './decide-question.ts'

const POLICY = readPolicy(
  JSON.stringify({
    format_version: '1.0',
    permissions: {
      lead: { view: 'any', operate: 'o:site', manage_job: 'n:submitter' },
      member: {},
    },
  }),
)
const SITE = { name: 'site-1', organization: 'clinic' }

const LEAD = { name: 'a@b.org', organization: 'clinic', role: 'lead' }

function ask(topic: string, person: ActingPerson = LEAD, submitter?: ActingPerson) {
  const { name, organization: org, role } = person
  return decideQuestion(POLICY, SITE, {
    rights: rightsToAsk(topic)!,
    person: { name, org, role, evidence: 'relayed' },
    job: submitter && { id: 'j1', submitter },
  })
}

describe("a person's question to a site", () => {
  it("is answered as the site's own policy grants it", () => {
    for (const topic of [COMMAND.checkStatus, COMMAND.reportVersion, COMMAND.reportResources])
      expect(ask(topic)).toMatchObject({ allowed: true })
  })

  it('is refused to another organization where the policy says so', () => {
    const lead = { name: 'a@b.org', organization: 'other', role: 'lead' }
    expect(ask(COMMAND.checkStatus, lead)).toMatchObject({ allowed: true })
    expect(ask(COMMAND.reportResources, lead)).toMatchObject({
      allowed: false,
      explanation: expect.stringContaining('report_resources'),
    })
  })

  it.each([
    ['a role without rights', { name: 'a@b.org', organization: 'clinic', role: 'member' }],
    ['no role', { name: 'a@b.org', organization: 'clinic', role: '' }],
    ['nobody', { name: '', organization: '', role: '' }],
    ['a role that stock lets do everything', { name: 'a', organization: 'b', role: 'super' }],
  ])('is refused to %s', (_who, person) => {
    for (const topic of [COMMAND.checkStatus, COMMAND.reportVersion, COMMAND.reportResources])
      expect(ask(topic, person)).toMatchObject({ allowed: false })
  })

  it('about a job is decided by who submitted what was deployed, not by what the server says', () => {
    const other = { ...LEAD, name: 'b@b.org' }
    expect(ask(COMMAND.configureJobLog, LEAD, LEAD)).toMatchObject({ allowed: true })
    expect(ask(COMMAND.configureJobLog, LEAD, other)).toMatchObject({ allowed: false })
    expect(ask(COMMAND.configureJobLog)).toMatchObject({ allowed: false })
  })

  it.each([COMMAND.shutdown, COMMAND.restart, COMMAND.configureSiteLog, COMMAND.reportEnvironment])(
    'that would change the site needs the right to operate it: %s',
    (topic) => {
      expect(ask(topic)).toMatchObject({ allowed: true })
      const stranger = { name: 'a@b.org', organization: 'other', role: 'lead' }
      expect(ask(topic, stranger)).toMatchObject({ allowed: false })
    },
  )

  it('is not what the server wants for a job', () => {
    for (const topic of [COMMAND.checkResource, COMMAND.deploy, COMMAND.abort])
      expect(rightsToAsk(topic)).toBeUndefined()
  })
})
