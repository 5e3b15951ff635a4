import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditLog } from '@hanse/audit'
import type { Cell, CellRequest, PeerLink } from '@hanse/cellnet'
import type { Clock, JsonObject, Logger } from '@hanse/contract'
import { type ConfinementReport, detectConfinement } from '@hanse/launcher-process'
import { type Policy, readPolicy } from '@hanse/policy'
import type { SiteKit, TrainerRuntime } from '@hanse/provision'
import {
  COMMAND,
  COMMAND_HEADER,
  commandText,
  isAtOrBelow,
  jsonOfFobs,
  SERVER_CELL,
  Shareable,
  type SiteCommand,
  type SiteCommandHandler,
  serveCommands,
} from '@hanse/session'
import { writeSiteRunFile } from '../job-process/run-file.ts'
import { SITE_JOB_TOPIC } from '../job-process/site-job-protocol.ts'
import { SiteError } from '../site-error.ts'
import { type DeployedApp, deployApp } from './app-deployment.ts'
import { ResourceManager } from './resource-manager.ts'
import { reportEnding, SiteJob } from './site-job.ts'

export interface SiteJobsComponents {
  readonly cell: Cell
  readonly kit: SiteKit
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: AuditLog
  /** Where runs have their folders. */
  readonly folder: string
  readonly runtimes: ReadonlyMap<string, TrainerRuntime>
  readonly logLevel: string
  readonly software: string
  onEvent(event: {
    readonly event: 'job-started' | 'job-ended'
    readonly job: string
    readonly reason?: string
  }): void
}

/** Keys that must be the same at deploy and at start; `spec/session.md` §6.3. */
const PINNED_META = ['job_id', 'resource_spec', 'launcher_spec', 'scope', 'study'] as const
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/
/** Folders of ended runs that are kept, for whoever looks into a failure. */
const KEPT_RUNS = 20

/** The jobs at a site: what the server asks for, checked by this site's own rules, and what runs. */
export class SiteJobs implements AsyncDisposable {
  readonly #components: SiteJobsComponents
  readonly #policy: Policy
  readonly #confinement: ConfinementReport
  readonly #resources: ResourceManager
  readonly #deployed = new Map<string, DeployedApp>()
  readonly #running = new Map<string, SiteJob>()
  /** Jobs whose final report is not answered yet: still on the list of heartbeats. */
  readonly #reporting = new Set<string>()
  readonly #ended: string[] = []

