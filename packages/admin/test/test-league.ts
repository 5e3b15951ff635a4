import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditEvent } from '@hanse/audit'
import { type Cell, createCell } from '@hanse/cellnet'
import {
  type Clock,
  type JsonObject,
  type Listener,
  type StoredJob,
  silentLogger,
  systemClock,
} from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  createFrameKeyShare,
  generatePrivateKey,
  type Identity,
  issueLeaf,
  issueRoot,
  loadIdentity,
  loginSigner,
  loginVerifier,
  signText,
  signToken,
  tokenMac,
  verifyText,
} from '@hanse/pki'
import { decide, parsePolicy } from '@hanse/policy'
import { type AdminKit, DEFAULT_HANSE_SETTINGS } from '@hanse/provision'
import {
  CommandVerifier,
  createTokenGuard,
  platformCodecs,
  serveRegistration,
  serverStamp,
} from '@hanse/session'
import { serveAdmins } from '../../server/src/admin/admin-service.ts'
import type {
  JobFile,
  JobProgress,
  JobReport,
  JobSubmission,
  ServerControl,
  SiteQuestion,
} from '../../server/src/admin/server-control.ts'

const times = { notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 3_600_000 }
const PROJECT = 'test_league'
export const SERVER_NAME = 'server1'

/** One league's certificates; making keys is slow, so that tests share them. */
export class TestIdentities {
  readonly #rootKey = generatePrivateKey()
  readonly #identities = new Map<string, Promise<Identity>>()

  of(name: string, role?: string): Promise<Identity> {
    let identity = this.#identities.get(name)
    if (identity === undefined) {
      identity = this.#issue(name, role)
      this.#identities.set(name, identity)
    }
    return identity
  }

  async #issue(name: string, role: string | undefined): Promise<Identity> {
    const rootKey = await this.#rootKey
    const root = issueRoot(rootKey, { commonName: PROJECT, ...times })
    const key = await generatePrivateKey()
    const leaf = issueLeaf(root, rootKey, {
      commonName: name,
      organization: 'org_a',
      role,
      publicKey: key.publicKey,
      hosts: [name, '127.0.0.1'],
      ...times,
      profile: {
        keyUsage: ['digitalSignature', 'keyEncipherment'],
        extendedKeyUsage: ['serverAuth', 'clientAuth'],
        kitMark: { version: 1, type: role === undefined ? 'server' : 'admin' },
      },
    })
    return loadIdentity(
      { cert: leaf.pem, key: key.exportPem(), root: root.pem },
      { now: Date.now() },
    )
  }
}

/** Jobs in memory: what the server's own services do, without running anything. */
export class FakeControl implements ServerControl {
  readonly jobs = new Map<string, StoredJob>()
  readonly submissions: (JobSubmission & { readonly sha256: string })[] = []
  readonly files = new Map<string, readonly JobFile[]>()
  readonly progress = new Map<string, JobProgress>()
  /** Thrown by `submitJob`, when set. */
  fault: Error | undefined
  problems: readonly string[] = []

  add(meta: JsonObject = {}): string {
    const id = randomUUID()
    const whole = {
      name: 'a job',
      status: 'SUBMITTED',
      submitter_name: 'lead@example.org',
      submitter_org: 'org_a',
      submitter_role: 'lead',
      submit_time: this.jobs.size + 1,
      submit_time_iso: `2026-12-01T00:00:0${this.jobs.size}Z`,
      ...meta,
      job_id: id,
    }
    const state = whole.status as StoredJob['state']
    this.jobs.set(id, { id, state, revision: '1', meta: whole })
    return id
  }

  set(id: string, meta: JsonObject): void {
    const job = this.jobs.get(id)!
    const whole = { ...job.meta, ...meta }
    this.jobs.set(id, { ...job, meta: whole, state: whole['status'] as StoredJob['state'] })
  }

  /** Names that are revoked. */
  readonly revoked = new Set<string>()

  connections() {
    return []
  }

  async revoke(participant: string) {
    if (this.revoked.has(participant)) return 'already'
    this.revoked.add(participant)
    return 'done'
  }

  async reinstate(participant: string) {
    return this.revoked.delete(participant) ? 'done' : 'already'
  }

  async submitJob(submission: JobSubmission) {
    if (this.fault !== undefined) throw this.fault
    const sha256 = createHash('sha256')
      .update(await readFile(submission.archiveFile))
      .digest('hex')
    this.submissions.push({ ...submission, sha256 })
    if (this.problems.length > 0) return { ok: false as const, problems: this.problems }
    const { name, organization, role } = submission.submitter
    const jobId = this.add({
      name: submission.folderName,
      submitter_name: name,
      submitter_org: organization,
      submitter_role: role,
    })
    return { ok: true as const, jobId }
  }

  async listJobs() {
    return [...this.jobs.values()]
  }

