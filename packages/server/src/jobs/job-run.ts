import type { Cell } from '@hanse/cellnet'
import {
  type Clock,
  type JsonObject,
  type JsonValue,
  type Logger,
  messageOf,
} from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  type ActingPerson,
  COMMAND,
  COMMAND_HEADER,
  type CommandOutcome,
  commandSite,
  EXIT_CODE,
  fobsOfJson,
  personHeaders,
  Shareable,
} from '@hanse/session'
import type { SiteAbsence, SiteRecord } from '../sites/site-registry.ts'
import type { JobExit, ServerJobProcess } from './server-job-process.ts'

/** How a run ended. */
export type RunEnding =
  | { readonly outcome: 'completed' }
  /** Too few sites can take part now; nothing was started. Tried again later. */
  | { readonly outcome: 'no-resource'; readonly reason: string }
  /** The job was aborted or deleted while sites were asked; nothing was started. */
  | { readonly outcome: 'withdrawn' }
  | {
      readonly outcome: 'aborted' | 'failed-to-run' | 'execution-exception' | 'abnormal'
      readonly reason: string
    }

export interface RunPlan {
  readonly jobId: string
  readonly submitter: ActingPerson
  /** The job's meta as it is stored; sites compare parts of it at start. */
  readonly meta: JsonObject
  readonly minSites: number
  readonly mandatorySites: readonly string[]
  readonly sites: readonly PlannedSite[]
  /** How long a site may be without a link before its part counts as over. */
  readonly graceMs: number
}

export interface PlannedSite {
  readonly site: SiteRecord
  readonly app: string
  /** Zip of the app's contents. */
  readonly archive: Uint8Array
  /** What this site's resource manager is asked for. */
  readonly resources: JsonObject
}

/** What a site answered to one step of a run. */
export interface SiteAnswer {
  readonly step: 'check-resources' | 'deploy' | 'start'
  readonly site: string
  /** Why not; empty if it said yes. */
  readonly refusal: string
}

export interface JobRunComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  /** Puts the server's own app in place and starts its process, which finds `participants` in its run file. */
  startServerJob(participants: readonly RunParticipant[]): Promise<ServerJobProcess>
  /**
   * Enough sites can take part; from now on the job counts as dispatched.
   * @returns false if it must not run any more
   */
  onReserved(): Promise<boolean>
  /** @param details one line a site, as stock words them */
  onDeployed(details: readonly string[]): Promise<void>
  onRunning(participants: readonly string[]): Promise<void>
  /** For the record. */
  onAnswer(answer: SiteAnswer): void
}

export interface RunParticipant {
  readonly name: string
  readonly cell: string
}

export interface JobRunTimes {
  readonly resourceCheckMs: number
  readonly deployMs: number
  readonly startMs: number
  /** How long the server's own process may take until it serves its sites. */
  readonly readyMs: number
  readonly abortMs: number
  /** How long the server's own process may take to stop after an abort. */
  readonly stopMs: number
  /** How long sites may take to end their part after the server's process ended well; then they are told to. */
  readonly endRunMs: number
  /** How long final reports of sites are awaited after the server's process ended well. */
  readonly finalReportMs: number
}

/** Stock times where stock has them; `spec/session.md` §6. */
export const DEFAULT_RUN_TIMES: JobRunTimes = {
  resourceCheckMs: 15_000,
  deployMs: 60_000,
  startMs: 20_000,
  readyMs: 60_000,
  abortMs: 2_000,
  stopMs: 10_000,
  endRunMs: 10_000,
  finalReportMs: 900_000,
}

/** How far a site got, or may have got: what has to be undone when the run ends. */
type Stage = 'reserved' | 'deploying' | 'starting' | 'started'

interface Participant extends PlannedSite {
  readonly reservation: string
  stage: Stage
  /** Its part has ended, for better or worse: it can neither come back nor be stopped. */
  over: boolean
  /** It has listed the job in a heartbeat. */
  hasReported: boolean
  /** Ends the wait for a site whose link is lost. */
  absence: Disposable | undefined
  /** Resolves once the site has said how its part ended, or will not say. */
  readonly reported: PromiseWithResolvers<void>
}

