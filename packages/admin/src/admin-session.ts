import type { Cell, Downloads } from '@hanse/cellnet'
import {
  type AbortOptions,
  hasCode,
  type JsonObject,
  type JsonValue,
  messageOf,
  PlatformError,
} from '@hanse/contract'
import type { JobSigner } from '@hanse/jobs'
import { createFrameKeyShare, loginSigner, loginVerifier } from '@hanse/pki'
import { type AdminKit, readKnownServer, rememberServer } from '@hanse/provision/kit'
import { abortableDelay, type CommandScope, joinWords, login, SessionError } from '@hanse/session'
import { AdminError } from './admin-error.ts'
import { AdminLink, type CommandOptions } from './admin-link.ts'
import type { CommandOutcome } from './command-outcome.ts'
import { type ConnectComponents, connectCell } from './connect-cell.ts'
import type { DownloadOptions } from './job-download.ts'
import type { SubmitOptions } from './job-upload.ts'
import {
  connectionsSchema,
  disabledSchema,
  enabledSchema,
  type JobLogs,
  type JobObservation,
  type JobSummary,
  jobListSchema,
  jobLogsSchema,
  type LeagueConnection,
  type LeagueStatus,
  leagueStatusSchema,
  observationSchema,
  type PlaceScopes,
  type RevocationResult,
  readReply,
  revocationSchema,
  type SiteAdmission,
  scopesSchema,
  submittedSchema,
} from './league-types.ts'
import { type SendCommand, stockJobs, stockStatus } from './stock-league.ts'

export interface OpenSessionOptions extends AbortOptions {
  /** For connecting and logging in. Default 20 s. */
  readonly connectTimeoutMs?: number | undefined
  /** What the server is told of our software. */
  readonly software: string
}

export interface WaitOptions extends AbortOptions {
  /** Called for every change of status, round or sites, and once at the start. */
  readonly onProgress?: ((observation: JobObservation) => void) | undefined
  /** Longest time between two looks; the first come sooner. Default 500 ms. */
  readonly pollIntervalMs?: number | undefined
}

/** A job's meta, with the status that it has now. */
export interface JobMeta {
  readonly job: string
  readonly status: string
  readonly meta: JsonObject
}

export interface AbortResult {
  /** What the server said, for people. */
  readonly message: string
}

const CONNECT_TIMEOUT_MS = 20_000
const POLL_INTERVAL_MS = 500
const FIRST_POLL_MS = 50
/** A job that took long is looked at less often: its end is seen at most this part of its time late. */
const POLL_SHARE = 0.1
const CLOSE_TIMEOUT_MS = 3_000

/**
 * Connects as the person of `kit`, proves both sides to each other and logs in. The session outlives restarts of
 * the server: it connects and logs in again when it must.
 * @throws {AdminError} `ERR_KIT_TYPE`, `ERR_SERVER_UNREACHABLE`, `ERR_SERVER_IDENTITY`, `ERR_LOGIN_REFUSED`
 */
export async function openSession(
  kit: AdminKit,
  components: ConnectComponents,
  options: OpenSessionOptions,
): Promise<AdminSession> {
  const { clock, logger } = components
  const deadline = AbortSignal.timeout(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS)
  const signal =
    options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal])
  const signer = loginSigner(kit.identity)
  const scope: CommandScope = { league: kit.project, server: kit.server.identity }
  const ownProperties = new Map<string, string | boolean>([
    ['__run_num__', ''],
    ['__identity_name__', kit.name],
  ])
  try {
    const { cell, connector } = await connectCell(kit, components, { signal })
    try {
      const link = new AdminLink({
        cell,
        signer,
        clock,
        logger,
        scope,
        serverLink: () => connector.link,
        register: async ({ renews, ...registerOptions }) => {
          const verifier = loginVerifier(kit.identity, clock)
          const known = await readKnownServer(kit)
          const result = await login(
            {
              cell,
              signer,
              verifier,
              clock,
              logger,
              createKeyShare: createFrameKeyShare,
              link: () => connector.link,
            },
            {
              ...registerOptions,
              renews,
              expectedCapabilities: known.capabilities,
              kind: 'admin',
              project: kit.project,
              serverIdentity: kit.server.identity,
              software: options.software,
              publicProperties: ownProperties,
              messageTimeoutMs: 10_000,
              retryIntervalMs: 1_000,
            },
          ).catch((error: unknown) => {
            throw explained(error)
          })
          await rememberServer(kit, known, result.capabilities)
          return result
        },
      })
      await link.login({ signal })
      return new AdminSession({
        kit,
        cell,
        link,
        jobSigner: kit.identity,
        scope,
        downloads: cell.downloads,
        clock,
        ownProperties,
      })
    } catch (error) {
      await cell[Symbol.asyncDispose]()
      throw error
    }
  } catch (error) {
    if (!deadline.aborted || options.signal?.aborted) throw error
    throw new AdminError(
      'ERR_SERVER_UNREACHABLE',
      `the server at ${kit.server.host}:${kit.server.port} did not let us log in within ${(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS) / 1000} s`,
      'see whether the server runs and is not overloaded',
      {},
      { cause: error },
    )
  }
}

