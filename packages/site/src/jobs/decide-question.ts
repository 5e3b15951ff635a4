import { type Decision, decide, type Policy } from '@hanse/policy'
import {
  type ActingPerson,
  COMMAND,
  COMMAND_HEADER,
  commandText,
  type SiteCommand,
} from '@hanse/session'

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

/**
 * Decides by the site's own policy about a person's question, as the server relays it; `undefined` for commands that
 * are none. About a job it is decided by who submitted it, as the deployed job says it. The server could ask in anybody's name: this protects from people, not from the server.
 */
export function decideQuestion(
  policy: Policy,
  site: { readonly name: string; readonly organization: string },
  command: SiteCommand,
  submitterOfJob: (jobId: string) => ActingPerson | undefined,
): Decision | undefined {
  const rights = RIGHTS.get(command.topic)
  if (rights === undefined) return undefined
  const subject = {
    name: commandText(command, COMMAND_HEADER.userName),
    org: commandText(command, COMMAND_HEADER.userOrganization),
    role: commandText(command, COMMAND_HEADER.userRole),
  }
  const jobId = commandText(command, COMMAND_HEADER.jobId)
  const submitter = submitterOfJob(jobId)
  const decisions = rights.map((right) =>
    decide(policy, {
      subject,
      right,
      target: { name: site.name, org: site.organization },
      job: submitter && {
        id: jobId,
        submitter: {
          name: submitter.name,
          org: submitter.organization,
          role: submitter.role,
        },
      },
      evidence: 'relayed',
    }),
  )
  return decisions.find(({ allowed }) => allowed) ?? decisions[0]
}
