import { z } from 'zod'
import { AdminError } from './admin-error.ts'

// What a server says is read once, here. Unknown members pass: a newer server may say more.

const progressSchema = z.object({
  round: z.number(),
  totalRounds: z.number(),
  sites: z.array(z.object({ name: z.string(), state: z.string() })),
  metrics: z.record(z.string(), z.number()),
})

const jobSummary = z
  .object({
    job_id: z.string(),
    job_name: z.string(),
    status: z.string(),
    submit_time: z.string().default(''),
    duration: z.string().default('N/A'),
    submitter: z.string().default(''),
    progress: progressSchema.optional(),
  })
  .transform(({ progress, ...job }) => ({
    job: job.job_id,
    name: job.job_name,
    status: job.status,
    submitter: job.submitter,
    submitted: job.submit_time,
    duration: job.duration,
    ...(progress === undefined ? {} : { progress }),
  }))

/** One line of a list of jobs. */
export type JobSummary = z.infer<typeof jobSummary>

export const jobListSchema: z.ZodType<readonly JobSummary[]> = z.array(jobSummary)

/** How far a running job is. */
export interface JobProgress {
  /** Counted from 1; 0 before the first. */
  readonly round: number
  readonly totalRounds: number
  readonly sites: readonly { readonly name: string; readonly state: string }[]
  /** Of the last complete round. */
  readonly metrics: Readonly<Record<string, number>>
}

/** One look at a job that is being waited for. */
export interface JobObservation {
  readonly job: string
  readonly status: string
  /** `null` for a job that does not run now. */
  readonly progress: JobProgress | null
}

export const observationSchema: z.ZodType<JobObservation> = z.object({
  job: z.string(),
  status: z.string(),
  progress: progressSchema.nullable(),
})

const placeScopesSchema = z.object({
  place: z.string(),
  scopes: z.array(z.string()),
  default: z.string(),
  error: z.string().optional(),
})

/** The privacy scopes of one place, `server` or a site. */
export interface PlaceScopes {
  readonly place: string
  readonly scopes: readonly string[]
  /** What a job gets that names no scope; empty if it has to name one, or there are none. */
  readonly default: string
  /** Why the place did not say. */
  readonly error?: string | undefined
}

export const scopesSchema: z.ZodType<readonly PlaceScopes[]> = z.array(placeScopesSchema)

const siteSchema = z.object({
  name: z.string(),
  connected: z.boolean(),
  disabled: z.boolean(),
  organization: z.string(),
  software: z.string(),
  lastHeartbeat: z.string().nullable(),
  jobs: z.array(z.string()),
})

export type LeagueSite = z.infer<typeof siteSchema>

/** A league at a glance. */
export interface LeagueStatus {
  readonly server: {
    readonly name: string
    readonly project: string
    readonly software: string
    readonly started: string
    readonly runningJobs: readonly string[]
  }
  readonly sites: readonly LeagueSite[]
  readonly jobs: readonly JobSummary[]
}

export const leagueStatusSchema: z.ZodType<LeagueStatus> = z.object({
  server: z.object({
    name: z.string(),
    project: z.string(),
    software: z.string(),
    started: z.string(),
    runningJobs: z.array(z.string()),
  }),
  sites: z.array(siteSchema),
  jobs: z.array(jobSummary),
})

/** Log texts by place, and why a place has none. */
export interface JobLogs {
  readonly logs: Readonly<Record<string, string>>
  readonly unavailable: Readonly<Record<string, string>>
}

export const jobLogsSchema: z.ZodType<JobLogs> = z.object({
  logs: z.record(z.string(), z.string()),
  unavailable: z.record(z.string(), z.string()).default({}),
})

/** Names that a server may give to files of a result: they become names here. */
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

export const downloadSchema = z.object({
  source_fqcn: z.string(),
  files: z
    .array(
      z.tuple([
        z.string().regex(FILE_NAME, 'a file has a name that cannot be used here'),
        z.string(),
      ]),
    )
    .min(1)
    .max(64),
})

export const submittedSchema = z.object({ job_id: z.string() })

/** @throws {AdminError} `ERR_REPLY` */
export function readReply<T>(schema: z.ZodType<T>, value: unknown, command: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new AdminError(
    'ERR_REPLY',
    `the server's answer to ${command} cannot be read: ${z.prettifyError(result.error)}`,
    'compare the versions of this tool and the server with hanse status',
  )
}

const connectionSchema = z.object({
  cell: z.string(),
  peer: z.string().nullable(),
  driver: z.string(),
  mode: z.string(),
  address: z.string(),
  tlsVersion: z.string().nullable(),
  keyExchange: z.string().nullable(),
  messageProofs: z.boolean(),
  certificateExpiry: z.string().nullable(),
  bytesSent: z.number(),
  bytesReceived: z.number(),
  since: z.string(),
})

/** How one cell is connected to the server. */
export type LeagueConnection = z.infer<typeof connectionSchema>

export const connectionsSchema: z.ZodType<{ readonly connections: readonly LeagueConnection[] }> =
  z.object({ connections: z.array(connectionSchema) })

/** Whether a participant's kit is worthless now. */
export interface RevocationResult {
  readonly participant: string
  readonly revoked: boolean
  /** True if nothing changed. */
  readonly already: boolean
}

export const revocationSchema: z.ZodType<RevocationResult> = z.object({
  participant: z.string(),
  revoked: z.boolean(),
  already: z.boolean(),
})

/** Whether a site is kept out now. */
export interface SiteAdmission {
  /** True if nothing changed. */
  readonly already: boolean
}

const admissionSchema = (client: z.ZodType<SiteAdmission>) =>
  z.object({ clients: z.tuple([client]) }).transform(({ clients: [first] }) => first)

export const disabledSchema: z.ZodType<SiteAdmission> = admissionSchema(
  z
    .object({ already_disabled: z.boolean() })
    .transform(({ already_disabled }) => ({ already: already_disabled })),
)

export const enabledSchema: z.ZodType<SiteAdmission> = admissionSchema(
  z
    .object({ was_disabled: z.boolean() })
    .transform(({ was_disabled }) => ({ already: !was_disabled })),
)