  async getJob(id: string) {
    return this.jobs.get(id)
  }

  async jobOfToken(token: string) {
    return token === 'gone' ? { jobId: 'j', deletedAt: 0 } : undefined
  }

  async abortJob(id: string) {
    const job = this.jobs.get(id)
    if (job === undefined) return 'unknown'
    if (job.state.startsWith('FINISHED')) return 'already-finished'
    const before = job.state
    this.set(id, { status: 'FINISHED:ABORTED' })
    return before === 'SUBMITTED' ? 'not-started' : 'signalled'
  }

  async deleteJob(id: string) {
    const job = this.jobs.get(id)
    if (job === undefined) return 'unknown'
    if (job.state === 'RUNNING') return 'running'
    this.jobs.delete(id)
    return 'deleted'
  }

  async cloneJob(id: string) {
    const { job_id: _, ...meta } = this.jobs.get(id)!.meta as JsonObject & { job_id: string }
    return { ok: true as const, jobId: this.add({ ...meta, cloned_from: id, status: 'SUBMITTED' }) }
  }

  jobProgress(id: string) {
    return this.progress.get(id)
  }

  async jobLogs(_id: string, places: readonly string[] | undefined) {
    const logs = new Map(
      (places ?? ['server', 'site-1']).map((place) => [place, `log of ${place}`]),
    )
    return { logs, unavailable: new Map([['site-2', 'never sent one']]) }
  }

  async jobFiles(id: string) {
    return this.files.get(id) ?? []
  }

  async jobComponentFiles() {
    return []
  }

  async jobComponents() {
    return ['ERRORLOG_site-1']
  }

  /** What sites were asked, and in whose name. */
  readonly asked: string[] = []
  /** Sites that refuse whatever they are asked. */
  readonly unwilling = new Set<string>()
  /** JSON that sites answer with, by topic; else words. */
  readonly answers = new Map<string, string>()

  async askSites(
    sites: readonly string[],
    { topic, body = '' }: SiteQuestion,
    by: { readonly name: string },
  ) {
    return new Map(
      sites.map((site) => {
        this.asked.push([site, topic, body, by.name].filter((word) => word !== '').join(' '))
        const ok = !this.unwilling.has(site)
        const text = ok ? (this.answers.get(topic) ?? `what ${site} tells ${by.name}`) : 'not you'
        return [site, { ok, text }] as const
      }),
    )
  }

  readonly disabled = new Set<string>()

  async disableSite(name: string) {
    const already = this.disabled.has(name)
    this.disabled.add(name)
    return { already, wasPresent: !already }
  }

  async enableSite(name: string) {
    return this.disabled.delete(name)
  }

  readonly resets: string[] = []

  async jobReport(id: string): Promise<JobReport | undefined> {
    if (this.jobs.get(id)?.state !== 'RUNNING') return undefined
    return {
      stats: { job_id: id, status: 'started' },
      problems: [
        { level: 'warn', time: '2026-12-01T00:00:00.000Z', message: 'slow' },
        { level: 'error', time: '2026-12-01T00:00:01.000Z', message: 'broken' },
      ],
    }
  }

  resetProblems(id: string): void {
    this.resets.push(id)
  }

  jobSites() {
    return ['site-1']
  }

  privacyScopes() {
    return { names: ['private', 'public'], usual: 'public' }
  }

  /** Levels that were set. */
  readonly levels: (string | undefined)[] = []

  setLogLevel(level: string | undefined) {
    this.levels.push(level)
    return true
  }

  setJobLogLevel(id: string, level: string) {
    if (this.jobs.get(id)?.state !== 'RUNNING') return false
    this.levels.push(`${id} ${level}`)
    return true
  }

  /** How the server was told to end. */
  readonly ends: string[] = []

  end(how: string): void {
    this.ends.push(how)
  }

  /** Sites that the server says it has. */
  present: readonly string[] = ['site-1']

  sites() {
    return this.present.map((name) => ({
      name,
      cell: name,
      organization: 'org_b',
      software: 'hanse 0.1.0',
      connected: true,
      disabled: this.disabled.has(name),
      lastHeartbeat: 1_700_000_000_000,
      jobs: [],
    }))
  }

  status() {
    return {
      name: SERVER_NAME,
      project: PROJECT,
      software: 'hanse 0.1.0',
      startedAt: 1_700_000_000_000,
      runningJobs: [...this.jobs.values()]
        .filter(({ state }) => state === 'RUNNING')
        .map(({ id }) => ({ id, app: 'app' })),
    }
  }
}

const POLICY = parsePolicy(
  JSON.stringify({
    format_version: '1.0',
    permissions: {
      project_admin: 'any',
      lead: {
        submit_job: 'any',
        clone_job: 'n:submitter',
        manage_job: 'n:submitter',
        download_job: 'n:submitter',
        view: 'any',
      },
      member: { view: 'any' },
    },
  }),
)

