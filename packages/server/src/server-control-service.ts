import { join } from 'node:path'
import type { ByteSource, Cell } from '@hanse/cellnet'
import { type AbortOptions, hasCode, type JobStore, type StoredJob } from '@hanse/contract'
import { cloneJobMeta, deleteJob } from '@hanse/jobs'
import { problemsInLog } from '@hanse/logger-pino'
import type { ServerKit } from '@hanse/provision'
import {
  type ActingPerson,
  CLONE_COMMAND_KEY,
  COMMAND_HEADER,
  commandSite,
  type PlaceEnd,
  type PlaceLogLevel,
  personHeaders,
  type SiteCommand,
  submitterOf,
  writeSignedCommand,
} from '@hanse/session'
import type {
  AbortOutcome,
  ConnectionStatus,
  JobFile,
  JobLogs,
  JobProgress,
  JobReport,
  JobSubmission,
  PrivacyScopes,
  ServerControl,
  ServerStatus,
  SiteAnswer,
  SiteQuestion,
  SiteStatus,
  SubmissionOutcome,
  UsedSubmitToken,
} from './admin/server-control.ts'
import { acceptJob } from './jobs/accept-job.ts'
import { LOG_FILE } from './jobs/job-process-protocol.ts'
import type { JobService } from './jobs/job-service.ts'
import { logTail } from './jobs/log-tail.ts'
import { type Submissions, submissionKey } from './jobs/submissions.ts'
import type { RevocationOutcome, RevocationService } from './revocation/revocation-service.ts'
import type { DisabledSites } from './sites/disabled-sites.ts'
import type { SiteRegistry } from './sites/site-registry.ts'

export interface ServerControlComponents {
  readonly cell: Cell
  readonly revocations: RevocationService
  readonly kit: ServerKit
  readonly store: JobStore
  readonly submissions: Submissions
  readonly sites: SiteRegistry
  readonly disabledSites: DisabledSites
  readonly jobs: JobService
  readonly now: () => number
  readonly software: string
  /** Absent where the level of the log is fixed. */
  readonly setLogLevel: ((level: PlaceLogLevel | undefined) => boolean) | undefined
  end(how: PlaceEnd): void
}

const DEFAULT_STUDY = 'default'
/** How long a site may take to answer a person's question. */
const ANSWER_TIMEOUT_MS = 5_000
const MAX_ANSWER_CHARS = 65_536
/** As many as a person wants to read. */
const MAX_PROBLEMS = 100
const NO_PROGRESS: JobProgress = { round: 0, totalRounds: 0, sites: [], metrics: new Map() }
/** Blobs that every job has; what else there is are its components. */
const OWN_BLOBS: ReadonlySet<string> = new Set(['data', 'meta', 'workspace', 'scheduled', LOG_FILE])

/** What people's commands come to at this server. */
export class ServerControlService implements ServerControl {
  readonly #components: ServerControlComponents
  readonly #startedAt: number
  /** When the problems of a running job were last reset; ms since the epoch. */
  readonly #problemsSeen = new Map<string, number>()

  constructor(components: ServerControlComponents) {
    this.#components = components
    this.#startedAt = components.now()
  }

  async submitJob(submission: JobSubmission): Promise<SubmissionOutcome> {
    const { kit, store, submissions, jobs, now, sites } = this.#components
    const mayHaveStockSites = () => sites.mayRunStock()
    const outcome = await acceptJob({ kit, store, submissions, now, mayHaveStockSites }, submission)
    if (outcome.ok) jobs.wake()
    return outcome
  }

  listJobs(): Promise<readonly StoredJob[]> {
    return this.#components.store.list()
  }

  getJob(id: string): Promise<StoredJob | undefined> {
    return this.#components.store.get(id)
  }

  abortJob(id: string, by: ActingPerson): Promise<AbortOutcome> {
    return this.#components.jobs.abort(id, by)
  }

