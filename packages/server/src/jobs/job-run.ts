import type { Cell } from '@hanse/cellnet'
import {
  type Clock,
  type JsonObject,
  type JsonValue,
  type Logger,
  messageOf,
} from '@hanse/contract'
import {
  type ActingPerson,
  COMMAND,
  COMMAND_HEADER,
  type CommandOutcome,
  commandSite,
  fobsOfJson,
  personHeaders,
} from '@hanse/session'
import type { SiteAbsence, SiteRecord } from '../sites/site-registry.ts'
import type { JobExit, ServerJobProcess } from './server-job-process.ts'

/** How a run ended. */
export type RunEnding =
  | { readonly outcome: 'completed' }
  /** Too few sites can take part now; nothing was started. Tried again later. */
  | { readonly outcome: 'no-resource'; readonly reason: string }
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
}

export interface PlannedSite {
  readonly site: SiteRecord
  readonly app: string
  /** Zip of the app's contents. */
  readonly archive: Uint8Array
  /** What this site's resource manager is asked for. */
  readonly resources: JsonObject
}

export interface JobRunComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
  /** Puts the server's own app in place and starts its process, which finds `participants` in its run file. */
  startServerJob(participants: readonly RunParticipant[]): Promise<ServerJobProcess>
  /** Enough sites can take part; from now on the job counts as dispatched. */
  onReserved(): Promise<void>
  onDeployed(details: readonly string[]): Promise<void>
  onRunning(participants: readonly string[]): Promise<void>
}

export interface RunParticipant {
  readonly name: string
  readonly cell: string
}

export interface JobRunTimes {
  readonly resourceCheckMs: number
  readonly deployMs: number
  readonly startMs: number
  readonly abortMs: number
  /** How long the server's own process may take to stop after an abort. */
  readonly stopMs: number
  /** How long a site whose link is gone is waited for. */
  readonly absenceMs: number
  /** When sites that have not reported after the end of the run are told to stop. */
  readonly endOfRunMs: number
  /** How long final reports of sites are awaited after the server's process ended well. */
  readonly finalReportMs: number
}

/** Stock times; `spec/session.md` §6. */
export const DEFAULT_RUN_TIMES: JobRunTimes = {
  resourceCheckMs: 15_000,
  deployMs: 60_000,
  startMs: 20_000,
  abortMs: 2_000,
  stopMs: 10_000,
  absenceMs: 15_000,
  endOfRunMs: 10_000,
  finalReportMs: 900_000,
}

interface Participant extends PlannedSite {
  reservation: string
  /** It has listed the job in a heartbeat. */
  hasReported: boolean
  /** Set once the site has said how its part ended, or will never say. */
  readonly reported: PromiseWithResolvers<void>
  isOver: boolean
  /** Runs while the site's link is gone: a report is awaited only so long. */
  absence: Disposable | undefined
}

/** Exit codes of a site's job process that end the job; `spec/session.md` §6.15. */
const FATAL_EXIT_CODES: ReadonlySet<number> = new Set([9, 101, 102, 103, 104])

/** One run of one job, from asking for resources to the last report (`spec/session.md` §6). */
export class JobRun {
  readonly #components: JobRunComponents
  readonly #plan: RunPlan
  readonly #times: JobRunTimes
  readonly #participants = new Map<string, Participant>()
  readonly #abort = new AbortController()
  #process: ServerJobProcess | undefined
  #phase: 'reserving' | 'deploying' | 'starting' | 'running' | 'ended' = 'reserving'
  /** What went wrong first, as the places where it did put it. */
  #failure: RunEnding | undefined

  constructor(components: JobRunComponents, plan: RunPlan, times: JobRunTimes = DEFAULT_RUN_TIMES) {
    this.#components = components
    this.#plan = plan
    this.#times = times
  }

  get jobId(): string {
    return this.#plan.jobId
  }