export interface TestServerOptions {
  readonly clock?: Clock
  readonly maxUploadBytes?: number
  readonly idleTimeoutMs?: number
}

/** The people's half of a server, over real mutual TLS on the loopback interface. */
export class TestServer implements AsyncDisposable {
  readonly control: FakeControl
  readonly record: AuditEvent[] = []
  readonly cell: Cell
  readonly uploadFolder: string
  readonly #identity: Identity
  readonly #disposables = new AsyncDisposableStack()
  #listener: Listener | undefined

  private constructor(identity: Identity, control: FakeControl, uploadFolder: string) {
    this.#identity = identity
    this.control = control
    this.uploadFolder = uploadFolder
    this.cell = createCell(
      'server',
      { drivers: [tcp()], registry: createFobsRegistry(coreCodecs, platformCodecs) },
      { ownName: SERVER_NAME, closeTimeoutMs: 20, stockPeerHoldMs: 0 },
    )
  }

  static async start(
    identities: TestIdentities,
    control = new FakeControl(),
    options: TestServerOptions = {},
    port = 0,
  ): Promise<TestServer> {
    const uploads = await mkdtemp(join(tmpdir(), 'hanse-uploads-'))
    const server = new TestServer(await identities.of(SERVER_NAME), control, uploads)
    await server.#serve(options, port)
    return server
  }

  get port(): number {
    return Number(this.#listener?.url.port)
  }

  async #serve(options: TestServerOptions, port: number): Promise<void> {
    const { cell, control } = this
    const identity = this.#identity
    const { key } = identity
    const clock = systemClock
    const mac = tokenMac(key)
    const guard = createTokenGuard({
      mac,
      clock,
      verifySignature: (text, signature) => verifyText(key.publicKey, text, signature),
      objection: () => undefined,
      isOwnJob: () => false,
      onRefused: () => {},
    })
    cell.incoming(guard.filter)
    cell.outgoing(serverStamp((name, token) => signToken(key, name, token)))
    serveRegistration(
      cell,
      {
        signer: loginSigner(identity),
        verifier: loginVerifier(identity, clock),
        mac,
        clock,
        createKeyShare: createFrameKeyShare,
        signToken: (name, token) => signToken(key, name, token),
        refusal: () => undefined,
        onRegistered: () => {},
        onRefused: () => {},
      },
      { project: PROJECT, software: 'hanse 0.1.0' },
    )
    this.#disposables.defer(() => rm(this.uploadFolder, { recursive: true, force: true }))
    this.#disposables.use(cell)
    this.#disposables.use(
      await serveAdmins(
        {
          cell,
          downloads: cell.downloads,
          clock: options.clock ?? clock,
          logger: silentLogger,
          control,
          ownProperties: new Map([['__identity_name__', 'server']]),
          callerOf({ headers }) {
            const claims = guard.claimsOf(headers)
            return claims?.kind === 'admin' ? claims : undefined
          },
          commands: new CommandVerifier(
            { verifier: loginVerifier(identity, clock), clock },
            { league: PROJECT, server: SERVER_NAME },
          ),
          verifier: loginVerifier(identity, clock),
          signer: {
            sign: (text) => signText(key, text),
            verify: (text, signature) => verifyText(key.publicKey, text, signature),
          },
          authorize: (subject, right, job) =>
            decide(POLICY, {
              subject: { name: subject.name, org: subject.organization, role: subject.role },
              right,
              target: { name: SERVER_NAME, org: 'org_a' },
              job: job && {
                id: job.id,
                submitter: { ...job.submitter, org: job.submitter.organization },
              },
              evidence: 'session',
            }),
          record: async (event) => void this.record.push(event),
        },
        { uploadFolder: this.uploadFolder, ...options },
      ),
    )
    this.#listener = await cell.listen(
      new URL(`tcp://127.0.0.1:${port}`),
      { mode: 'mtls', tls: identity.tls },
      { adminNames: true },
    )
  }

  /** What a person of this league holds to reach this server. */
  kitOf(identity: Identity): AdminKit {
    return {
      type: 'admin',
      name: identity.name,
      project: PROJECT,
      directory: '/nowhere',
      identity,
      role: identity.role,
      server: {
        identity: SERVER_NAME,
        host: '127.0.0.1',
        port: this.port,
        scheme: 'tcp',
        connectionSecurity: 'mtls',
        customRootPem: undefined,
      },
      hanse: DEFAULT_HANSE_SETTINGS,
      warnings: [],
      settings: { idleTimeoutSeconds: 900, loginTimeoutSeconds: 10, authenticateTimeoutSeconds: 2 },
      uploadDirectory: '/nowhere',
      downloadDirectory: '/nowhere',
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposables.disposeAsync()
  }
}