/** A failed login in words that say what to do. */
function explained(error: unknown): unknown {
  if (!(error instanceof SessionError)) return error
  if (error.code === 'ERR_SERVER_IDENTITY' || error.code === 'ERR_DOWNGRADE')
    return new AdminError(
      'ERR_SERVER_IDENTITY',
      error.message,
      'this kit must not be used with that server; check the address',
      {},
      { cause: error },
    )
  return new AdminError(
    'ERR_LOGIN_REFUSED',
    error.message,
    'the kit may be of another league, expired or revoked; ask the project admin for a new one',
    {},
    { cause: error },
  )
}

interface AdminSessionParts {
  readonly kit: AdminKit
  readonly cell: Cell
  readonly link: AdminLink
  readonly jobSigner: JobSigner
  readonly scope: CommandScope
  readonly downloads: Pick<Downloads, 'pull'>
  readonly clock: ConnectComponents['clock']
  readonly ownProperties: ReadonlyMap<string, string | boolean>
}

/** What one person can ask of a server. Disposing logs out and closes the link. Made by {@link openSession}. */
export class AdminSession implements AsyncDisposable {
  readonly #parts: AdminSessionParts
  /** The server does not know Hanse's own commands. */
  #isStock = false

  constructor(parts: AdminSessionParts) {
    this.#parts = parts
  }

  /** The person's name. */
  get user(): string {
    return this.#parts.kit.name
  }