  /** Names of the sites that take part; more or fewer while sites come and go. */
  participants(): readonly string[] {
    return [...this.#participants.keys()]
  }

  participantCells(): readonly string[] {
    return [...this.#participants.values()].map(({ site }) => site.cell)
  }

  /** Runs to the end; never throws. */
  async run(): Promise<RunEnding> {
    const ending = await this.#runToEnd()
    this.#phase = 'ended'
    const isOverAnyway = ending.outcome === 'completed' || ending.outcome === 'no-resource'
    if (!isOverAnyway) await this.#tellToStop([...this.#participants.values()])
    for (const { absence } of this.#participants.values()) absence?.[Symbol.dispose]()
    await this.#process?.[Symbol.asyncDispose]()
    return ending
  }

  async #runToEnd(): Promise<RunEnding> {
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

  /** Ends the run at a person's word. */
  abort(by: string): void {
    this.#fail({ outcome: 'aborted', reason: `aborted by ${by}` })
  }

  /** A site is gone, or in doubt. */
  siteAbsent(name: string, why: SiteAbsence): void {
    const participant = this.#participants.get(name)
    if (participant === undefined || this.#phase === 'ended') return
    participant.absence?.[Symbol.dispose]()
    if (why !== 'connection-lost') conclude(participant)
    else
      participant.absence = this.#components.clock.setTimer(this.#times.absenceMs, () =>
        conclude(participant),
      )
    this.#process?.reportDead(name, absenceText(name, why), why === 'restarted' || why === 'quit')
  }

  siteBack(name: string): void {
    const participant = this.#participants.get(name)
    if (participant === undefined) return
    participant.absence?.[Symbol.dispose]()
    this.#process?.reportAlive(name)
  }

  /** A site's own account of how its part ended; `code` is its process's exit code. */
  finalReport(name: string, code: number, reason: string): void {
    const participant = this.#participants.get(name)
    if (participant === undefined) return
    conclude(participant)
    if (!FATAL_EXIT_CODES.has(code) || this.#phase === 'ended') return
    const outcome = code === 102 ? 'aborted' : code === 104 ? 'abnormal' : 'execution-exception'
    const words = reason === '' ? `its job process ended with code ${code}` : reason
    this.#fail({ outcome, reason: `site '${name}': ${words}` })
  }

  /** Whether the site said in a heartbeat that it runs the job. One that did and does not any more is in doubt. */
  siteReports(name: string, runs: boolean): void {
    const participant = this.#participants.get(name)
    if (participant === undefined) return
    if (!runs && participant.hasReported && this.#phase === 'running')
      this.#process?.reportDead(name, `site '${name}' does not run the job any more`, false)
    participant.hasReported ||= runs
  }

  #fail(ending: RunEnding): void {
    this.#failure ??= ending
    this.#abort.abort()
  }

  /** Asks every planned site; keeps those that say yes. */
  async #reserve(): Promise<RunEnding | undefined> {
    const answers = await this.#each(this.#plan.sites, async (planned) => {
      const { submitter } = this.#plan
      const answer = await this.#command(
        planned.site,
        COMMAND.checkResource,
        this.#times.resourceCheckMs,
        planned.resources,
        [
          [COMMAND_HEADER.adminCommand, 'check_resources'],
          [COMMAND_HEADER.requireAuthorization, 'false'],
          [COMMAND_HEADER.jobMeta, fobsOfJson(this.#plan.meta)],
          ...personHeaders(submitter, submitter),
        ],
      )
      return reservationOf(answer)
    })
    const refusals: string[] = []
    for (const [planned, answer] of answers) {
      if (typeof answer === 'string') refusals.push(`site '${planned.site.name}': ${answer}`)
      else this.#join(planned, answer.reservation)
    }
    return this.#tooFew('no-resource', refusals, () => this.#cancelReservations())
  }

  async #deploy(): Promise<RunEnding | undefined> {
    this.#phase = 'deploying'
    await this.#components.onReserved()
    const answers = await this.#each([...this.#participants.values()], (participant) =>
      this.#command(participant.site, COMMAND.deploy, this.#times.deployMs, participant.archive, [
        [COMMAND_HEADER.appName, participant.app],
        [COMMAND_HEADER.jobMeta, fobsOfJson(this.#plan.meta)],
        [COMMAND_HEADER.adminCommand, 'submit_job'],
        [COMMAND_HEADER.requireAuthorization, 'true'],
        ...personHeaders(this.#plan.submitter, this.#plan.submitter),
      ]),
    )
    const details = answers.map(
      ([{ site }, answer]) => `${site.name}: ${answer.ok ? 'OK' : answer.reason}`,
    )
    await this.#components.onDeployed(details)
    return this.#tooFew('failed-to-run', this.#leave(answers))
  }

  /** The server's job first, then the sites'. */
  async #start(): Promise<RunEnding | undefined> {
    this.#phase = 'starting'
    const participants = [...this.#participants.values()]
    this.#process = await this.#components.startServerJob(
      participants.map(({ site }) => ({ name: site.name, cell: site.cell })),
    )
    await Promise.race([this.#process.ready, this.#process.exited])
    const meta = fobsOfJson({
      ...this.#plan.meta,
      job_clients: participants.map(({ site }) => jobClientOf(site)),
    })
    const answers = await this.#each(participants, (participant) =>
      this.#command(
        participant.site,
        COMMAND.startJob,
        this.#times.startMs,
        participant.resources,
        [
          [COMMAND_HEADER.jobMeta, meta],
          [COMMAND_HEADER.reservation, participant.reservation],
        ],
      ),
    )
    const refusals = this.#leave(answers)
    for (const [{ site }, answer] of answers)
      if (!answer.ok)
        this.#process.reportDead(
          site.name,
          `site '${site.name}' did not start: ${answer.reason}`,
          true,
        )
    return this.#tooFew('failed-to-run', refusals)
  }

  async #supervise(): Promise<RunEnding> {
    this.#phase = 'running'
    const process = this.#process!
    await this.#components.onRunning([...this.#participants.keys()])
    const aborted = new Promise<'aborted'>((resolve) => {
      if (this.#abort.signal.aborted) resolve('aborted')
      this.#abort.signal.addEventListener('abort', () => resolve('aborted'), { once: true })
    })
    if ((await Promise.race([process.exited, aborted])) === 'aborted')
      await process.stop(this.#times.stopMs)
    const exit = await process.exited
    const ending = this.#failure ?? endingOf(exit, process.outcome)
    if (ending.outcome === 'completed') {
      await this.#awaitFinalReports()
      return this.#failure ?? ending
    }
    return ending
  }

  /** Waits for the word of every site that is not gone. */
  async #awaitFinalReports(): Promise<void> {
    const { clock } = this.#components
    const limit = Promise.withResolvers<void>()
    using _limit = clock.setTimer(this.#times.finalReportMs, limit.resolve)
    // The run is over whether a site has heard of it or not; one that has not is told to stop.
    using _reminder = clock.setTimer(this.#times.endOfRunMs, () => {
      void this.#tellToStop([...this.#participants.values()].filter(({ isOver }) => !isOver))
    })
    const reports = [...this.#participants.values()].map(({ reported }) => reported.promise)
    await Promise.race([Promise.all(reports), limit.promise])
  }

  /** Their answers change nothing. */
  async #tellToStop(participants: readonly Participant[]): Promise<void> {
    await this.#each(participants, ({ site }) =>
      this.#command(site, COMMAND.abort, this.#times.abortMs, {}, []),
    )
  }

  async #cancelReservations(): Promise<void> {
    await this.#each([...this.#participants.values()], ({ site, resources, reservation }) =>
      this.#command(site, COMMAND.cancelResource, this.#times.abortMs, resources, [
        [COMMAND_HEADER.reservation, reservation],
      ]),
    )
  }

  #join(planned: PlannedSite, reservation: string): void {
    this.#participants.set(planned.site.name, {
      ...planned,
      reservation,
      hasReported: false,
      reported: Promise.withResolvers(),
      isOver: false,
      absence: undefined,
    })
  }

  /** Drops the participants that refused. @returns their reasons */
  #leave(answers: readonly (readonly [PlannedSite, CommandOutcome])[]): string[] {
    const refusals: string[] = []
    for (const [{ site }, answer] of answers) {
      if (answer.ok) continue
      this.#participants.delete(site.name)
      refusals.push(`site '${site.name}': ${answer.reason}`)
    }
    return refusals
  }

  /** An ending if fewer sites than the job asks for are left, or one that must be there is not. */
  async #tooFew(
    outcome: 'no-resource' | 'failed-to-run',
    refusals: readonly string[],
    undo?: () => Promise<void>,
  ): Promise<RunEnding | undefined> {
    if (this.#failure !== undefined) return this.#failure
    const missing = this.#plan.mandatorySites.filter((name) => !this.#participants.has(name))
    const left = this.#participants.size
    if (missing.length === 0 && left >= this.#plan.minSites) return undefined
    const need =
      missing.length > 0
        ? `mandatory site(s) ${missing.join(', ')} cannot take part`
        : `${left} of at least ${this.#plan.minSites} sites can take part`
    await undo?.()
    const ending: RunEnding = { outcome, reason: [need, ...refusals].join('; ') }
    if (outcome !== 'no-resource') this.#failure = ending
    return ending
  }

  async #each<Item extends PlannedSite, Answer>(
    items: readonly Item[],
    ask: (item: Item) => Promise<Answer>,
  ): Promise<readonly (readonly [Item, Answer])[]> {
    return Promise.all(items.map(async (item) => [item, await ask(item)] as const))
  }

  #command(
    site: SiteRecord,
    topic: string,
    timeoutMs: number,
    body: Uint8Array | JsonObject,
    headers: readonly (readonly [string, ReturnType<typeof fobsOfJson>])[],
  ): Promise<CommandOutcome> {
    return commandSite(
      this.#components.cell,
      site.cell,
      {
        topic,
        headers: new Map([[COMMAND_HEADER.jobId, this.#plan.jobId], ...headers]),
        body: body instanceof Uint8Array ? body : fobsOfJson(body),
      },
      { timeoutMs },
    )
  }
}

/** Nothing more will be heard of the site's part. */
function conclude(participant: Participant): void {
  participant.isOver = true
  participant.reported.resolve()
}

/** Reads the answer to a resource check: a reservation, or why not. */
function reservationOf(answer: CommandOutcome): { readonly reservation: string } | string {
  if (!answer.ok) return answer.reason
  const { body } = answer
  const headers =
    typeof body === 'object' && body !== null && 'headers' in body ? body.headers : undefined
  if (!(headers instanceof Map)) return 'the answer to the resource check cannot be read'
  const reservation: unknown = headers.get('_resource_reserve_token')
  const text = typeof reservation === 'string' ? reservation : ''
  return headers.get('_is_resource_enough') === true
    ? { reservation: text }
    : text || 'not enough resources'
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
      return `site '${name}' was disabled`
    default:
      return why satisfies never
  }
}

/** What a process's end means for its job; `spec/jobs.md` §4. */
function endingOf(exit: JobExit, outcome: ServerJobProcess['outcome']): RunEnding {
  if (outcome?.failed) return { outcome: 'execution-exception', reason: outcome.reason }
  if (exit.code === 0 && outcome !== undefined) return { outcome: 'completed' }
  const how = exit.signal === null ? `with code ${exit.code}` : `by signal ${exit.signal}`
  const words = exit.lastWords === '' ? '' : `; its last words: ${exit.lastWords}`
  const reason = `the server's job process ended ${how}${words}`
  if (exit.code === 9) return { outcome: 'aborted', reason }
  if (exit.signal !== null || exit.code === 104 || exit.code === 0)
    return { outcome: 'abnormal', reason }
  return { outcome: 'execution-exception', reason }
}
