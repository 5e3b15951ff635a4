import type { ByteSource } from '@hanse/cellnet'
import type { AbortOptions, JsonObject, StoredJob } from '@hanse/contract'
import type { ActingPerson, PlaceEnd, PlaceLogLevel } from '@hanse/session'

/** A job that arrived whole and whose sender may submit jobs. */
export interface JobSubmission {
  /** The uploaded zip. Borrowed until the promise settles: it is removed then. */
  readonly archiveFile: string
  /** Base name of the folder as the person's tool calls it. */
  readonly folderName: string
  readonly submitter: ActingPerson
  /** `default` unless the session is in another. */
  readonly study: string
  /** Free properties of the person's tool; go into the job's meta. */
  readonly customProperties: JsonObject
  /** Makes the submission one that can be repeated without making a second job. */
  readonly submitToken?: string | undefined
}

export type SubmissionOutcome =
  | { readonly ok: true; readonly jobId: string }
  /** Every problem that the person can mend, each one sentence. */
  | { readonly ok: false; readonly problems: readonly string[] }
  /** The submit token was used before: for other content, or for a job that was deleted since. */
  | { readonly ok: false; readonly usedFor: UsedSubmitToken }

export interface UsedSubmitToken {
  readonly jobId: string
  /** Milliseconds since the epoch; absent if the job is there, with other content. */
  readonly deletedAt?: number | undefined
}

/** What a person's wish to end a job came to. */
export type AbortOutcome =
  | 'not-started'
  | 'already-finished'
  /** The run is being ended; its final status follows. */
  | 'signalled'
  | 'unknown'

/** How far a running job is, for people who watch it. */
export interface JobProgress {
  /** Counted from 1; 0 before the first. */
  readonly round: number
  readonly totalRounds: number
  readonly sites: readonly {
    readonly name: string
    /** `waiting`, `working`, `contributed` …: one word. */
    readonly state: string
  }[]
  /** Of the last complete round, e.g. `accuracy`. */
  readonly metrics: ReadonlyMap<string, number>
}

/** Log texts by place; a place without one says why. */
export interface JobLogs {
  readonly logs: ReadonlyMap<string, string>
  readonly unavailable: ReadonlyMap<string, string>
}

/** One file of a finished job, e.g. `job.zip`. */
export interface JobFile {
  readonly name: string
  /** Read while a person pulls it. */
  readonly source: ByteSource
}

export interface SiteStatus {
  readonly name: string
  readonly cell: string
  readonly organization: string
  readonly software: string
  readonly connected: boolean
  readonly disabled: boolean
  /** Milliseconds since the epoch. */
  readonly lastHeartbeat: number
  readonly jobs: readonly string[]
}

export interface ServerStatus {
  readonly name: string
  readonly project: string
  readonly software: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Jobs that run now. */
  readonly runningJobs: readonly { readonly id: string; readonly app: string }[]
}

/** One link of the server's cell. */
export interface ConnectionStatus {
  readonly cell: string
  /** Common name of the peer's certificate; `null` on links that prove none. */
  readonly peer: string | null
  readonly driver: string
  readonly mode: string
  readonly address: string
  readonly tlsVersion: string | null
  /** As the dialling peer reports it; `null` if it did not. */
  readonly keyExchange: string | null
  /** Every message proves that it comes from who logged in. */
  readonly messageProofs: boolean
  /** End of the peer's certificate, ISO 8601. */
  readonly certificateExpiry: string | null
  readonly bytesSent: number
  readonly bytesReceived: number
  /** ISO 8601. */
  readonly since: string
}

/** The privacy scopes of a place. */
export interface PrivacyScopes {
  /** In the order of their names. */
  readonly names: readonly string[]
  /** Empty if there is none. */
  readonly usual: string
}

/** What a person wants to know of sites, or wants them to do. */
export interface SiteQuestion {
  /** One of `COMMAND`. */
  readonly topic: string
  /** What a site's policy must grant; stock sites are told, Hanse sites go by the topic. */
  readonly right: string
  readonly body?: string
  readonly job?: StoredJob
}

export interface SiteAnswer {
  /** False if the site refused, or did not answer. */
  readonly ok: boolean
  /** The answer's text, at most 64 Ki characters, or the reason. */
  readonly text: string
}

