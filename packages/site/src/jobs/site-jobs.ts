import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditActor, AuditEvent, AuditLog } from '@hanse/audit'
import type { Cell, CellRequest, PeerLink } from '@hanse/cellnet'
import { type Clock, type JsonObject, type Logger, messageOf, PlatformError } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { type ConfinementReport, detectConfinement } from '@hanse/launcher-process'
import { loginVerifier } from '@hanse/pki'
import { type Policy, readPolicy } from '@hanse/policy'
import type { SiteKit, TrainerRuntime } from '@hanse/provision'
import {
  COMMAND,
  COMMAND_HEADER,
  CommandVerifier,
  commandText,
  isAtOrBelow,
  jsonOfFobs,
  logLevelOf,
  type PlaceEnd,
  type PlaceLogLevel,
  type ProofVerifier,
  SERVER_CELL,
  Shareable,
  type SiteCommand,
  type SiteCommandHandler,
  serveCommands,
  submitterOf,
} from '@hanse/session'
import { writeSiteRunFile } from '../job-process/run-file.ts'
import { SITE_JOB_TOPIC } from '../job-process/site-job-protocol.ts'
import { SiteError } from '../site-error.ts'
import { type DeployedApp, deployApp, describeGrant } from './app-deployment.ts'
import { decideQuestion, rightsToAsk } from './decide-question.ts'
import { type AskingPerson, provenPerson } from './proven-person.ts'
import { ResourceManager } from './resource-manager.ts'
import { type RunningJob, reportEnding, type SiteJobComponents } from './site-job.ts'
import type { SubmissionMemory } from './submission-memory.ts'
import { Turns } from './turns.ts'

export interface SiteJobsComponents {
  readonly cell: Cell
  readonly kit: SiteKit
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: AuditLog
  /** For refusals that a job's process can cause as often as it likes. */
  recordRefusal(event: AuditEvent): void
  /** Where runs have their folders. */
  readonly folder: string
  readonly runtimes: ReadonlyMap<string, TrainerRuntime>
  readonly logLevel: string
  readonly software: string
  /** What this machine can confine trainers with; default: found out. */
  readonly confinement?: ConfinementReport | undefined
  readonly startJob: StartJob
  onEvent(event: {
    readonly event: 'job-started' | 'job-ended'
    readonly job: string
    readonly reason?: string
  }): void
  /** What may not be run again. The caller's to close. */
  readonly submissions: SubmissionMemory
  /** Absent where the level of the log is fixed. */
  readonly setLogLevel?: ((level: PlaceLogLevel | undefined) => boolean) | undefined
  /** Stops or restarts the site a moment later. */
  end(how: PlaceEnd): void
}

/** Starts the process of a job on its run folder. */
export type StartJob = (
  components: SiteJobComponents,
  jobId: string,
  folder: string,
) => Promise<RunningJob>

/** What a command came to: the answer, and words for the record. */
interface Done {
  readonly answer: FobsValue
  readonly text: string
}

/** Keys that must be the same at deploy and at start; `spec/session.md` §6.3. */
const PINNED_META = ['job_id', 'resource_spec', 'launcher_spec', 'scope', 'study'] as const
/** What a job's own process says. */
const JOB_NEWS: ReadonlySet<string> = new Set([
  COMMAND.notifyJobStatus,
  ...Object.values(SITE_JOB_TOPIC),
])
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/
/** Folders of runs without a process that are kept, for whoever looks into a failure. */
const KEPT_RUNS = 20
/** How long final reports are tried while the site stops. */
const LAST_REPORTS_MS = 3_000
const MAX_WORDS_CHARS = 500

/** The jobs at a site: what the server asks for, checked by this site's own rules, and what runs. */
export class SiteJobs implements AsyncDisposable {
  readonly #components: SiteJobsComponents
  readonly #policy: Policy
  readonly #people: CommandVerifier
  readonly #verifier: ProofVerifier
  readonly #confinement: ConfinementReport
  readonly #resources: ResourceManager
  readonly #startJob: StartJob
  /** Apps of jobs that are deployed or run. */
  readonly #deployed = new Map<string, DeployedApp>()
  readonly #running = new Map<string, RunningJob>()
  /** Jobs whose final report is not answered yet: still on the list of heartbeats. */
  readonly #reporting = new Set<string>()
  /** Jobs that have a folder and no process, oldest first. */
  readonly #idle = new Set<string>()
  /** Commands about one job are done one after the other: an abort never overtakes a start. */
  readonly #turns = new Turns()
  readonly #watches = new Set<Promise<void>>()
  readonly #closing = new AbortController()