  async jobOfToken(
    token: string,
    submitter: ActingPerson,
    study: string,
  ): Promise<UsedSubmitToken | undefined> {
    const { submissions } = this.#components
    const earlier = await submissions.find(submissionKey(study, submitter, token))
    if (earlier === undefined) return undefined
    return {
      jobId: earlier.jobId,
      deletedAt: earlier.state === 'deleted' ? earlier.deletedAt : undefined,
    }
  }

  async deleteJob(id: string): Promise<'deleted' | 'running' | 'unknown'> {
    const { store, submissions, now } = this.#components
    const job = await store.get(id)
    const result = await deleteJob(store, id)
    if (result.deleted) {
      if (job !== undefined) await submissions.deleted(id, job.meta, now())
      return 'deleted'
    }
    return result.code === 'job-running' ? 'running' : 'unknown'
  }

  async cloneJob(id: string, by: ActingPerson): Promise<SubmissionOutcome> {
    const { store, jobs, now } = this.#components
    const source = await store.get(id)
    if (source === undefined) return { ok: false, problems: [`no such job: ${id}`] }
    const study = source.meta['study']
    const meta = cloneJobMeta(
      source,
      {
        id: crypto.randomUUID(),
        submitter: { name: by.name, org: by.organization, role: by.role },
        study: typeof study === 'string' ? study : DEFAULT_STUDY,
        now: now(),
      },
      by.signed === undefined ? {} : { [CLONE_COMMAND_KEY]: writeSignedCommand(by.signed) },
    )
    const clone = await store.create(meta, store.readBlob(id, 'data'))
    jobs.wake()
    return { ok: true, jobId: clone.id }
  }

  jobProgress(id: string): JobProgress | undefined {
    const text = this.#components.jobs.progress(id)
    if (text === undefined) return undefined
    const { round, totalRounds, sites, metrics } = JSON.parse(text) as Omit<
      JobProgress,
      'metrics'
    > & {
      metrics: Record<string, number>
    } // written by our own job process
    return { round, totalRounds, sites, metrics: new Map(Object.entries(metrics)) }
  }

  async jobLogs(
    id: string,
    places: readonly string[] | undefined,
    file: 'log.txt' | 'log.json',
  ): Promise<JobLogs> {
    const logs = new Map<string, string>()
    const unavailable = new Map<string, string>()
    const kept = await this.#components.store.blobs(id)
    const sent = kept.map(({ name }) => name).filter((name) => name.startsWith(`LOG_${file}_`))
    const sitesWithLog = sent.map((name) => name.slice(`LOG_${file}_`.length))
    for (const place of places ?? ['server', ...sitesWithLog]) {
      const text =
        place === 'server'
          ? await this.#serverLog(id, file)
          : await this.#siteLog(id, `LOG_${file}_${place}`)
      if (text !== undefined) logs.set(place, text)
      else
        unavailable.set(
          place,
          place === 'server'
            ? `the server has no ${file} of this job`
            : 'the site did not send one; logs of a Hanse site stay at the site',
        )
    }
    return { logs, unavailable }
  }

  async jobFiles(id: string): Promise<readonly JobFile[]> {
    const { store } = this.#components
    const job = await store.get(id)
    if (job === undefined) return []
    const blobs = new Map((await store.blobs(id)).map(({ name, size }) => [name, size]))
    const files: JobFile[] = [
      { name: 'meta.json', source: sourceOfText(JSON.stringify(job.meta, null, 2)) },
    ]
    for (const [blob, name] of [
      ['data', 'job.zip'],
      ['workspace', 'workspace.zip'],
    ] as const) {
      const size = blobs.get(blob)
      if (size !== undefined) files.push({ name, source: sourceOfBlob(store, id, blob, size) })
    }
    return files
  }

