import type { AuditEvent } from '@hanse/audit'
import type { Cell, CellRequest, Downloads } from '@hanse/cellnet'
import { type Clock, type Logger, messageOf, PlatformError, type StoredJob } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Decision } from '@hanse/policy'
import {
  type ActingPerson,
  COMMAND_STATUS,
  type CommandRequest,
  type CommandVerifier,
  digestOf,
  OBJECT_STREAM_KEY,
  type ObjectStreamDecision,
  type ObjectStreamOffer,
  PEOPLE,
  type ProofVerifier,
  type PublicProperties,
  proofText,
  readCommandRequest,
  readSignedCommand,
  receiveObjectStreams,
  SIGNED_COMMAND_HEADER,
  type SignedCommand,
  splitWords,
  submitterOf,
  writeCommandReply,
} from '@hanse/session'
import type { AdminCommand, GeneralCommand, UploadedFile } from './admin-command.ts'
import { type AdminSession, AdminSessions, type Caller } from './admin-sessions.ts'
import { CommandRecorder, type PersonAct, type RecordEvent } from './command-recorder.ts'
import { CommandTable } from './command-table.ts'
import { downloadCommands } from './commands/download-command.ts'
import { infoCommands } from './commands/info-commands.ts'
import { jobCommands, noSuchJob } from './commands/job-commands.ts'
import { studyOf } from './commands/job-summary.ts'
import { leagueCommands } from './commands/league-commands.ts'
import { placeCommands } from './commands/place-commands.ts'
import { refusedCommands } from './commands/refused-commands.ts'
import { siteCommands } from './commands/site-commands.ts'
import { studyCommands } from './commands/study-commands.ts'
import { submitCommand } from './commands/submit-command.ts'
import { systemCommands } from './commands/system-commands.ts'
import { JobDownloads } from './job-downloads.ts'
import { CommandFailure, ReplyBuilder } from './reply-builder.ts'
import type { ServerControl } from './server-control.ts'
import type { TextSigner } from './session-token.ts'
import { prepareUploadFolder, UploadFile } from './upload-file.ts'

export interface AdminServiceComponents {
  readonly cell: Cell
  readonly downloads: Pick<Downloads, 'offer'>
  readonly clock: Clock
  readonly logger: Logger
  readonly control: ServerControl
  /** Public properties of the server's cell. */
  readonly ownProperties: PublicProperties
  /** The person whose verified token a message carries; `undefined` for sites and the server's own processes. */
  callerOf(request: CellRequest): Caller | undefined
  /** Checks people's signatures on their commands. */
  readonly commands: CommandVerifier
  /** Checks the proof that comes with a login. */
  readonly verifier: ProofVerifier
  readonly signer: TextSigner
  /** The server's policy. `job` with its submitter where the right depends on a job. */
  authorize(
    subject: ActingPerson,
    right: string,
    job?: { readonly id: string; readonly submitter: ActingPerson },
  ): Decision
  readonly record: RecordEvent
  /** For refusals, which a hostile person can cause without end: `createRefusalRecorder`. Default: `record`. */
  readonly recordRefusal?: ((event: AuditEvent) => void) | undefined
  /** Decides about pushed streams that are no uploads of people; a cell has one receiver of them. */
  openStream?(offer: ObjectStreamOffer): Promise<ObjectStreamDecision | undefined>
}

export interface AdminServiceOptions {
  /** Folder for uploads on their way; made if it is not there. */
  readonly uploadFolder: string
  /** Longest upload. Default 512 MiB. */
  readonly maxUploadBytes?: number | undefined
  /** Uploads of one session at once. Default 2. */
  readonly maxUploadsPerSession?: number | undefined
  /** Default 1800 s. */
  readonly idleTimeoutMs?: number | undefined
  /** Commands of one session running at once. Default 16. */
  readonly maxRunningCommands?: number | undefined
}

