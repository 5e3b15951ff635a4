import { readPolicy } from '@hanse/policy'
import { COMMAND, personHeaders } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { decideQuestion } from './decide-question.ts'

const POLICY = readPolicy(
  JSON.stringify({
    format_version: '1.0',
    permissions: { lead: { view: 'any', operate: 'o:site' }, member: {} },
  }),
)
const SITE = { name: 'site-1', organization: 'clinic' }

function ask(topic: string, person = { name: 'a@b.org', organization: 'clinic', role: 'lead' }) {
  const headers = new Map(personHeaders(person, person))
  return decideQuestion(POLICY, SITE, { topic, headers, body: '' })
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

  it('is not what the server wants for a job', () => {
    for (const topic of [COMMAND.checkResource, COMMAND.deploy, COMMAND.abort])
      expect(ask(topic)).toBeUndefined()
  })
})
