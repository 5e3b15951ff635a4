import type { JsonObject } from '@hanse/contract'
import { COMMAND } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import type { ReplyBuilder } from '../reply-builder.ts'
import type { ServerControl, SiteStatus } from '../server-control.ts'
import { studyOf, summaryOf } from './job-summary.ts'
import { namesOf, readTargets } from './targets.ts'

/** Commands about the server and its sites (`spec/admin.md` §8.2), and Hanse's own view of the league. */
export function placeCommands(control: ServerControl): readonly AdminCommand[] {
  return [
    {
      scope: 'training',
      name: 'check_status',
      description: 'check status of the FL server or of sites',
      usage: 'check_status server | client <name> ... | all',
      confirm: 'none',
      kind: 'general',
      rights: ['check_status'],
      run: ({ words, reply }) => checkStatus(control, words, reply),
    },
    {
      scope: 'training',
      name: 'admin_check_status',
      description: 'check status of the FL server or of sites, for project admins',
      usage: 'admin_check_status server | client <name> ... | all',
      confirm: 'none',
      kind: 'general',
      rights: ['admin_check_status'],
      run: ({ words, reply }) => checkStatus(control, words, reply),
    },
    {
      scope: 'sys',
      name: 'report_version',
      description: 'show the version of server and sites',
      usage: 'report_version server | client <name> ... | all',
      confirm: 'none',
      // Stock's categories forget this right; who may see the status may see the versions in it.
      kind: 'general',
      rights: ['report_version', 'check_status'],
      run({ words, reply }) {
        const { server, sites = [] } = readTargets(control, words)
        const versions = new Map<string, JsonObject>()
        if (server) versions.set('server', { version: control.status().software })
        for (const { name, software } of sites) versions.set(name, { version: software })
        reply.dict(Object.fromEntries(versions)).ok()
      },
    },
    {
      scope: 'sys',
      name: 'report_resources',
      description: 'show what server and sites lend to jobs',
      usage: 'report_resources server | client <name> ... | all',
      confirm: 'none',
      kind: 'general',
      rights: ['report_resources'],
      async run({ words, session, reply, signal }) {
        const targets = readTargets(control, words)
        const answers = await control.askSites(
          namesOf(targets),
          { topic: COMMAND.reportResources, right: 'report_resources' },
          session.person,
          { signal },
        )
        reply
          .table(
            ['SITES', 'RESOURCES'],
            [
              ...(targets.server ? [['server', 'unlimited']] : []),
              ...Array.from(answers, ([name, { text }]) => [name, text]),
            ],
          )
          .ok()
      },
    },
    {
      scope: 'hanse',
      name: 'hanse.status',
      description: 'the league at a glance: server, sites and jobs',
      usage: 'hanse.status',
      confirm: 'none',
      kind: 'general',
      rights: ['check_status'],
      async run({ session, reply }) {
        const { startedAt, runningJobs, ...server } = control.status()
        const jobs = (await control.listJobs()).filter((job) => studyOf(job) === session.study)
        reply
          .dict({
            server: {
              ...server,
              started: isoTime(startedAt),
              runningJobs: runningJobs.map(({ id }) => id),
            },
            sites: control.sites().map((site) => ({
              name: site.name,
              connected: site.connected,
              disabled: site.disabled,
              organization: site.organization,
              software: site.software,
              lastHeartbeat: site.lastHeartbeat > 0 ? isoTime(site.lastHeartbeat) : null,
              jobs: [...site.jobs],
            })),
            jobs: jobs.map((job) => ({ ...summaryOf(job), ...progressOf(control, job.id) })),
          })
          .ok()
      },
    },
  ]
}

function checkStatus(control: ServerControl, words: readonly string[], reply: ReplyBuilder): void {
  const { server, sites } = readTargets(control, words)
  if (server) serverStatus(control, reply)
  if (sites !== undefined) siteStatus(sites, reply)
}

/** Where a running job stands; nothing for others. */
function progressOf(control: ServerControl, jobId: string): JsonObject {
  const progress = control.jobProgress(jobId)
  if (progress === undefined) return {}
  const { metrics, sites, ...rounds } = progress
  return {
    progress: {
      ...rounds,
      sites: sites.map(({ name, state }) => ({ name, state })),
      metrics: Object.fromEntries(metrics),
    },
  }
}

function serverStatus(control: ServerControl, reply: ReplyBuilder): void {
  const { startedAt, runningJobs } = control.status()
  const sites = control.sites().filter(({ connected }) => connected)
  reply
    .text('Engine status: started')
    .table(
      ['JOB_ID', 'APP NAME'],
      runningJobs.map(({ id, app }) => [id, app]),
    )
    .text(`Registered clients: ${sites.length} `)
  if (sites.length > 0)
    reply.table(
      ['CLIENT', 'FQCN', 'FQSN', 'LEAF', 'TOKEN', 'LAST CONNECT TIME'],
      // Stock shows every viewer the sites' tokens; ours stay secret.
      sites.map(({ name, cell, lastHeartbeat }) => [
        name,
        cell,
        name,
        'True',
        '********',
        isoTime(lastHeartbeat),
      ]),
    )
  reply.ok().meta({
    server_status: 'started',
    server_start_time: startedAt / 1000,
    jobs: runningJobs.map(({ id, app }) => ({ app_name: app, job_id: id })),
    clients: sites.map(({ name, cell, lastHeartbeat }) => ({
      client_name: name,
      client_last_conn_time: lastHeartbeat / 1000,
      fqcn: cell,
    })),
  })
}

type SiteJobStatus = {
  readonly client_name: string
  readonly status: string
  readonly job_id?: string
}

function siteStatus(sites: readonly SiteStatus[], reply: ReplyBuilder): void {
  const statuses = sites.flatMap(({ name, connected, jobs }): readonly SiteJobStatus[] => {
    if (!connected) return [{ client_name: name, status: 'no_reply' }]
    if (jobs.length === 0) return [{ client_name: name, status: 'no_jobs' }]
    return jobs.map((job) => ({ client_name: name, job_id: job, status: 'started' }))
  })
  reply
    .table(
      ['CLIENT', 'APP_NAME', 'JOB_ID', 'STATUS'],
      statuses.map((status) => [status.client_name, '?', status.job_id ?? '?', status.status]),
    )
    .meta({ client_status: statuses })
}

function isoTime(time: number): string {
  return new Date(time).toISOString()
}