/** What the server itself has to say about a job that runs. */
export interface JobReport {
  readonly stats: JsonObject
  /** Warnings and errors of its own process since they were last reset, oldest first. */
  readonly problems: readonly {
    readonly level: 'warn' | 'error'
    /** ISO 8601. */
    readonly time: string
    readonly message: string
  }[]
}

/**
 * All that people's commands ask of the server. Who may ask was decided before a call; what is asked for may have
 * vanished meanwhile, and then the outcome says so.
 */
export interface ServerControl {
  /** Checks and stores a job. Rejects only for faults of the server. */
  submitJob(submission: JobSubmission, options?: AbortOptions): Promise<SubmissionOutcome>
  /** All jobs, oldest submission first. */
  listJobs(): Promise<readonly StoredJob[]>
  /** `meta.reason` of a job that did not complete: who failed, where, with what words. */
  getJob(id: string): Promise<StoredJob | undefined>
  abortJob(id: string, by: ActingPerson): Promise<AbortOutcome>
  deleteJob(id: string, by: ActingPerson): Promise<'deleted' | 'running' | 'unknown'>
  cloneJob(id: string, by: ActingPerson): Promise<SubmissionOutcome>
  /** The job that a person submitted with that token; `undefined` if there was none. */
  jobOfToken(
    token: string,
    submitter: ActingPerson,
    study: string,
  ): Promise<UsedSubmitToken | undefined>
  /** `undefined` for a job that does not run. */
  jobProgress(id: string): JobProgress | undefined
  /** @param places `server` and names of sites; `undefined` is all that there are */
  jobLogs(
    id: string,
    places: readonly string[] | undefined,
    file: 'log.txt' | 'log.json',
    options?: AbortOptions,
  ): Promise<JobLogs>
  /** `job.zip`, `meta.json` and `workspace.zip` of a finished job. */
  jobFiles(id: string): Promise<readonly JobFile[]>
  /** Further parts of a job, e.g. logs that sites sent. */
  jobComponentFiles(id: string): Promise<readonly JobFile[]>
  /** Names of further parts of a job, e.g. logs that sites sent. */
  jobComponents(id: string): Promise<readonly string[]>
  sites(): readonly SiteStatus[]
  /** Asks connected sites, each of which decides by its own policy. @returns what each said, or why it did not */
  askSites(
    sites: readonly string[],
    question: SiteQuestion,
    by: ActingPerson,
    options?: AbortOptions,
  ): Promise<ReadonlyMap<string, SiteAnswer>>
  /**
   * Keeps a site out until it is enabled, over restarts too; its kit stays good.
   * @returns whether it was disabled before, and whether it was there
   */
  disableSite(
    name: string,
    by: ActingPerson,
  ): Promise<{ readonly already: boolean; readonly wasPresent: boolean }>
  /** @returns whether it was disabled */
  enableSite(name: string, by: ActingPerson): Promise<boolean>
  /** Links to other machines; the pipes to own jobs are left out. */
  connections(): readonly ConnectionStatus[]
  /** Makes a participant's kit worthless, at once: connections are cut, messages and logins refused. */
  revoke(
    participant: string,
    by: ActingPerson,
    reason: string,
  ): Promise<'done' | 'already' | 'own-name'>
  reinstate(participant: string, by: ActingPerson): Promise<'done' | 'already' | 'own-name'>
  status(): ServerStatus
  /** `undefined` for a job that does not run. */
  jobReport(id: string, options?: AbortOptions): Promise<JobReport | undefined>
  /** Forgets the problems of a running job so far. */
  resetProblems(id: string): void
  /** Sites that take part in a running job. */
  jobSites(id: string): readonly string[]
  /** Of the server itself. */
  privacyScopes(): PrivacyScopes
  /** @param level `undefined` is the one the server was started with. @returns false where it cannot be changed */
  setLogLevel(level: PlaceLogLevel | undefined): boolean
  /** @returns false for a job that does not run */
  setJobLogLevel(id: string, level: PlaceLogLevel): boolean
  /** Stops or restarts the server a moment later: the answer to who asked goes first. */
  end(how: PlaceEnd): void
}