  private constructor(components: SiteJobsComponents, confinement: ConfinementReport) {
    const { kit, clock, cell } = components
    this.#components = components
    this.#confinement = confinement
    this.#policy = readPolicy(kit.authorizationPolicy)
    this.#resources = new ResourceManager(clock, {
      gpus: kit.settings.gpus,
      gpuMemoryGib: kit.settings.gpuMemoryGib,
      expirationMs: kit.settings.reservationSeconds * 1000,
    })
    serveCommands(cell, this.#handlers(), (command, request) => this.#authorize(command, request))
  }

  /** Finds out what this machine can confine, clears what an earlier run left, and serves the server's commands. */
  static async open(components: SiteJobsComponents): Promise<SiteJobs> {
    await rm(components.folder, { recursive: true, force: true })
    await mkdir(components.folder, { recursive: true, mode: 0o700 })
    return new SiteJobs(components, await detectConfinement())
  }

  /** Best level that this machine gives. */
  get confinement(): string {
    return this.#confinement.level
  }

  /** The job whose process is at the other end of a link. */
  jobOf(link: PeerLink): string | undefined {
    if (link.connection.info.driver !== 'pipe') return undefined
    for (const job of this.#running.values()) if (job.cellName === link.fqcn) return job.jobId
    return undefined
  }

  /** Jobs that this site answers for in its heartbeats. */
  owned(): readonly string[] {
    return [...new Set([...this.#running.keys(), ...this.#reporting])]
  }

  /** Ends jobs that the server does not know. */
  abortUnknown(jobIds: readonly string[]): void {
    for (const jobId of jobIds) {
      this.#reporting.delete(jobId)
      void this.#running.get(jobId)?.abort()
    }
  }

  /** Ends every job in an orderly way. */
  async stopAll(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map((job) => job.abort()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const job of this.#running.values()) job.kill()
    await Promise.allSettled([...this.#running.values()].map(({ ended }) => ended))
  }

  #handlers(): ReadonlyMap<string, SiteCommandHandler> {
    return new Map<string, SiteCommandHandler>([
      [COMMAND.checkResource, (command) => this.#checkResource(command)],
      [COMMAND.cancelResource, (command) => this.#cancelResource(command)],
      [COMMAND.deploy, (command) => this.#deploy(command)],
      [COMMAND.startJob, (command) => this.#start(command)],
      [COMMAND.abort, (command) => this.#abort(command)],
      [COMMAND.deleteRun, (command) => this.#deleteRun(command)],
      [COMMAND.checkStatus, () => this.#status()],
      [COMMAND.reportVersion, () => JSON.stringify({ version: this.#components.software })],
      [COMMAND.reportResources, () => this.#reportResources()],
      [COMMAND.notifyJobStatus, () => ''],
      [SITE_JOB_TOPIC.ending, (command, request) => this.#explain(command, request)],
    ])
  }

  /** Commands come from the server, news from a job's own process. What a person may do is asked at deployment. */
  #authorize(command: SiteCommand, { origin, link }: CellRequest): void {
    const own = link === undefined ? undefined : this.jobOf(link)
    const isNews =
      command.topic === COMMAND.notifyJobStatus || command.topic === SITE_JOB_TOPIC.ending
    if (isNews ? own !== undefined && isAtOrBelow(origin, link!.fqcn) : origin === SERVER_CELL) return
    throw new SiteError('ERR_COMMAND_REFUSED', `'${origin}' may not give the command ${command.topic}`)
  }

  #checkResource(command: SiteCommand): Shareable {
    const request = command.body instanceof Map ? command.body : new Map()
    const reservation = this.#resources.reserve(request as ReadonlyMap<string, unknown>) // every value is checked there
    const answer = new Shareable()
    answer.headers.set('_is_resource_enough', 'token' in reservation)
    answer.headers.set(
      COMMAND_HEADER.reservation,
      'token' in reservation ? reservation.token : reservation.refusal,
    )
    return answer
  }

  #cancelResource(command: SiteCommand): Shareable {
    this.#resources.cancel(commandText(command, COMMAND_HEADER.reservation))
    return new Shareable()
  }

  async #deploy(command: SiteCommand): Promise<string> {
    const jobId = jobIdOf(command)
    const appName = commandText(command, COMMAND_HEADER.appName)
    if (this.#running.has(jobId)) throw new SiteError('ERR_COMMAND_REFUSED', `job ${jobId} is running`)
    if (!(command.body instanceof Uint8Array))
      throw new SiteError('ERR_COMMAND_REFUSED', 'the app is not an archive')
    const folder = this.#runFolder(jobId)
    await rm(folder, { recursive: true, force: true })
    const { kit, clock, audit, runtimes } = this.#components
    const app = await deployApp(
      { kit, clock, audit, runtimes, policy: this.#policy, confinement: this.#confinement },
      { jobId, appName, meta: metaOf(command), archive: command.body, folder },
    )
    this.#deployed.set(jobId, app)
    return `deployed ${appName} to ${kit.name}`
  }

  async #start(command: SiteCommand): Promise<string> {
    const jobId = jobIdOf(command)
    const app = this.#deployed.get(jobId)
    if (this.#running.has(jobId)) return 'Client app already started.'
    if (app === undefined)
      throw new SiteError('ERR_COMMAND_REFUSED', `job ${jobId} was not deployed to this site`)
    const meta = metaOf(command)
    for (const key of PINNED_META)
      if (JSON.stringify(meta[key]) !== JSON.stringify(app.meta[key]))
        throw new SiteError('ERR_COMMAND_REFUSED', `${key} is not what was deployed`)
    if (!this.#resources.allocate(commandText(command, COMMAND_HEADER.reservation), jobId))
      throw new SiteError('ERR_COMMAND_REFUSED', 'the reservation of resources is unknown or too old')
    try {
      await this.#launch(jobId, app)
    } catch (error) {
      this.#resources.free(jobId)
      throw error
    }
    return 'Start the client app...'
  }

  async #launch(jobId: string, app: DeployedApp): Promise<void> {
    const { cell, clock, logger, kit, runtimes, logLevel, audit, onEvent } = this.#components
    const folder = this.#runFolder(jobId)
    await writeSiteRunFile(folder, {
      jobId,
      site: kit.name,
      siteCell: cell.fqcn,
      project: kit.project,
      datasets: { ...app.datasets },
      runtimes: Object.fromEntries(
        [...runtimes].map(([name, { program, kind, options, environment, read }]) => [
          name,
          { program, kind, options: [...options], environment: { ...environment }, read: [...read] },
        ]),
      ),
      minimumConfinement: kit.hanse.confinement.minimum,
      logLevel,
    })
    const job = await SiteJob.start({ cell, clock, logger }, jobId, folder)
    this.#running.set(jobId, job)
    onEvent({ event: 'job-started', job: jobId })
    await audit.append({
      actor: { name: SERVER_CELL },
      act: 'start',
      job: jobId,
      outcome: 'accepted',
      code: 'allowed',
      text: `confinement ${this.#confinement.level}`,
    })
    this.#watch(job).catch((error: unknown) => logger.error('a job was lost', { jobId, error }))
  }

  /** Sees a job's part through: its end, the record, the final report, and its folder. */
  async #watch(job: SiteJob): Promise<void> {
    const { cell, clock, logger, kit, audit, onEvent } = this.#components
    const { jobId } = job
    this.#reporting.add(jobId)
    const ending = await job.ended
    this.#running.delete(jobId)
    this.#deployed.delete(jobId)
    onEvent({
      event: 'job-ended',
      job: jobId,
      ...(ending.reason === '' ? {} : { reason: ending.reason }),
    })
    await audit.append({
      actor: { name: kit.name },
      act: 'job.end',
      job: jobId,
      outcome: 'accepted',
      code: ending.reason === '' ? 'ended' : 'failed',
      text: ending.reason,
    })
    await reportEnding({ cell, clock, logger }, jobId, kit.project, ending, () => this.#reporting.has(jobId))
    this.#reporting.delete(jobId)
    this.#resources.free(jobId)
    this.#ended.push(jobId)
    for (const old of this.#ended.splice(0, Math.max(0, this.#ended.length - KEPT_RUNS)))
      await rm(this.#runFolder(old), { recursive: true, force: true })
  }

  async #abort(command: SiteCommand): Promise<string> {
    const job = this.#running.get(jobIdOf(command))
    if (job === undefined) return 'Client app has not started.'
    void job.abort()
    return 'Abort signal has been sent to the client App.'
  }

  async #deleteRun(command: SiteCommand): Promise<string> {
    const jobId = jobIdOf(command)
    if (this.#running.has(jobId)) throw new SiteError('ERR_COMMAND_REFUSED', `job ${jobId} is running`)
    this.#deployed.delete(jobId)
    await rm(this.#runFolder(jobId), { recursive: true, force: true })
    return `deleted run ${jobId}`
  }

  #status(): string {
    return JSON.stringify({
      client_name: this.#components.kit.name,
      running_jobs: [...this.#running.keys()].map((jobId) => ({
        app_name: 'app',
        job_id: jobId,
        status: 'started',
      })),
    })
  }

  #reportResources(): string {
    const { gpus, gpusInUse } = this.#resources.report()
    return JSON.stringify({ resources: { num_of_gpus: gpus }, reserved_resources: { num_of_gpus: gpusInUse } })
  }

  #explain(command: SiteCommand, { link }: CellRequest): string {
    const jobId = link === undefined ? undefined : this.jobOf(link)
    if (jobId !== undefined && typeof command.body === 'string')
      this.#running.get(jobId)?.explain(command.body.slice(0, 500))
    return ''
  }

  #runFolder(jobId: string): string {
    return join(this.#components.folder, jobId)
  }
}

/** The job a command is about; never a path. */
function jobIdOf(command: SiteCommand): string {
  const jobId = commandText(command, COMMAND_HEADER.jobId)
  if (JOB_ID.test(jobId)) return jobId
  throw new SiteError('ERR_COMMAND_REFUSED', 'the command names no valid job_id')
}

function metaOf(command: SiteCommand): JsonObject {
  const meta = jsonOfFobs(command.headers.get(COMMAND_HEADER.jobMeta) ?? null)
  if (typeof meta === 'object' && meta !== null && !Array.isArray(meta)) return meta as JsonObject // neither list nor null
  throw new SiteError('ERR_COMMAND_REFUSED', 'missing job meta')
}
