import type { JobSummary, LeagueConnection, LeagueStatus } from '@hanse/admin'
import { buildCommand, type Command } from '@stricli/core'
import { type HanseContext, type PersonFlags, perform, withSession } from '../hanse-context.ts'
import { textTable } from '../output/text-table.ts'
import { personFlags } from './flags.ts'

interface StatusFlags extends PersonFlags {
  readonly connections?: boolean
}

export const statusCommand: Command<HanseContext> = buildCommand({
  docs: { brief: 'Show the server, its sites and its jobs' },
  parameters: {
    flags: {
      ...personFlags,
      connections: {
        kind: 'boolean',
        brief: 'Show how each of them is connected: driver, security, certificate, bytes',
        optional: true,
        withNegated: false,
      },
    },
  },
  func(this: HanseContext, flags: StatusFlags) {
    const { signal } = this.host
    return perform(this, flags, async () => {
      const { status, connections } = await withSession(this, flags, async (session) => ({
        status: await session.status({ signal }),
        connections: flags.connections ? await session.connections({ signal }) : undefined,
      }))
      const { server, sites, jobs } = status
      return {
        json: {
          server: { ...server },
          sites: sites.map((site) => ({ ...site })),
          jobs: jobs.map((job) => ({ ...job })),
          ...(connections && { connections: connections.map((connection) => ({ ...connection })) }),
        },
        text: [statusText(status), ...(connections ? ['', connectionTable(connections)] : [])].join(
          '\n',
        ),
      }
    })
  },
})

function connectionTable(connections: readonly LeagueConnection[]): string {
  return textTable(
    [
      'cell',
      'certificate',
      'expires',
      'driver',
      'security',
      'key exchange',
      'proofs',
      'received',
      'sent',
    ],
    connections.map((connection) => [
      connection.cell,
      connection.peer ?? 'none',
      connection.certificateExpiry?.slice(0, 10) ?? '',
      connection.driver,
      [connection.mode, connection.tlsVersion].filter((part) => part !== null).join(' '),
      connection.keyExchange ?? 'unknown',
      connection.messageProofs ? 'every message' : 'none',
      String(connection.bytesReceived),
      String(connection.bytesSent),
    ]),
  )
}

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