/** What a fatal exit code of a site's job process means for the job; `spec/session.md` §6.15. */
const OUTCOME_OF_SITE_EXIT: ReadonlyMap<number, 'aborted' | 'abnormal' | 'execution-exception'> =
  new Map([
    [EXIT_CODE.aborted, 'aborted'],
    [EXIT_CODE.exception, 'execution-exception'],
    [EXIT_CODE.unsafeComponent, 'aborted'],
    [EXIT_CODE.config, 'execution-exception'],
    [EXIT_CODE.infrastructure, 'abnormal'],
  ])

/** One run of one job, from asking for resources to the last report (`spec/session.md` §6). */
export class JobRun {
  readonly #components: JobRunComponents
  readonly #plan: RunPlan
  readonly #times: JobRunTimes
  /** Sites that take part, by name. */
  readonly #participants = new Map<string, Participant>()
  /** All that ever reserved, also those that left. */
  readonly #reserved: Participant[] = []
  readonly #abort = new AbortController()
  #process: ServerJobProcess | undefined
  #phase: 'preparing' | 'running' | 'ended' = 'preparing'
  /** What went wrong first, as the place where it did put it. */
  #failure: Exclude<RunEnding, { outcome: 'completed' }> | undefined

  constructor(components: JobRunComponents, plan: RunPlan, times: JobRunTimes = DEFAULT_RUN_TIMES) {
    this.#components = components
    this.#plan = plan
    this.#times = times
  }

  get jobId(): string {
    return this.#plan.jobId
  }