  private constructor(components: SiteJobsComponents, confinement: ConfinementReport) {
    const { kit, clock, startJob } = components
    this.#components = components
    this.#confinement = confinement
    this.#startJob = startJob
    this.#policy = readPolicy(kit.authorizationPolicy)
    this.#verifier = loginVerifier(kit.identity, clock)
    this.#people = new CommandVerifier(
      { verifier: this.#verifier, clock },
      { league: kit.project, server: kit.server.identity },
    )
    this.#resources = new ResourceManager(clock, {
      gpus: kit.settings.gpus,
      gpuMemoryGib: kit.settings.gpuMemoryGib,
      expirationMs: kit.settings.reservationSeconds * 1000,
    })
    serveCommands(components, this.#handlers(), (command, request) =>
      this.#authorize(command, request),
    )
  }

  /** Finds out what this machine can confine, clears what an earlier run left, and serves the server's commands. */
  static async open(components: SiteJobsComponents): Promise<SiteJobs> {
    await rm(components.folder, { recursive: true, force: true })
    await mkdir(components.folder, { recursive: true, mode: 0o700 })
    return new SiteJobs(components, components.confinement ?? (await detectConfinement()))
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
      const job = this.#running.get(jobId)
      if (job === undefined || job.isStopping) continue
      const text = 'the server does not know the job any more'
      void this.#note({ actor: SERVER, act: 'abort', job: jobId, code: 'job-unknown', text })
      void job.abort()
    }
  }

  /** Ends every job in an orderly way and tells the server so, if it answers soon. */
  async stopAll(): Promise<void> {
    await Promise.allSettled(Array.from(this.#running.values(), (job) => job.abort()))
    using _limit = this.#components.clock.setTimer(LAST_REPORTS_MS, () => this.#closing.abort())
    await Promise.allSettled(this.#watches)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    for (const job of this.#running.values()) job.kill()
    await Promise.allSettled(this.#watches)
  }

  #handlers(): ReadonlyMap<string, SiteCommandHandler> {
    const { software } = this.#components
    return new Map<string, SiteCommandHandler>([
      [
        COMMAND.checkResource,
        this.#recorded('check-resources', (command) => this.#checkResource(command)),
      ],
      [
        COMMAND.cancelResource,
        this.#recorded('cancel-resources', (command) => this.#cancelResource(command)),
      ],
      [COMMAND.deploy, this.#recorded('deploy', this.#inTurn(this.#deploy))],
      [COMMAND.startJob, this.#recorded('start', this.#inTurn(this.#start))],
      [COMMAND.abort, this.#recorded('abort', this.#inTurn(this.#abort))],
      [COMMAND.deleteRun, this.#recorded('delete-run', this.#inTurn(this.#deleteRun))],
      [COMMAND.checkStatus, this.#recorded('check-status', () => told(this.#status()))],
      [
        COMMAND.reportVersion,
        this.#recorded('report-version', () => told(JSON.stringify({ version: software }))),
      ],
      [
        COMMAND.reportResources,
        this.#recorded('report-resources', () => told(this.#reportResources())),
      ],
      [COMMAND.reportEnvironment, this.#recorded('report-env', () => told(this.#environment()))],
      [COMMAND.getScopes, this.#recorded('show-scopes', () => told(this.#scopes()))],
      [COMMAND.shutdown, this.#recorded('shutdown', () => this.#end('stop'))],
      [COMMAND.restart, this.#recorded('restart', () => this.#end('restart'))],
      [
        COMMAND.configureSiteLog,
        this.#recorded('configure-log', (command) => this.#setLogLevel(command)),
      ],
      [
        COMMAND.configureJobLog,
        this.#recorded('configure-job-log', (command) => this.#setJobLogLevel(command)),
      ],
      [COMMAND.showStats, this.#recorded('show-stats', (command) => this.#stats(command))],
      [COMMAND.showErrors, this.#recorded('show-errors', (command) => this.#errors(command))],
      [COMMAND.resetErrors, this.#recorded('reset-errors', (command) => this.#errors(command))],
      [COMMAND.notifyJobStatus, () => ''],
      [SITE_JOB_TOPIC.ending, (command, request) => this.#explain(command, request)],
      [SITE_JOB_TOPIC.work, (command, request) => this.#noteWork(command, request)],
      [SITE_JOB_TOPIC.filtered, (command, request) => this.#noteFiltered(command, request)],
    ])
  }

  /**
   * Commands come from the server, news from a job's own process. The site's own policy decides about people's
   * questions here, about their jobs at deployment.
   */
  async #authorize(command: SiteCommand, { origin, link }: CellRequest): Promise<void> {
    const { topic } = command
    const own = link === undefined ? undefined : this.jobOf(link)
    const isNews = JOB_NEWS.has(topic)
    if (isNews ? own !== undefined && isAtOrBelow(origin, link!.fqcn) : origin === SERVER_CELL) {
      await this.#authorizeQuestion(command)
      return
    }
    const text = `'${origin}' may not give the command ${topic}`
    this.#components.recordRefusal({
      actor: { name: origin },
      act: 'command',
      target: topic,
      ...(own !== undefined && { job: own }),
      outcome: 'refused',
      code: 'not-the-server',
      text,
    })
    throw new SiteError('ERR_COMMAND_REFUSED', text)
  }

  async #authorizeQuestion(command: SiteCommand): Promise<void> {
    const rights = rightsToAsk(command.topic)
    if (rights === undefined) return
    const { kit, recordRefusal } = this.#components
    const refuse = (code: string, text: string): SiteError => {
      const event = { actor: actorOf(command), act: 'command', target: command.topic, code, text }
      recordRefusal({ ...event, outcome: 'refused' })
      return new SiteError('ERR_COMMAND_REFUSED', text)
    }
    let person: AskingPerson
    try {
      person = await provenPerson(command, this.#people, {
        site: kit.name,
        rights,
        required: kit.hanse.require.signedCommands,
      })
    } catch (error) {
      throw refuse('command-proof', messageOf(error))
    }
    const jobId = commandText(command, COMMAND_HEADER.jobId)
    const app = this.#deployed.get(jobId)
    const decision = decideQuestion(
      this.#policy,
      { name: kit.name, organization: kit.identity.organization ?? '' },
      { rights, person, job: app && { id: jobId, submitter: submitterOf(app.meta) } },
    )
    if (!decision.allowed) throw refuse(decision.code, decision.explanation)
  }

  /** One entry in the record for every command, whatever came of it. */
  #recorded(act: string, handle: (command: SiteCommand) => Done | Promise<Done>) {
    return async (command: SiteCommand): Promise<FobsValue> => {
      const { audit } = this.#components
      const jobId = commandText(command, COMMAND_HEADER.jobId)
      const event = { actor: actorOf(command), act, ...(JOB_ID.test(jobId) && { job: jobId }) }
      try {
        const { answer, text } = await handle(command)
        await audit.append({ ...event, outcome: 'accepted', code: 'allowed', text })
        return answer
      } catch (error) {
        const code = error instanceof PlatformError ? error.code : 'failed'
        await audit.append({ ...event, outcome: 'refused', code, text: messageOf(error) })
        throw error
      }
    }
  }

  #inTurn(handle: (jobId: string, command: SiteCommand) => Promise<Done>) {
    return (command: SiteCommand): Promise<Done> => {
      const jobId = jobIdOf(command)
      return this.#turns.take(jobId, () => handle.call(this, jobId, command))
    }
  }

  #checkResource({ body }: SiteCommand): Done {
    const request = body instanceof Map ? body : new Map()
    const reservation = this.#resources.reserve(request as ReadonlyMap<string, unknown>) // every value is checked there
    const isEnough = 'token' in reservation
    const answer = new Shareable()
    answer.headers.set('_is_resource_enough', isEnough)
    answer.headers.set(
      COMMAND_HEADER.reservation,
      isEnough ? reservation.token : reservation.refusal,
    )
    return { answer, text: isEnough ? 'reserved' : reservation.refusal }
  }

  #cancelResource(command: SiteCommand): Done {
    this.#resources.cancel(commandText(command, COMMAND_HEADER.reservation))
    return { answer: new Shareable(), text: '' }
  }

  /** Where the site lies on its disk is nobody else's affair. */
  #environment(): string {
    const { name, server } = this.#components.kit
    return JSON.stringify({
      site_name: name,
      secure_mode: true,
      root_url: `${server.scheme}://${server.host}:${server.port}`,
    })
  }

  #scopes(): string {
    const { privacyPolicy } = this.#components.kit
    return JSON.stringify({
      scope_names: [...(privacyPolicy?.scopes.keys() ?? [])].toSorted(),
      default_scope: privacyPolicy?.defaultScope ?? '',
    })
  }

  #end(how: PlaceEnd): Done {
    if (this.#running.size > 0) throw refusal(`${this.#running.size} jobs are running here`)
    this.#components.end(how)
    return told(how === 'stop' ? 'Shutdown the client...' : 'Restart the client...')
  }

  #setLogLevel({ body }: SiteCommand): Done {
    const { kit, setLogLevel } = this.#components
    const level = body === 'reload' ? undefined : levelIn(body)
    if (setLogLevel?.(level) !== true) throw refusal("the log's level is fixed at this site")
    return told(`successfully configured ${kit.name} log`)
  }

  #setJobLogLevel(command: SiteCommand): Done {
    const level = levelIn(command.body)
    this.#jobOf(command).setLogLevel(level)
    return told(`successfully configured ${this.#components.kit.name} job log`)
  }

  #stats(command: SiteCommand): Done {
    return told(JSON.stringify({ ClientRunner: this.#jobOf(command).stats }))
  }

  /** What a log says is not for others; that there is something in it may be. */
  #errors(command: SiteCommand): Done {
    this.#jobOf(command)
    return told('{"ClientRunner":{"note":"the log of a job at a Hanse site stays at the site"}}')
  }

  #jobOf(command: SiteCommand): RunningJob {
    const jobId = jobIdOf(command)
    const job = this.#running.get(jobId)
    if (job === undefined) throw refusal(`job ${jobId} does not run here`)
    return job
  }

  async #deploy(jobId: string, command: SiteCommand): Promise<Done> {
    if (this.#running.has(jobId)) throw refusal(`job ${jobId} is running`)
    if (!(command.body instanceof Uint8Array)) throw refusal('the app is not an archive')
    const appName = commandText(command, COMMAND_HEADER.appName)
    const meta = metaOf(command)
    await this.#drop(jobId)
    const { kit, clock, runtimes, submissions } = this.#components
    const app = await deployApp(
      {
        kit,
        clock,
        runtimes,
        policy: this.#policy,
        confinement: this.#confinement,
        submissions,
        verifier: this.#verifier,
      },
      { jobId, appName, meta, archive: command.body, folder: this.#runFolder(jobId) },
    )
    this.#deployed.set(jobId, app)
    await this.#keep(jobId)
    return {
      answer: `deployed ${appName} to ${kit.name}`,
      text: `${appName}: ${describeGrant(app)}`,
    }
  }

  async #start(jobId: string, command: SiteCommand): Promise<Done> {
    if (this.#running.has(jobId)) return told('Client app already started.')
    const app = this.#deployed.get(jobId)
    if (app === undefined) throw refusal(`job ${jobId} was not deployed to this site`)
    const meta = metaOf(command)
    for (const key of PINNED_META)
      if (JSON.stringify(meta[key]) !== JSON.stringify(app.meta[key]))
        throw refusal(`${key} is not what was deployed`)
    if (!this.#resources.allocate(commandText(command, COMMAND_HEADER.reservation), jobId))
      throw refusal('the reservation of resources is unknown or too old')
    const { submissions } = this.#components
    try {
      // Before it runs: whatever happens then, it does not run again.
      await submissions.setStarted(jobId, true)
      await this.#launch(jobId, app)
    } catch (error) {
      await submissions.setStarted(jobId, false)
      this.#resources.free(jobId)
      throw error
    }
    const text = `${app.name}: confinement ${this.#confinement.level}`
    return { answer: 'Start the client app...', text }
  }

  async #launch(jobId: string, app: DeployedApp): Promise<void> {
    const { cell, clock, logger, kit, runtimes, logLevel, onEvent } = this.#components
    const folder = this.#runFolder(jobId)
    await writeSiteRunFile(folder, {
      jobId,
      site: kit.name,
      siteCell: cell.fqcn,
      project: kit.project,
      datasets: { ...app.datasets },
      filters: [...(app.scope?.filters ?? [])],
      runtimes: Object.fromEntries(
        [...runtimes].map(([name, { program, kind, options, environment, read }]) => [
          name,
          {
            program,
            kind,
            options: [...options],
            environment: { ...environment },
            read: [...read],
          },
        ]),
      ),
      minimumConfinement: kit.hanse.confinement.minimum,
      logLevel,
    })
    const job = await this.#startJob({ cell, clock, logger }, jobId, folder)
    this.#idle.delete(jobId)
    this.#running.set(jobId, job)
    this.#reporting.add(jobId)
    onEvent({ event: 'job-started', job: jobId })
    const watch = this.#watch(job)
      .catch((error: unknown) => logger.error('a job was lost', { jobId, error }))
      .finally(() => this.#watches.delete(watch))
    this.#watches.add(watch)
  }

  /** Sees a job's part through: its end, the record, the final report, and its folder. */
  async #watch(job: RunningJob): Promise<void> {
    const { cell, clock, logger, kit, onEvent } = this.#components
    const { jobId } = job
    const ending = await job.ended
    this.#running.delete(jobId)
    this.#deployed.delete(jobId)
    const { reason } = ending
    onEvent({ event: 'job-ended', job: jobId, ...(reason === '' ? {} : { reason }) })
    const code = reason === '' ? 'ended' : 'failed'
    await this.#note({ actor: { name: kit.name }, act: 'job.end', job: jobId, code, text: reason })
    try {
      const isWanted = () => this.#reporting.has(jobId)
      const { signal } = this.#closing
      await reportEnding({ cell, clock, logger }, jobId, kit.project, ending, isWanted, { signal })
    } catch (error) {
      logger.debug('final report given up', { jobId, error })
    } finally {
      this.#reporting.delete(jobId)
      this.#resources.free(jobId)
      await this.#turns.take(jobId, async () => {
        // The job may have been deployed anew meanwhile.
        if (!this.#running.has(jobId) && !this.#deployed.has(jobId)) await this.#keep(jobId)
      })
    }
  }

  /** Ends what runs, or takes back what was only deployed. */
  async #abort(jobId: string): Promise<Done> {
    const job = this.#running.get(jobId)
    if (job !== undefined) {
      void job.abort()
      return told('Abort signal has been sent to the client App.')
    }
    if (this.#deployed.has(jobId)) await this.#drop(jobId)
    return told('Client app has not started.')
  }

  async #deleteRun(jobId: string): Promise<Done> {
    if (this.#running.has(jobId)) throw refusal(`job ${jobId} is running`)
    await this.#drop(jobId)
    return told(`deleted run ${jobId}`)
  }

  #status(): string {
    return JSON.stringify({
      client_name: this.#components.kit.name,
      running_jobs: Array.from(this.#running.keys(), (jobId) => ({
        app_name: this.#deployed.get(jobId)?.name ?? '',
        job_id: jobId,
        status: 'started',
      })),
    })
  }

  #reportResources(): string {
    const { gpus, gpusInUse } = this.#resources.report()
    return JSON.stringify({
      resources: { num_of_gpus: gpus },
      reserved_resources: { num_of_gpus: gpusInUse },
    })
  }

  #explain(command: SiteCommand, { link }: CellRequest): string {
    const jobId = link === undefined ? undefined : this.jobOf(link)
    if (jobId !== undefined && typeof command.body === 'string')
      this.#running.get(jobId)?.explain(command.body.slice(0, MAX_WORDS_CHARS))
    return ''
  }

  #noteWork({ body, headers }: SiteCommand, { link }: CellRequest): string {
    const jobId = link === undefined ? undefined : this.jobOf(link)
    const done = headers.get('tasks_done')
    if (jobId !== undefined && typeof body === 'string' && typeof done === 'number')
      this.#running.get(jobId)?.works(body.slice(0, MAX_WORDS_CHARS), done)
    return ''
  }

  /** One entry for each message that the filters of this site's privacy scope have seen. */
  async #noteFiltered(command: SiteCommand, { link }: CellRequest): Promise<string> {
    const job = link === undefined ? undefined : this.jobOf(link)
    if (job === undefined || typeof command.body !== 'string') return ''
    const { kit, audit, recordRefusal } = this.#components
    const said = (header: string) => commandText(command, header).slice(0, MAX_WORDS_CHARS)
    const event = {
      actor: { name: kit.name },
      act: 'filter',
      target: `${said('payload')} of ${said('task')}`,
      job,
    }
    const refusal = said('refusal')
    if (refusal !== '')
      recordRefusal({ ...event, outcome: 'refused', code: 'refused-by-filter', text: refusal })
    else {
      const scope = this.#deployed.get(job)?.scope?.name ?? ''
      const filters =
        command.body === '' ? 'an error, of which only the reason goes on' : command.body
      const text = `privacy scope '${scope}': ${filters.slice(0, MAX_WORDS_CHARS)}`
      await audit.append({ ...event, outcome: 'accepted', code: 'filtered', text })
    }
    return ''
  }

  /** Counts a folder without a process; the oldest beyond the limit go. */
  async #keep(jobId: string): Promise<void> {
    this.#idle.delete(jobId)
    this.#idle.add(jobId)
    for (const oldest of this.#idle) {
      if (this.#idle.size <= KEPT_RUNS) return
      await this.#drop(oldest)
    }
  }

  async #drop(jobId: string): Promise<void> {
    this.#idle.delete(jobId)
    this.#deployed.delete(jobId)
    await rm(this.#runFolder(jobId), { recursive: true, force: true })
  }

  /** Records what nobody waits for. */
  async #note(event: Omit<AuditEvent, 'outcome'>): Promise<void> {
    const { audit, logger } = this.#components
    await audit
      .append({ ...event, outcome: 'accepted' })
      .catch((error: unknown) => logger.error('not recorded', { act: event.act, error }))
  }

  #runFolder(jobId: string): string {
    return join(this.#components.folder, jobId)
  }
}