  /** Signs and sends a copy of a job folder. @returns the new job's id @throws {AdminError} */
  async submit(folder: string, options: SubmitOptions = {}): Promise<string> {
    // Imported here: most sessions move no files.
    const { submitJobFolder } = await import('./job-upload.ts')
    return submitJobFolder(this.#parts, folder, options)
  }

  /** All jobs that this person may see, oldest first. */
  async list(options: AbortOptions = {}): Promise<readonly JobSummary[]> {
    const { meta } = await this.command('list_jobs', options)
    const jobs = readReply(jobListSchema, member(meta, 'jobs'), 'list_jobs')
    // A stock server's short list leaves the submitters out.
    return jobs.some(({ submitter }) => submitter !== '') || jobs.length === 0
      ? jobs
      : stockJobs(this.#send, options)
  }

  /** @throws {AdminError} `ERR_JOB_UNKNOWN` */
  async show(id: string, options: AbortOptions = {}): Promise<JobMeta> {
    const { dict = {} } = await this.command(`get_job_meta ${jobId(id)}`, options)
    const status = member(dict, 'status')
    return { job: id, status: typeof status === 'string' ? status : '', meta: dict }
  }

  /** One look at a job's progress; of a stock server, only its status. */
  async observe(id: string, options: AbortOptions = {}): Promise<JobObservation> {
    return this.#orStock(
      async () => {
        const { dict } = await this.command(`hanse.job_progress ${jobId(id)}`, options)
        return readReply(observationSchema, dict, 'hanse.job_progress')
      },
      async () => {
        const { status } = await this.show(id, options)
        return { job: id, status, progress: null }
      },
    )
  }

  /**
   * Waits until a job has ended, also across restarts of the server.
   * @returns the last look at it; `status` begins with `FINISHED`
   * @throws {AdminError} `ERR_JOB_UNKNOWN`, `ERR_NOT_AUTHORIZED` …; or `signal.reason`
   */
  async wait(id: string, options: WaitOptions = {}): Promise<JobObservation> {
    const { signal, onProgress, pollIntervalMs = POLL_INTERVAL_MS } = options
    const { clock } = this.#parts
    const since = clock.now()
    let shown = ''
    for (;;) {
      const observation = await this.#observeIfReachable(id, signal)
      if (observation !== undefined) {
        const text = JSON.stringify(observation)
        if (text !== shown) onProgress?.(observation)
        shown = text
        if (observation.status.startsWith('FINISHED')) return observation
      }
      const due = Math.max(FIRST_POLL_MS, POLL_SHARE * (clock.now() - since))
      await abortableDelay(clock, Math.min(pollIntervalMs, due), { signal })
    }
  }

  /** @param place `server`, a site, or `all` */
  async logs(id: string, place = 'all', options: AbortOptions = {}): Promise<JobLogs> {
    const { dict } = await this.command(`get_job_log ${jobId(id)} ${word(place)}`, options)
    return readReply(jobLogsSchema, dict, 'get_job_log')
  }

  async abort(id: string, options: AbortOptions = {}): Promise<AbortResult> {
    const { texts } = await this.command(`abort_job ${jobId(id)}`, options)
    return { message: texts[0] ?? '' }
  }

  async delete(id: string, options: AbortOptions = {}): Promise<void> {
    await this.command(`delete_job ${jobId(id)}`, options)
  }

  /** @returns the new job's id */
  async clone(id: string, options: AbortOptions = {}): Promise<string> {
    const { meta } = await this.command(`clone_job ${jobId(id)}`, options)
    return readReply(submittedSchema, meta, 'clone_job').job_id
  }

  /** @returns the folder with the result, absolute */
  async download(id: string, out: string, options: DownloadOptions = {}): Promise<string> {
    const { downloadJob } = await import('./job-download.ts')
    return downloadJob(this.#parts, jobId(id), out, options)
  }

  async status(options: AbortOptions = {}): Promise<LeagueStatus> {
    const { kit } = this.#parts
    return this.#orStock(
      async () => {
        const { dict } = await this.command('hanse.status', options)
        return readReply(leagueStatusSchema, dict, 'hanse.status')
      },
      () => stockStatus(this.#send, { server: kit.server.identity, project: kit.project }, options),
    )
  }

  /** The privacy scopes of the server and of every site that answers. Not of a stock server, which tells them otherwise. */
  async scopes(options: AbortOptions = {}): Promise<readonly PlaceScopes[]> {
    const { meta } = await this.command('show_scopes all', options)
    return readReply(scopesSchema, member(meta, 'scopes'), 'show_scopes')
  }

  /** How each cell is connected to the server. */
  async connections(options: AbortOptions = {}): Promise<readonly LeagueConnection[]> {
    const { dict } = await this.command('hanse.connections', options)
    return readReply(connectionsSchema, dict, 'hanse.connections').connections
  }

  /** Keeps a site out until it is enabled. @throws {AdminError} `ERR_NOT_AUTHORIZED` */
  async disable(site: string, options: AbortOptions = {}): Promise<SiteAdmission> {
    const { dict } = await this.command(`disable_client ${word(site)}`, options)
    return readReply(disabledSchema, dict, 'disable_client')
  }

  /** Lets a disabled site take part again. @throws {AdminError} `ERR_NOT_AUTHORIZED` */
  async enable(site: string, options: AbortOptions = {}): Promise<SiteAdmission> {
    const { dict } = await this.command(`enable_client ${word(site)}`, options)
    return readReply(enabledSchema, dict, 'enable_client')
  }

  /** Makes the kit of a participant worthless, at once. @throws {AdminError} `ERR_NOT_AUTHORIZED` */
  async revoke(
    participant: string,
    reason: string,
    options: AbortOptions = {},
  ): Promise<RevocationResult> {
    const words = ['hanse.revoke', word(participant), ...(reason === '' ? [] : [reason])]
    const { dict } = await this.command(joinWords(words), options)
    return readReply(revocationSchema, dict, 'hanse.revoke')
  }

  /** Undoes a revocation. @throws {AdminError} `ERR_NOT_AUTHORIZED` */
  async reinstate(participant: string, options: AbortOptions = {}): Promise<RevocationResult> {
    const { dict } = await this.command(`hanse.reinstate ${word(participant)}`, options)
    return readReply(revocationSchema, dict, 'hanse.reinstate')
  }

  /** Any command, as the stock tools write it (`spec/admin.md` §8). @throws {AdminError} */
  command(text: string, options: CommandOptions = {}): Promise<CommandOutcome> {
    return this.#parts.link.command(text, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { link, cell } = this.#parts
    try {
      await link.logout({ timeoutMs: CLOSE_TIMEOUT_MS })
    } catch (error) {
      // The server ends the session with the link anyway.
      if (!(error instanceof PlatformError)) throw new Error(messageOf(error), { cause: error })
    } finally {
      await cell[Symbol.asyncDispose]()
    }
  }

  readonly #send: SendCommand = (text, options) => this.command(text, options)

  /** Asks as Hanse does; where the server turned out to be stock, as stock's tools do. */
  async #orStock<T>(ofHanse: () => Promise<T>, ofStock: () => Promise<T>): Promise<T> {
    if (this.#isStock) return ofStock()
    try {
      return await ofHanse()
    } catch (error) {
      if (!hasCode(error, 'ERR_COMMAND_UNKNOWN')) throw error
      this.#isStock = true
      return ofStock()
    }
  }

  /** `undefined` while the server is away: its cell connects again by itself. */
  async #observeIfReachable(
    id: string,
    signal: AbortSignal | undefined,
  ): Promise<JobObservation | undefined> {
    try {
      return await this.observe(id, { signal })
    } catch (error) {
      if (hasCode(error, 'ERR_SERVER_UNREACHABLE')) return undefined
      throw error
    }
  }
}

function member(object: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

/** Ids go into the text of a command: nothing else may. @throws {AdminError} `ERR_JOB_UNKNOWN` */
function jobId(id: string): string {
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(id)) return id
  throw new AdminError(
    'ERR_JOB_UNKNOWN',
    `${JSON.stringify(id.slice(0, 64))} is no id of a job`,
    'hanse job list shows the jobs and their ids',
  )
}

function word(place: string): string {
  if (/^[A-Za-z0-9@._-]{1,128}$/.test(place)) return place
  throw new AdminError(
    'ERR_COMMAND_FAILED',
    `${JSON.stringify(place.slice(0, 64))} cannot be the name of a place`,
    'give server, all, or the name of a site',
  )
}
