import type { JobSummary, LeagueStatus } from '@hanse/admin'
import { buildCommand, type Command } from '@stricli/core'
import { type HanseContext, type PersonFlags, perform, withSession } from '../hanse-context.ts'
import { textTable } from '../output/text-table.ts'
import { personFlags } from './flags.ts'

export const statusCommand: Command<HanseContext> = buildCommand({
  docs: { brief: 'Show the server, its sites and its jobs' },
  parameters: { flags: personFlags },
  func(this: HanseContext, flags: PersonFlags) {
    return perform(this, flags, async () => {
      const status = await withSession(this, flags, (session) =>
        session.status({ signal: this.host.signal }),
      )
      const { server, sites, jobs } = status
      return {
        json: {
          server: { ...server },
          sites: sites.map((site) => ({ ...site })),
          jobs: jobs.map((job) => ({ ...job })),
        },
        text: statusText(status),
      }
    })
  },
})

function statusText({ server, sites, jobs }: LeagueStatus): string {
  const lines = [
    `${server.project}: server ${server.name}, ${server.software}, since ${server.started}`,
    '',
    sites.length === 0
      ? 'no sites yet'
      : textTable(
          ['site', 'state', 'organization', 'software', 'jobs'],
          sites.map((site) => [
            site.name,
            site.disabled ? 'disabled' : site.connected ? 'connected' : 'away',
            site.organization,
            site.software,
            String(site.jobs.length),
          ]),
        ),
    '',
    jobTable(jobs),
  ]
  return lines.join('\n')
}

/** Jobs as a table, or that there are none. */
export function jobTable(jobs: readonly JobSummary[]): string {
  return jobs.length === 0
    ? 'no jobs yet'
    : textTable(
        ['job', 'name', 'status', 'submitter', 'submitted', 'duration'],
        jobs.map((job) => [
          job.job,
          job.name,
          job.status,
          job.submitter,
          job.submitted,
          job.duration,
        ]),
      )
}
