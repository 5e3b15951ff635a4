import { type AbortOptions, hasCode, type JsonObject } from '@hanse/contract'
import { z } from 'zod'
import { AdminError } from './admin-error.ts'
import type { CommandOutcome } from './command-outcome.ts'
import { type JobSummary, type LeagueSite, type LeagueStatus, readReply } from './league-types.ts'

/** Sends one command. */
export type SendCommand = (text: string, options: AbortOptions) => Promise<CommandOutcome>

/** A job's whole meta, as `list_jobs -d` gives it (`spec/jobs.md` §3). */
const jobMeta = z
  .object({
    job_id: z.string(),
    name: z.string().default(''),
    job_folder_name: z.string().default(''),
    status: z.string(),
    submit_time_iso: z.string().default(''),
    duration: z.string().default('N/A'),
    submitter_name: z.string().default(''),
  })
  .transform(
    (meta): JobSummary => ({
      job: meta.job_id,
      name: meta.name === '' ? meta.job_folder_name : meta.name,
      status: meta.status,
      submitter: meta.submitter_name,
      submitted: meta.submit_time_iso,
      duration: meta.duration,
    }),
  )
const jobMetasSchema: z.ZodType<{ readonly jobs: readonly JobSummary[] }> = z.object({
  jobs: z.array(jobMeta).default([]),
})

const serverStatusSchema = z.object({
  server_start_time: z.number(),
  jobs: z.array(z.object({ job_id: z.string() })).default([]),
  clients: z
    .array(z.object({ client_name: z.string(), client_last_conn_time: z.number() }))
    .default([]),
})
const siteStatusSchema = z.object({
  client_status: z
    .array(z.object({ client_name: z.string(), job_id: z.string().optional() }))
    .default([]),
})
const versionsSchema = z.record(z.string(), z.object({ version: z.string().default('') }))

/** Jobs with their submitters, which the short list of a stock server leaves out; oldest first. */
export async function stockJobs(
  send: SendCommand,
  options: AbortOptions = {},
): Promise<readonly JobSummary[]> {
  const { meta } = await send('list_jobs -d', options)
  return readReply(jobMetasSchema, meta, 'list_jobs -d').jobs
}

/**
 * The league at a glance, put together from what a stock server answers. It says nothing of disabled sites and of
 * organizations, and of versions only to whom its policy grants `report_version`.
 */
export async function stockStatus(
  send: SendCommand,
  league: { readonly server: string; readonly project: string },
  options: AbortOptions = {},
): Promise<LeagueStatus> {
  const server = readReply(
    serverStatusSchema,
    (await send('check_status server', options)).meta,
    'check_status server',
  )
  const jobsOf = await stockSiteJobs(send, server.clients.length, options)
  const versions = await stockVersions(send, options)
  return {
    server: {
      name: league.server,
      project: league.project,
      software: softwareOf(versions['server']),
      started: isoTime(server.server_start_time),
      runningJobs: server.jobs.map(({ job_id }) => job_id),
    },
    sites: server.clients
      .toSorted((a, b) => (a.client_name < b.client_name ? -1 : 1))
      .map(
        ({ client_name, client_last_conn_time }): LeagueSite => ({
          name: client_name,
          connected: true,
          disabled: false,
          organization: '',
          software: softwareOf(versions[client_name]),
          lastHeartbeat: isoTime(client_last_conn_time),
          jobs: jobsOf.get(client_name) ?? [],
        }),
      ),
    jobs: await stockJobs(send, options),
  }
}

async function stockSiteJobs(
  send: SendCommand,
  sites: number,
  options: AbortOptions,
): Promise<ReadonlyMap<string, string[]>> {
  const jobs = new Map<string, string[]>()
  // A stock server calls it an error when there is nobody to ask.
  if (sites === 0) return jobs
  const { meta } = await send('check_status client', options)
  const { client_status } = readReply(siteStatusSchema, meta, 'check_status client')
  for (const { client_name, job_id } of client_status)
    if (job_id !== undefined) jobs.set(client_name, [...(jobs.get(client_name) ?? []), job_id])
  return jobs
}

/** By place; empty for whom the server does not tell them. */
async function stockVersions(
  send: SendCommand,
  options: AbortOptions,
): Promise<z.infer<typeof versionsSchema>> {
  let dict: JsonObject | undefined
  try {
    dict = (await send('report_version all', options)).dict
  } catch (error) {
    if (!(error instanceof AdminError) || hasCode(error, 'ERR_SERVER_UNREACHABLE')) throw error
  }
  return readReply(versionsSchema, dict ?? {}, 'report_version all')
}

function softwareOf(said: { readonly version: string } | undefined): string {
  return said === undefined || said.version === '' ? '' : `FLARE ${said.version}`
}

/** @param seconds since the epoch */
function isoTime(seconds: number): string {
  const time = new Date(seconds * 1000)
  return Number.isNaN(time.getTime()) ? '' : time.toISOString()
}