  /** Names of the sites that take part now. */
  participants(): readonly string[] {
    return [...this.#participants.keys()]
  }

  /** Cells of the sites that take part now. */
  participantCells(): readonly string[] {
    return Array.from(this.#participants.values(), ({ site }) => site.cell)
  }

  /** Runs to the end; never throws. */
  async run(): Promise<RunEnding> {
    const ending = await this.#toEnd()
    this.#phase = 'ended'
    for (const { absence } of this.#reserved) absence?.[Symbol.dispose]()
    await this.#dismissSites(ending)
    await this.#process?.[Symbol.asyncDispose]()
    return ending
  }

  /** Ends the run at a person's word. @returns false if it has ended already */
  abort(by: string): boolean {
    if (this.#phase === 'ended') return false
    this.#fail({ outcome: 'aborted', reason: `aborted by ${by}` })
    return true
  }

  /** @returns false if there is no process yet, or no more */
  setLogLevel(level: string): boolean {
    if (this.#process === undefined || this.#phase === 'ended') return false
    this.#process.setLogLevel(level)
    return true
  }

  /** A site is gone, or in doubt. */
  siteAbsent(name: string, why: SiteAbsence): void {
    const participant = this.#participants.get(name)
    if (participant === undefined || this.#phase === 'ended') return
    const certain = why !== 'connection-lost' && why !== 'heartbeat-missed'
    participant.over ||= certain
    if (why === 'connection-lost')
      participant.absence ??= this.#components.clock.setTimer(
        this.#plan.graceMs,
        participant.reported.resolve,
      )
    else participant.reported.resolve()
    this.#process?.reportDead(name, absenceText(name, why), certain)
  }

  /** A site that was in doubt speaks again. */
  siteBack(name: string): void {
    const participant = this.#participants.get(name)
    if (participant === undefined || participant.over) return
    participant.absence?.[Symbol.dispose]()
    participant.absence = undefined
    this.#process?.reportAlive(name)
  }

  /** A site's own account of how its part ended; `code` is its process's exit code. */
  finalReport(name: string, code: number, reason: string): void {
    const participant = this.#participants.get(name)
    if (participant === undefined || this.#phase === 'ended') return
    participant.over = true
    participant.reported.resolve()
    const outcome = OUTCOME_OF_SITE_EXIT.get(code)
    const words = reason === '' ? `its job process ended with code ${code}` : reason
    if (outcome !== undefined) this.#fail({ outcome, reason: `site '${name}': ${words}` })
    // In doubt only: at the end of a run a site may report before our own process has ended.
    else this.#process?.reportDead(name, `site '${name}' ended its part: ${words}`, false)
  }

  /** Whether the site said in a heartbeat that it runs the job. One that did and does not any more is in doubt. */
  siteReports(name: string, runs: boolean): void {
    const participant = this.#participants.get(name)
    if (participant === undefined) return
    if (!runs && participant.hasReported && !participant.over && this.#phase === 'running')
      this.#process?.reportDead(name, `site '${name}' does not run the job any more`, false)
    participant.hasReported ||= runs
  }

  #fail(failure: Exclude<RunEnding, { outcome: 'completed' }>): void {
    this.#failure ??= failure
    this.#abort.abort()
  }

  async #toEnd(): Promise<RunEnding> {
    try {
      return (
        (await this.#reserve()) ??
        (await this.#deploy()) ??
        (await this.#start()) ??
        (await this.#supervise())
      )
    } catch (error) {
      return this.#failure ?? { outcome: 'failed-to-run', reason: messageOf(error) }
    }
  }

  /** Asks every planned site; keeps those that say yes. */
  async #reserve(): Promise<RunEnding | undefined> {
    const { meta, submitter, sites } = this.#plan
    const refusals = await this.#ask('check-resources', sites, async (planned) => {
      const answer = await this.#command(
        planned.site,
        COMMAND.checkResource,
        this.#times.resourceCheckMs,
        fobsOfJson(planned.resources),
        [
          [COMMAND_HEADER.adminCommand, 'check_resources'],
          [COMMAND_HEADER.requireAuthorization, 'false'],
          [COMMAND_HEADER.jobMeta, fobsOfJson(meta)],
          ...personHeaders(submitter, submitter),
        ],
      )
      const reservation = reservationOf(answer)
      if (typeof reservation === 'string') return reservation
      this.#join(planned, reservation.token)
      return ''
    })
    const tooFew = this.#tooFew('no-resource', refusals)
    if (tooFew !== undefined) return tooFew
    return (await this.#components.onReserved()) ? undefined : { outcome: 'withdrawn' }
  }

  async #deploy(): Promise<RunEnding | undefined> {
    const { meta, submitter } = this.#plan
    const details: string[] = []
    const refusals = await this.#ask('deploy', this.#participants.values(), async (participant) => {
      const { site, app, archive } = participant
      participant.stage = 'deploying'
      const answer = await this.#command(site, COMMAND.deploy, this.#times.deployMs, archive, [
        [COMMAND_HEADER.appName, app],
        [COMMAND_HEADER.jobMeta, fobsOfJson(meta)],
        [COMMAND_HEADER.adminCommand, 'submit_job'],
        [COMMAND_HEADER.requireAuthorization, 'true'],
        ...personHeaders(submitter, submitter),
      ])
      details.push(`${site.name}: ${answer.ok ? 'OK' : answer.reason}`)
      return answer.ok ? '' : answer.reason
    })
    await this.#components.onDeployed(details.toSorted())
    return this.#tooFew('failed-to-run', refusals)
  }

  /** The server's job first, then the sites'. */
  async #start(): Promise<RunEnding | undefined> {
    if (this.#failure !== undefined) return this.#failure
    const participants = [...this.#participants.values()]
    const process = await this.#components.startServerJob(
      participants.map(({ site }) => ({ name: site.name, cell: site.cell })),
    )
    this.#process = process
    const obstacle = await this.#untilReady(process)
    if (obstacle !== undefined) return obstacle
    const meta = fobsOfJson({
      ...this.#plan.meta,
      job_clients: participants.map(({ site }) => jobClientOf(site)),
    })
    const refusals = await this.#ask('start', participants, async (participant) => {
      const { site, resources, reservation } = participant
      participant.stage = 'starting'
      const answer = await this.#command(
        site,
        COMMAND.startJob,
        this.#times.startMs,
        fobsOfJson(resources),
        [
          [COMMAND_HEADER.jobMeta, meta],
          [COMMAND_HEADER.reservation, reservation],
        ],
      )
      if (answer.ok) {
        participant.stage = 'started'
        return ''
      }
      process.reportDead(site.name, `site '${site.name}' did not start: ${answer.reason}`, true)
      return answer.reason
    })
    return this.#tooFew('failed-to-run', refusals)
  }

  /** @returns why the run cannot go on */
  async #untilReady({ ready, exited, outcome }: ServerJobProcess): Promise<RunEnding | undefined> {
    const late = Promise.withResolvers<RunEnding>()
    const { readyMs } = this.#times
    using _timer = this.#components.clock.setTimer(readyMs, () =>
      late.resolve({
        outcome: 'failed-to-run',
        reason: `the server's job process was not ready within ${readyMs / 1000} s`,
      }),
    )
    // Awaited here: the timer lives as long as this function.
    return await Promise.race([
      ready.then(() => this.#failure),
      exited.then((exit) => this.#failure ?? notCompleted(endingOf(exit, outcome()))),
      this.#aborted().then(() => this.#failure),
      late.promise,
    ])
  }

  async #supervise(): Promise<RunEnding> {
    this.#phase = 'running'
    const process = this.#process!
    await this.#components.onRunning(this.participants())
    await Promise.race([process.exited, this.#aborted()])
    if (this.#abort.signal.aborted) await process.stop(this.#times.stopMs)
    const ending = this.#failure ?? endingOf(await process.exited, process.outcome())
    if (ending.outcome !== 'completed') return ending
    await this.#awaitFinalReports()
    return this.#failure ?? ending
  }

  /** Waits for the word of every site that is not gone. */
  async #awaitFinalReports(): Promise<void> {
    const limit = Promise.withResolvers<void>()
    const { clock, logger } = this.#components
    using _limit = clock.setTimer(this.#times.finalReportMs, limit.resolve)
    using _nudge = clock.setTimer(this.#times.endRunMs, () => {
      const late = [...this.#participants.values()].filter(({ over }) => !over)
      logger.warn('sites have not ended their part', {
        jobId: this.jobId,
        sites: late.map(({ site }) => site.name),
      })
      for (const { site } of late) void this.#tellSite(site, COMMAND.abort)
    })
    const reports = [...this.#participants.values()].map(({ reported }) => reported.promise)
    await Promise.race([Promise.all(reports), limit.promise, this.#aborted()])
  }

  /**
   * Undoes at each site what was done there. Answers change nothing: a site that cannot be reached learns from its
   * next heartbeat that the job is over.
   */
  async #dismissSites({ outcome }: RunEnding): Promise<void> {
    await Promise.all(
      this.#reserved.map(async ({ site, stage, over, resources, reservation }) => {
        if (over || (stage === 'started' && outcome === 'completed')) return
        if (stage === 'starting' || stage === 'started') await this.#tellSite(site, COMMAND.abort)
        if (stage === 'started') return
        await this.#tellSite(site, COMMAND.cancelResource, fobsOfJson(resources), [
          [COMMAND_HEADER.reservation, reservation],
        ])
        if (stage !== 'reserved') await this.#tellSite(site, COMMAND.deleteRun)
      }),
    )
  }

  #join(planned: PlannedSite, reservation: string): void {
    const participant: Participant = {
      ...planned,
      reservation,
      stage: 'reserved',
      over: false,
      hasReported: false,
      absence: undefined,
      reported: Promise.withResolvers(),
    }
    this.#participants.set(planned.site.name, participant)
    this.#reserved.push(participant)
  }

  /** Asks all at once; those that refuse take no further part. @returns the refusals, in the order of the sites */
  async #ask<Item extends PlannedSite>(
    step: SiteAnswer['step'],
    items: Iterable<Item>,
    ask: (item: Item) => Promise<string>,
  ): Promise<readonly string[]> {
    const answers = await Promise.all(
      Array.from(items, async (item) => {
        const { name } = item.site
        const refusal = await ask(item)
        this.#components.onAnswer({ step, site: name, refusal })
        if (refusal === '') return []
        this.#participants.delete(name)
        return [`site '${name}': ${refusal}`]
      }),
    )
    return answers.flat()
  }

  /** An ending if fewer sites than the job asks for are left, or one that must be there is not. */
  #tooFew(
    outcome: 'no-resource' | 'failed-to-run',
    refusals: readonly string[],
  ): RunEnding | undefined {
    if (this.#failure !== undefined) return this.#failure
    const { minSites, mandatorySites } = this.#plan
    const missing = mandatorySites.filter((name) => !this.#participants.has(name))
    const left = this.#participants.size
    if (missing.length === 0 && left >= minSites) return undefined
    const need =
      missing.length > 0
        ? `mandatory site(s) ${missing.join(', ')} cannot take part`
        : `${left} of at least ${minSites} sites can take part`
    return { outcome, reason: [need, ...refusals].join('; ') }
  }

  #aborted(): Promise<void> {
    const { signal } = this.#abort
    return new Promise((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  /** Gives a command of the run's own course; an abort of the run ends the wait for its answer. */
  async #command(
    site: SiteRecord,
    topic: string,
    timeoutMs: number,
    body: FobsValue,
    headers: readonly (readonly [string, FobsValue])[],
  ): Promise<CommandOutcome> {
    const { signal } = this.#abort
    try {
      return await this.#send(site, topic, timeoutMs, body, headers, signal)
    } catch (error) {
      if (signal.aborted) return { ok: false, reason: 'the run was ended before it answered' }
      throw error
    }
  }

  async #tellSite(
    site: SiteRecord,
    topic: string,
    body: FobsValue = '',
    headers: readonly (readonly [string, FobsValue])[] = [],
  ): Promise<void> {
    const answer = await this.#send(site, topic, this.#times.abortMs, body, headers)
    if (!answer.ok)
      this.#components.logger.debug('a site did not do as told', {
        jobId: this.jobId,
        site: site.name,
        topic,
        reason: answer.reason,
      })
  }

  #send(
    site: SiteRecord,
    topic: string,
    timeoutMs: number,
    body: FobsValue,
    headers: readonly (readonly [string, FobsValue])[],
    signal?: AbortSignal,
  ): Promise<CommandOutcome> {
    return commandSite(
      this.#components.cell,
      site.cell,
      { topic, headers: new Map([[COMMAND_HEADER.jobId, this.jobId], ...headers]), body },
      { timeoutMs, signal },
    )
  }
}