  async jobComponentFiles(id: string): Promise<readonly JobFile[]> {
    const { store } = this.#components
    const blobs = (await store.blobs(id)).filter(({ name }) => !OWN_BLOBS.has(name))
    return blobs.map(({ name, size }) => ({ name, source: sourceOfBlob(store, id, name, size) }))
  }

  async jobComponents(id: string): Promise<readonly string[]> {
    const blobs = await this.#components.store.blobs(id)
    return blobs.map(({ name }) => name).filter((name) => !OWN_BLOBS.has(name))
  }

  sites(): readonly SiteStatus[] {
    const { sites, jobs } = this.#components
    const present = sites
      .list()
      .map(({ name, cell, organization, software, connected, lastHeartbeat }) => ({
        name,
        cell,
        organization,
        software,
        connected,
        disabled: false,
        lastHeartbeat,
        jobs: jobs.jobsOf(name),
      }))
    const out = sites.disabled().map((name) => ({
      name,
      cell: name,
      organization: '',
      software: '',
      connected: false,
      disabled: true,
      lastHeartbeat: 0,
      jobs: [],
    }))
    return [...present, ...out].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  async disableSite(
    name: string,
    by: ActingPerson,
  ): Promise<{ readonly already: boolean; readonly wasPresent: boolean }> {
    const { sites, disabledSites, now } = this.#components
    const saved = disabledSites.disable({ name, by: by.name, at: now() })
    // In force before it is on the disk: the site's next message counts.
    const wasPresent = sites.disable(name)
    return { already: !(await saved), wasPresent }
  }

  async enableSite(name: string): Promise<boolean> {
    const { sites, disabledSites } = this.#components
    const wasDisabled = await disabledSites.enable(name)
    sites.enable(name)
    return wasDisabled
  }

  async askSites(
    names: readonly string[],
    { topic, right, body = '', job }: SiteQuestion,
    by: ActingPerson,
    { signal }: AbortOptions = {},
  ): Promise<ReadonlyMap<string, SiteAnswer>> {
    const { cell, sites } = this.#components
    const submitter = job === undefined ? by : submitterOf(job.meta)
    const command: SiteCommand = {
      topic,
      headers: new Map([
        ...personHeaders(by, submitter),
        [COMMAND_HEADER.adminCommand, right],
        [COMMAND_HEADER.requireAuthorization, 'true'],
        ...(job === undefined ? [] : [[COMMAND_HEADER.jobId, job.id] as const]),
      ]),
      body,
    }
    const ask = async (name: string): Promise<readonly [string, SiteAnswer]> => {
      const site = sites.get(name)
      if (site?.connected !== true) return [name, { ok: false, text: 'no_reply' }]
      const answer = await commandSite(cell, site.cell, command, {
        timeoutMs: ANSWER_TIMEOUT_MS,
        signal,
      })
      const text = answer.ok ? answer.body : answer.reason
      return typeof text === 'string'
        ? [name, { ok: answer.ok, text: text.slice(0, MAX_ANSWER_CHARS) }]
        : [name, { ok: false, text: 'no_reply' }]
    }
    return new Map(await Promise.all(names.map(ask)))
  }

  connections(): readonly ConnectionStatus[] {
    const links = [...this.#components.cell.peers.values()]
    return links
      .filter(({ connection }) => connection.info.driver !== 'pipe')
      .map(({ fqcn, peerName, connection, connectedAt, proofs }) => ({
        cell: fqcn,
        peer: peerName ?? null,
        driver: connection.info.driver,
        mode: connection.info.mode,
        address: connection.info.remoteAddress,
        tlsVersion: connection.info.tlsVersion ?? null,
        keyExchange: connection.info.keyExchange ?? proofs.report.keyExchange ?? null,
        messageProofs: proofs.active,
        certificateExpiry: isoTime(connection.info.peerCertificateExpiry),
        bytesSent: connection.bytesSent,
        bytesReceived: connection.bytesReceived,
        since: new Date(connectedAt).toISOString(),
      }))
  }

  revoke(participant: string, by: ActingPerson, reason: string): Promise<RevocationOutcome> {
    return this.#components.revocations.revoke(participant, by.name, reason)
  }

  reinstate(participant: string): Promise<RevocationOutcome> {
    return this.#components.revocations.reinstate(participant)
  }

  status(): ServerStatus {
    const { kit, jobs, software } = this.#components
    return {
      name: kit.name,
      project: kit.project,
      software,
      startedAt: this.#startedAt,
      runningJobs: jobs.underway().map((id) => ({ id, app: 'app_server' })),
    }
  }

  async jobReport(id: string): Promise<JobReport | undefined> {
    const { jobs } = this.#components
    if (!jobs.underway().includes(id)) return undefined
    const { round, totalRounds, sites, metrics } = this.jobProgress(id) ?? NO_PROGRESS
    const log = (await this.#serverLog(id, LOG_FILE)) ?? ''
    return {
      stats: {
        job_id: id,
        status: 'started',
        current_round: round,
        total_rounds: totalRounds,
        sites: Object.fromEntries(sites.map(({ name, state }) => [name, state])),
        metrics: Object.fromEntries(metrics),
      },
      problems: problemsInLog(log, this.#problemsSeen.get(id)).slice(-MAX_PROBLEMS),
    }
  }

  resetProblems(id: string): void {
    const { jobs, now } = this.#components
    const underway = new Set(jobs.underway())
    for (const job of this.#problemsSeen.keys())
      if (!underway.has(job)) this.#problemsSeen.delete(job)
    if (underway.has(id)) this.#problemsSeen.set(id, now())
  }

  jobSites(id: string): readonly string[] {
    return this.#components.jobs.sitesOf(id)
  }

  privacyScopes(): PrivacyScopes {
    const { privacyPolicy } = this.#components.kit
    return {
      names: [...(privacyPolicy?.scopes.keys() ?? [])].toSorted(),
      usual: privacyPolicy?.defaultScope ?? '',
    }
  }

  setLogLevel(level: PlaceLogLevel | undefined): boolean {
    return this.#components.setLogLevel?.(level) ?? false
  }

  setJobLogLevel(id: string, level: PlaceLogLevel): boolean {
    return this.#components.jobs.setLogLevel(id, level)
  }

  end(how: PlaceEnd): void {
    this.#components.end(how)
  }

  async #siteLog(id: string, blob: string): Promise<string | undefined> {
    const { store } = this.#components
    const isKept = (await store.blobs(id)).some(({ name }) => name === blob)
    return isKept ? textOfParts(store.readBlob(id, blob)) : undefined
  }

  /** The log of a run under way, or of one that is over. */
  async #serverLog(id: string, file: string): Promise<string | undefined> {
    if (file !== LOG_FILE) return undefined
    const { jobs, store } = this.#components
    try {
      return await textOfParts(logTail(join(jobs.runFolder(id), LOG_FILE)))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    const kept = (await store.blobs(id)).some(({ name }) => name === LOG_FILE)
    return kept ? textOfParts(store.readBlob(id, LOG_FILE)) : undefined
  }
}

async function textOfParts(parts: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const part of parts) text += decoder.decode(part, { stream: true })
  return text + decoder.decode()
}

function sourceOfText(text: string): ByteSource {
  const bytes = new TextEncoder().encode(text)
  return {
    size: bytes.length,
    read: async (offset, length) => bytes.slice(offset, offset + length),
  }
}

function sourceOfBlob(store: JobStore, id: string, blob: string, size: number): ByteSource {
  return {
    size,
    async read(offset, length, options) {
      const bytes = new Uint8Array(length)
      let filled = 0
      for await (const part of store.readBlob(
        id,
        blob,
        { start: offset, end: offset + length },
        options,
      )) {
        bytes.set(part, filled)
        filled += part.length
      }
      return bytes
    },
  }
}

function isoTime(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString()
}
