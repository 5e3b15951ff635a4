import { type Decision, decide, type Policy } from '@hanse/policy'
import { type ActingPerson, COMMAND } from '@hanse/session'
import type { AskingPerson } from './proven-person.ts'

export interface PersonsQuestion {
  /** Of which one is needed. */
  readonly rights: readonly string[]
  readonly person: AskingPerson
  /** A job that is deployed here. */
  readonly job: { readonly id: string; readonly submitter: ActingPerson } | undefined
}

/**
 * What people ask of a site through the server, and the rights of which one is needed. Named by the topic, never by
 * what the server says the right is. Stock's categories forget `report_version`; the status shows it anyway.
 */
const RIGHTS: ReadonlyMap<string, readonly string[]> = new Map([
  [COMMAND.checkStatus, ['check_status']],
  [COMMAND.reportVersion, ['report_version', 'check_status']],
  [COMMAND.reportResources, ['report_resources']],
  [COMMAND.reportEnvironment, ['report_env']],
  [COMMAND.getScopes, ['show_scopes']],
  [COMMAND.configureSiteLog, ['configure_site_log']],
  [COMMAND.configureJobLog, ['configure_job_log']],
  [COMMAND.shutdown, ['shutdown']],
  [COMMAND.restart, ['restart']],
  [COMMAND.showStats, ['show_stats']],
  [COMMAND.showErrors, ['show_errors']],
  [COMMAND.resetErrors, ['reset_errors']],
])

/** Rights of which one is needed to ask for this; `undefined` for commands that are no questions of people. */
export function rightsToAsk(topic: string): readonly string[] | undefined {
  return RIGHTS.get(topic)
}

/**
 * Decides by the site's own policy about a person's question. About a job it is decided by who submitted it, as the
 * deployed job says it. Where only the server says who asks, it could ask in anybody's name.
 */
export function decideQuestion(
  policy: Policy,
  site: { readonly name: string; readonly organization: string },
  { rights, person, job }: PersonsQuestion,
): Decision {
  const { evidence, ...subject } = person
  const decisions = rights.map((right) =>
    decide(policy, {
      subject,
      right,
      target: { name: site.name, org: site.organization },
      job: job && {
        id: job.id,
        submitter: {
          name: job.submitter.name,
          org: job.submitter.organization,
          role: job.submitter.role,
        },
      },
      evidence,
    }),
  )
  // There is at least one right for every question.
  return decisions.find(({ allowed }) => allowed) ?? decisions[0]!
}