/** Reads the answer to a resource check: a reservation, or why not. */
function reservationOf(answer: CommandOutcome): { readonly token: string } | string {
  if (!answer.ok) return answer.reason
  if (!(answer.body instanceof Shareable)) return 'the answer to the resource check cannot be read'
  const token = answer.body.textHeader(COMMAND_HEADER.reservation) ?? ''
  return answer.body.booleanHeader('_is_resource_enough') === true
    ? { token }
    : token || 'not enough resources'
}

/** What every participant learns of every other; `spec/session.md` §6.3. */
function jobClientOf(site: SiteRecord): JsonObject {
  return {
    name: site.name,
    ...(site.cell === site.name ? {} : { fqcn: site.cell }),
    ...(site.siteConfig === '' ? {} : { site_config: JSON.parse(site.siteConfig) as JsonValue }),
  }
}

function absenceText(name: string, why: SiteAbsence): string {
  switch (why) {
    case 'connection-lost':
      return `the connection to site '${name}' was lost`
    case 'heartbeat-missed':
      return `site '${name}' sent no heartbeat in time`
    case 'restarted':
      return `site '${name}' was started anew`
    case 'quit':
      return `site '${name}' was stopped`
    case 'disabled':
    case 'revoked':
      return `site '${name}' was ${why}`
    default:
      return why satisfies never
  }
}

/** What a process's end means for its job; `spec/jobs.md` §4. */
function endingOf(exit: JobExit, outcome: ReturnType<ServerJobProcess['outcome']>): RunEnding {
  if (outcome?.failed) return { outcome: 'execution-exception', reason: outcome.reason }
  if (exit.code === EXIT_CODE.ok && outcome !== undefined) return { outcome: 'completed' }
  const how = exit.signal === null ? `with code ${exit.code}` : `by signal ${exit.signal}`
  const words = exit.lastWords === '' ? '' : `; its last words: ${exit.lastWords}`
  const reason = `the server's job process ended ${how}${words}`
  if (exit.code === EXIT_CODE.aborted) return { outcome: 'aborted', reason }
  if (exit.signal !== null || exit.code === EXIT_CODE.infrastructure || exit.code === EXIT_CODE.ok)
    return { outcome: 'abnormal', reason }
  return { outcome: 'execution-exception', reason }
}

/** An ending before the run began: it did not complete, whatever the process says. */
function notCompleted(ending: RunEnding): RunEnding {
  const reason = 'reason' in ending ? ending.reason : "the server's job process ended at once"
  return { outcome: 'failed-to-run', reason }
}