/** Longest text of a command that is read. */
const MAX_COMMAND_CHARACTERS = 1024 * 1024
const SWEEP_INTERVAL_MS = 5_000
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/**
 * Serves people on the server's cell: login, commands, uploads and downloads, as the stock tools speak
 * (`spec/admin.md`). Each command passes, in this order: it is known; its session holds; the policy grants it; the
 * record has it. Disposing ends all sessions.
 */
export async function serveAdmins(
  components: AdminServiceComponents,
  options: AdminServiceOptions,
): Promise<AsyncDisposable> {
  await prepareUploadFolder(options.uploadFolder)
  return new AdminService(components, options)
}

class AdminService implements AsyncDisposable {
  readonly #components: AdminServiceComponents
  readonly #options: AdminServiceOptions
  readonly #sessions: AdminSessions
  readonly #downloads: JobDownloads
  readonly #recorder: CommandRecorder
  readonly #table: CommandTable
  readonly #uploads: AsyncDisposable
  readonly #peerEvents: Disposable
  /** Commands and uploads under way, by session. */
  readonly #running = new Map<string, number>()
  readonly #uploading = new Map<string, number>()
  readonly #stop = new AbortController()
  #sweepTimer: Disposable

  constructor(components: AdminServiceComponents, options: AdminServiceOptions) {
    const { cell, clock, logger, control, signer } = components
    this.#components = components
    this.#options = options
    this.#recorder = new CommandRecorder(components.record, components.recordRefusal)
    this.#sessions = new AdminSessions(
      { clock, signer, onExpired: (session) => this.#expired(session) },
      { idleTimeoutMs: options.idleTimeoutMs },
    )
    this.#downloads = new JobDownloads(components.downloads, (session) => {
      this.#sessions.touch(session)
    })
    this.#table = new CommandTable([
      ...this.#sessionCommands(),
      ...jobCommands(control),
      submitCommand(control),
      ...downloadCommands(control, this.#downloads),
      ...placeCommands(control),
      ...infoCommands(control),
      ...siteCommands(control),
      ...systemCommands(control),
      ...leagueCommands(control),
      ...studyCommands(),
      ...refusedCommands(),
    ])
    cell.handle(PEOPLE.channel, '*', (request, { signal }) => this.#onCommand(request, signal))
    this.#uploads = receiveObjectStreams({
      cell,
      clock,
      logger,
      ownProperties: components.ownProperties,
      open: (offer) => this.#onUpload(offer),
    })
    this.#peerEvents = cell.onPeer('disconnected', ({ fqcn }) => {
      for (const session of this.#sessions.closeOf(fqcn)) this.#ended(session)
    })
    this.#sweepTimer = this.#sweepLater()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the server is stopping'))
    this.#sweepTimer[Symbol.dispose]()
    this.#peerEvents[Symbol.dispose]()
    await this.#uploads[Symbol.asyncDispose]()
    this.#downloads[Symbol.dispose]()
  }

  async #onCommand(request: CellRequest, signal: AbortSignal): Promise<{ body: string }> {
    const reply = new ReplyBuilder()
    const caller = this.#components.callerOf(request)
    const command = this.#readCommand(request.body, reply)
    if (command !== undefined) {
      if (caller === undefined) reply.fail(await this.#noPerson(request, 'give commands'))
      else await this.#run({ command, caller, request, upload: undefined, signal, reply })
    }
    return { body: this.#textOf(reply) }
  }

  /** What is said to a cell that has not registered as a person's; recorded. */
  async #noPerson({ origin }: CellRequest, what: string): Promise<CommandFailure> {
    const text = `only a person who registered may ${what}`
    const caller = { name: origin, cell: origin }
    await this.#recorder.refusedOutside(caller, 'command', 'no-person', text)
    return notAuthenticated(text)
  }

  #textOf(reply: ReplyBuilder): string {
    return writeCommandReply(reply.build(), new Date(this.#components.clock.now()))
  }

  #readCommand(body: FobsValue | undefined, reply: ReplyBuilder): CommandRequest | undefined {
    try {
      if (typeof body === 'string' && body.length > MAX_COMMAND_CHARACTERS)
        throw new RangeError(`a command has at most ${MAX_COMMAND_CHARACTERS} characters`)
      return readCommandRequest(body)
    } catch (error) {
      reply.fail(
        new CommandFailure(COMMAND_STATUS.internalError, `protocol violation: ${messageOf(error)}`),
      )
      return undefined
    }
  }

  async #run(use: CommandUse): Promise<void> {
    const { reply } = use
    const words = splitWords(use.command.command)
    const [name = '', ...rest] = words
    try {
      if (name === '_cert_login') return await this.#login(use, rest)
      if (name === '_check_session') return this.#checkSession(use)
      const command = this.#table.find(name)
      if (command === undefined)
        throw new CommandFailure(
          COMMAND_STATUS.syntaxError,
          `Unknown command "${name.slice(0, 64)}"`,
        )
      const unsigned = await this.#sessionOf(use, command.name)
      const session = await this.#provenBy(use, command.name, unsigned)
      await this.#within(this.#running, session, this.#options.maxRunningCommands ?? 16, () =>
        this.#execute(use, command, session, rest),
      )
    } catch (error) {
      reply.fail(this.#failureOf(error, name))
    }
  }

  async #execute(
    use: CommandUse,
    command: AdminCommand,
    session: AdminSession,
    words: readonly string[],
  ): Promise<void> {
    const { job, run } = await this.#bind(command, session, words)
    await this.#authorize(command, session, words, job)
    const act = actOf(command, words, job)
    await this.#recorder.accepted(session, act)
    try {
      await run({
        session,
        words,
        meta: use.command.meta,
        upload: use.upload,
        reply: use.reply,
        signal: AbortSignal.any([use.signal, this.#stop.signal]),
      })
    } catch (error) {
      if (error instanceof CommandFailure)
        await this.#recorder.refused(session, act, error.status, error.message)
      throw error
    }
  }

  /** Finds the job that a command is about. @throws {CommandFailure} `invalid_job_id` */
  async #bind(
    command: AdminCommand,
    session: AdminSession,
    words: readonly string[],
  ): Promise<{ readonly job: StoredJob | undefined; readonly run: GeneralCommand['run'] }> {
    if (command.kind === 'general')
      return { job: undefined, run: (invocation) => command.run(invocation) }
    const job = await this.#jobOf(session, words[0] ?? '')
    return { job, run: (invocation) => command.run({ ...invocation, job }) }
  }

  /** @throws {CommandFailure} `not_authorized`, after it was recorded */
  async #authorize(
    command: AdminCommand,
    session: AdminSession,
    words: readonly string[],
    job: StoredJob | undefined,
  ): Promise<void> {
    if (command.rights.length === 0) return
    const subject = job && { id: job.id, submitter: submitterOf(job.meta) }
    const decisions = command.rights.map((right) =>
      this.#components.authorize(session.person, right, subject),
    )
    if (decisions.some(({ allowed }) => allowed)) return
    const [decision] = decisions
    const explanation = decision?.explanation ?? `'${command.name}' is granted to nobody`
    await this.#recorder.refused(
      session,
      actOf(command, words, job),
      decision?.code ?? 'right-not-granted',
      explanation,
    )
    throw new CommandFailure(
      COMMAND_STATUS.notAuthorized,
      `Authorization Error: ${explanation}`,
      explanation,
    )
  }

  async #jobOf(session: AdminSession, id: string): Promise<StoredJob> {
    if (!UUID.test(id))
      throw new CommandFailure(
        COMMAND_STATUS.invalidJobId,
        `invalid job_id ${id.slice(0, 64)}`,
        id.slice(0, 64),
      )
    const job = await this.#components.control.getJob(id)
    if (job === undefined || studyOf(job) !== session.study) throw noSuchJob(id)
    return job
  }

  async #sessionOf({ command, caller }: CommandUse, act: string): Promise<AdminSession> {
    const verdict = this.#sessions.use(command.token, caller)
    if (verdict.ok) return verdict.session
    await this.#recorder.refusedOutside(caller, act, verdict.code, verdict.reason)
    throw notAuthenticated(verdict.reason)
  }

  /**
   * Where the person's tool is Hanse, the command must be signed by the person, for this server, now and once. The
   * signature goes on to the sites that are asked.
   * @throws {CommandFailure} `not_authorized`, after it was recorded
   */
  async #provenBy(
    { command, request, upload }: CommandUse,
    act: string,
    session: AdminSession,
  ): Promise<AdminSession> {
    // An upload carries the person's signature over the job itself. Stock's tools sign nothing.
    if (upload !== undefined || request.link?.proofs.active !== true) return session
    const text = request.headers.get(SIGNED_COMMAND_HEADER)
    const signed = readSignedCommand(text)
    const reason =
      text === undefined
        ? 'the command is not signed by the person who gives it'
        : await this.#objectionTo(signed, command, session)
    if (reason === undefined) return { ...session, person: { ...session.person, signed } }
    await this.#recorder.refused(session, { act }, 'command-proof', reason)
    throw new CommandFailure(COMMAND_STATUS.notAuthorized, `Authorization Error: ${reason}`, reason)
  }

  async #objectionTo(
    signed: SignedCommand | undefined,
    { command, meta }: CommandRequest,
    { person, fingerprint }: AdminSession,
  ): Promise<string | undefined> {
    if (signed === undefined) return 'the signature of the command cannot be read'
    if (signed.command !== command) return 'the signature is of another command'
    if (signed.metaDigest !== (await digestOf(meta)))
      return 'what goes with the command is not what was signed'
    try {
      const identity = await this.#components.commands.take(signed)
      if (identity.name === person.name && identity.fingerprint === fingerprint) return undefined
      return `the command is signed by '${identity.name}', the session is of '${person.name}'`
    } catch (error) {
      return messageOf(error)
    }
  }

  /** `_cert_login`: proof and connection must be the same person's (`spec/admin.md` §2.3). */
  async #login({ caller, request, reply }: CommandUse, words: readonly string[]): Promise<void> {
    const name = words[0] ?? ''
    const refuse = async (code: string, text: string, stockCode?: string) => {
      await this.#recorder.refusedOutside(caller, 'session.open', code, text)
      // Without a code stock's tools say "REJECT" and nothing else; a reason costs nothing here.
      reply.text(stockCode === undefined ? 'REJECT' : `REJECT: ${stockCode}: ${text}`)
    }
    if (words.length !== 1) return refuse('syntax', '_cert_login takes one name')
    if (name !== caller.name)
      return refuse('name-mismatch', `'${caller.name}' registered, '${name}' wants to log in`)
    const certificate = request.headers.get('cert')
    const signature = request.headers.get('signature')
    if (!(certificate instanceof Uint8Array) || !(signature instanceof Uint8Array))
      return refuse('proof-missing', 'certificate or signature is missing')
    const study = request.headers.get('study') ?? 'default'
    let person: ActingPerson
    try {
      const proven = await this.#components.verifier.verify({
        certificateChain: new TextDecoder().decode(certificate),
        expectedName: name,
        usage: 'client',
        signed: proofText(name, ''),
        signature,
      })
      // The proof has no nonce: what makes it fresh is the registration just before, with the same certificate.
      if (proven.fingerprint !== caller.fingerprint)
        return refuse('certificate-mismatch', 'another certificate registered on this connection')
      person = { name, organization: proven.organization, role: proven.role }
    } catch (error) {
      return refuse('proof-invalid', messageOf(error))
    }
    if (study !== 'default')
      return refuse(
        'study-unknown',
        'this server has no studies; leave the study out',
        'AUTH_STUDY_NOT_CONFIGURED',
      )
    const { session, token } = this.#sessions.open(person, study, caller)
    await this.#recorder.accepted(session, { act: 'session.open' })
    reply.text('OK').token(token)
  }

  #checkSession({ command, caller, reply }: CommandUse): void {
    const verdict = this.#sessions.use(command.token, caller)
    if (verdict.ok) reply.text('OK').ok()
    else reply.fail(notAuthenticated(verdict.reason))
  }

  #sessionCommands(): readonly GeneralCommand[] {
    const common = {
      kind: 'general',
      scope: 'sess',
      usage: '',
      confirm: 'none',
      rights: [],
    } as const
    return [
      {
        ...common,
        name: '_commands',
        description: 'get the table of commands',
        run: ({ reply }) => {
          this.#table.describe(reply)
          reply.ok()
        },
      },
      {
        ...common,
        name: '_logout',
        description: 'end the session',
        run: ({ session, reply }) => {
          this.#sessions.close(session)
          this.#ended(session)
          reply.text('OK').ok()
        },
      },
      {
        ...common,
        name: 'list_sessions',
        description: 'list user sessions',
        usage: 'list_sessions',
        // Stock lets every user see who else is logged in, with ids.
        rights: ['list_sessions', 'sys_info'],
        run: ({ reply }) => {
          const now = this.#components.clock.now()
          reply
            .table(
              ['USER', 'ORG', 'ROLE', 'SESSION ID', 'START', 'LAST ACTIVE', 'IDLE'],
              this.#sessions
                .list()
                .map(({ person, id, startedAt, lastActive }) => [
                  person.name,
                  person.organization,
                  person.role,
                  id,
                  new Date(startedAt).toISOString(),
                  new Date(lastActive).toISOString(),
                  `${Math.round((now - lastActive) / 1000)} s`,
                ]),
            )
            .ok()
        },
      },
    ]
  }

  /** Decides about an upload before its bytes are taken; runs the command when they all have come. */
  async #onUpload(offer: ObjectStreamOffer): Promise<ObjectStreamDecision | undefined> {
    if (offer.channel !== PEOPLE.uploadChannel) return this.#components.openStream?.(offer)
    const request = offer.request.cellRequest
    const caller = this.#components.callerOf(request)
    const reply = new ReplyBuilder()
    const command = this.#readCommand(offer.context.get('conn_data'), reply)
    if (command === undefined) return { refusal: this.#textOf(reply) }
    let session: AdminSession
    try {
      if (caller === undefined) throw await this.#noPerson(request, 'upload')
      session = await this.#admitUpload(command, caller, request, offer)
    } catch (error) {
      return { refusal: this.#textOf(reply.fail(this.#failureOf(error, 'upload'))) }
    }
    const release = this.#enter(this.#uploading, session)
    let file: UploadFile
    try {
      file = await UploadFile.create(this.#options.uploadFolder, this.#maxUploadBytes)
    } catch (error) {
      release()
      throw error
    }
    const expectedSize = offer.context.get(OBJECT_STREAM_KEY.fileSize)
    const discard = async () => {
      release()
      await file.remove()
    }
    return {
      take: (piece) => {
        this.#sessions.touch(session)
        return file.write(piece)
      },
      finish: async () => {
        try {
          await file.close()
          if (file.size !== expectedSize) {
            const text = `${file.size} bytes came, ${String(expectedSize)} were announced`
            await this.#recorder.refused(session, { act: 'submit_job' }, 'upload-size', text)
            throw new RangeError(text)
          }
          const upload: UploadedFile = { path: file.path, size: file.size }
          const { signal } = this.#stop
          await this.#run({ command, caller, request, upload, signal, reply })
          return this.#textOf(reply)
        } finally {
          await discard()
        }
      },
      abandon: async (reason) => {
        this.#components.logger.info('an upload was not completed', { user: caller.name, reason })
        await discard()
      },
    }
  }

  get #maxUploadBytes(): number {
    return this.#options.maxUploadBytes ?? 512 * 1024 * 1024
  }

  /** @throws {CommandFailure} */
  async #admitUpload(
    command: CommandRequest,
    caller: Caller,
    request: CellRequest,
    offer: ObjectStreamOffer,
  ): Promise<AdminSession> {
    const [name = '', ...words] = splitWords(command.command)
    const known = this.#table.find(name)
    if (known?.name !== 'submit_job') {
      const text = `"${name.slice(0, 64)}" takes no upload`
      await this.#recorder.refusedOutside(caller, 'upload', 'takes-no-upload', text)
      throw new CommandFailure(COMMAND_STATUS.syntaxError, text)
    }
    const use = {
      command,
      caller,
      request,
      upload: undefined,
      signal: this.#stop.signal,
      reply: new ReplyBuilder(),
    }
    const session = await this.#sessionOf(use, known.name)
    await this.#authorize(known, session, words, undefined)
    const size = offer.context.get(OBJECT_STREAM_KEY.fileSize)
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size <= 0)
      throw new CommandFailure(COMMAND_STATUS.syntaxError, 'the upload does not say how long it is')
    if (size > this.#maxUploadBytes) {
      const text = `the job has ${size} bytes when packed; this server takes at most ${this.#maxUploadBytes}`
      await this.#recorder.refused(session, { act: known.name }, 'upload-size', text)
      throw new CommandFailure(COMMAND_STATUS.invalidJobDefinition, text)
    }
    const maxUploads = this.#options.maxUploadsPerSession ?? 2
    if ((this.#uploading.get(session.id) ?? 0) >= maxUploads)
      throw new CommandFailure(
        COMMAND_STATUS.error,
        `${maxUploads} uploads of this session are under way; wait for one to end`,
      )
    return session
  }

  async #within(
    counts: Map<string, number>,
    session: AdminSession,
    limit: number,
    work: () => Promise<void>,
  ): Promise<void> {
    if ((counts.get(session.id) ?? 0) >= limit)
      throw new CommandFailure(
        COMMAND_STATUS.error,
        `${limit} commands of this session are running; wait for one to end`,
      )
    const release = this.#enter(counts, session)
    try {
      await work()
    } finally {
      release()
    }
  }

  #enter(counts: Map<string, number>, session: AdminSession): () => void {
    counts.set(session.id, (counts.get(session.id) ?? 0) + 1)
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      const left = (counts.get(session.id) ?? 1) - 1
      if (left > 0) counts.set(session.id, left)
      else counts.delete(session.id)
    }
  }

  /** What a person learns of an error: our words for what we know, a code for the rest. */
  #failureOf(error: unknown, command: string): CommandFailure {
    if (error instanceof CommandFailure) return error
    this.#components.logger.error('a command failed', { command, error: messageOf(error) })
    const code = error instanceof PlatformError ? `${error.code}; ` : ''
    return new CommandFailure(
      COMMAND_STATUS.internalError,
      `Exception Occurred: ${code}the server could not do it, its log says why`,
    )
  }

  #expired(session: AdminSession): void {
    this.#ended(session)
    const { cell, logger } = this.#components
    cell
      .notify(
        session.cell,
        PEOPLE.channel,
        PEOPLE.expiredTopic,
        'the session was idle for too long and has ended; log in again',
        { optional: true },
      )
      .catch((error: unknown) => logger.debug('nobody was told', { error: messageOf(error) }))
  }

  #ended(session: AdminSession): void {
    this.#downloads.cancel(session)
    this.#recorder.forget(session)
  }

  #sweepLater(): Disposable {
    return this.#components.clock.setTimer(SWEEP_INTERVAL_MS, () => {
      this.#sessions.sweep()
      this.#sweepTimer = this.#sweepLater()
    })
  }
}

interface CommandUse {
  readonly command: CommandRequest
  readonly caller: Caller
  readonly request: CellRequest
  readonly upload: UploadedFile | undefined
  readonly signal: AbortSignal
  readonly reply: ReplyBuilder
}

/** Stock's tools look for the word in the text to know that they must log in again. */
function notAuthenticated(reason: string): CommandFailure {
  return new CommandFailure(
    COMMAND_STATUS.notAuthenticated,
    reason.startsWith('not authenticated') ? reason : `session_inactive: ${reason}`,
    reason,
  )
}

function actOf(
  command: AdminCommand,
  words: readonly string[],
  job: StoredJob | undefined,
): PersonAct {
  const [participant] = words
  return {
    act: command.name,
    ...(job !== undefined && { job: job.id }),
    ...(command.aboutParticipant === true &&
      participant !== undefined && { target: participant.slice(0, 256) }),
  }
}