const SERVER: AuditActor = { name: SERVER_CELL }

/** The person on whose behalf the server says that it commands, else the server. */
function actorOf(command: SiteCommand): AuditActor {
  const name = commandText(command, COMMAND_HEADER.userName)
  if (name === '') return SERVER
  return {
    name,
    org: commandText(command, COMMAND_HEADER.userOrganization),
    role: commandText(command, COMMAND_HEADER.userRole),
  }
}

function told(answer: string): Done {
  return { answer, text: '' }
}

function refusal(text: string): SiteError {
  return new SiteError('ERR_COMMAND_REFUSED', text)
}

/** Logs of Hanse are JSON lines always: stock's words for layouts mean nothing. */
function levelIn(body: FobsValue): PlaceLogLevel {
  const level = typeof body === 'string' ? logLevelOf(body) : undefined
  if (level !== undefined) return level
  throw refusal('the level of a log here is DEBUG, INFO, WARNING or ERROR')
}

/** The job a command is about; never a path. */
function jobIdOf(command: SiteCommand): string {
  const jobId = commandText(command, COMMAND_HEADER.jobId)
  if (JOB_ID.test(jobId)) return jobId
  throw refusal('the command names no valid job_id')
}

function metaOf(command: SiteCommand): JsonObject {
  const meta = jsonOfFobs(command.headers.get(COMMAND_HEADER.jobMeta) ?? null)
  if (typeof meta === 'object' && meta !== null && !Array.isArray(meta)) return meta as JsonObject // neither list nor null
  throw refusal('missing job meta')
}
