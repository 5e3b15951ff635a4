import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type AuditEvent, type AuditLog, createRefusalRecorder, openAuditLog } from '@hanse/audit'
import { type Cell, createCell, type Misdeed } from '@hanse/cellnet'
import { type Clock, hasCode, type LinkSecurity, type Listener, type Logger } from '@hanse/contract'
import { type RefusedHandshake, tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  createMessageCipher,
  loginSigner,
  loginVerifier,
  signText,
  signToken,
  tokenMac,
  verifyText,
} from '@hanse/pki'
import { decide, readPolicy } from '@hanse/policy'
import type { ServerKit } from '@hanse/provision'
import {
  type Applicant,
  abortableDelay,
  adminCodecs,
  createTokenGuard,
  type PublicProperties,
  platformCodecs,
  SERVER_CELL,
  serveRegistration,
  serverStamp,
  type TokenClaims,
} from '@hanse/session'
import { openFileJobStore } from '@hanse/store-file'
import { serveAdmins } from './admin/admin-service.ts'
import { jobMembersFilter } from './jobs/job-members-filter.ts'
import { JobService } from './jobs/job-service.ts'
import { ServerJobProcesses } from './jobs/server-job-process.ts'
import { RevocationList } from './revocation/revocation-list.ts'
import { RevocationService } from './revocation/revocation-service.ts'
import { ServerControlService } from './server-control-service.ts'
import { serveSites } from './sites/serve-sites.ts'
import { SiteRegistry } from './sites/site-registry.ts'

export type ServerEvent =
  | { readonly event: 'ready'; readonly server: string; readonly url: string }
  | { readonly event: 'site-joined' | 'site-left'; readonly site: string; readonly reason?: string }
  | {
      readonly event: 'job'
      readonly job: string
      readonly status: string
      readonly reason?: string
    }

export interface RunServerOptions {
  readonly kit: ServerKit
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (event: ServerEvent) => void
  /** Stops the server in an orderly way. */
  readonly signal: AbortSignal
  /** Name and version, told to members. */
  readonly software: string
  /** Level of the job processes' logs. Default `info`. */
  readonly logLevel?: string
}

/** What a place writes at run time; `docs/decisions/0004-run-state-in-the-kit.md`. */
const STATE = 'state'
const SWEEP_MS = 5_000
/** Bodies come as streams of smaller chunks; what one member can make us hold is bounded by this. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024
/**
 * The server itself reads commands and pieces of uploads; models pass it by on their way to the jobs. One person may
 * have many cells: what each can make us hold is small.
 */
const STREAM_LIMITS = {
  maxBodyBytes: 8 * 1024 * 1024,
  maxBufferedBytesPerPeer: 24 * 1024 * 1024,
  maxWaitingBytesPerPeer: 24 * 1024 * 1024,
}
const LISTEN_PATIENCE_MS = 5_000
const LISTEN_RETRY_MS = 250

/** Runs a league's server until its signal fires. */
export async function runServer(options: RunServerOptions): Promise<void> {
  const { kit, clock, logger, onEvent, signal } = options
  const state = join(kit.directory, STATE)
  await mkdir(state, { recursive: true, mode: 0o700 })
  await using audit = await openAuditLog(
    join(state, 'audit.jsonl'),
    { clock },
    { self: { name: kit.name } },
  )
  for (const warning of kit.warnings)
    await audit.append(ownEvent(kit, 'kit.load', 'warning', warning))
  const policy = readPolicy(kit.authorizationPolicy)
  if (policy.status !== 'loaded')
    await audit.append(
      ownEvent(kit, 'policy.load', `policy-${policy.status}`, 'everything is denied'),
    )

  await using store = await openFileJobStore(join(state, 'jobs'), { logger })
  const recordRefusal = createRefusalRecorder({ log: audit, clock, logger })
  await using cell = createServerCell(options, recordRefusal)
  const processes = new ServerJobProcesses({
    cell,
    clock,
    logger,
    onProgress: (jobId, progress) => jobs.onProgress(jobId, progress),
  })
  const sites: SiteRegistry = new SiteRegistry(
    clock,
    {
      onPresent(site) {
        onEvent({ event: 'site-joined', site: site.name })
        jobs.siteBack(site.name)
      },
      onAbsent(site, why) {
        onEvent({ event: 'site-left', site: site.name, reason: why })
        jobs.siteAbsent(site.name, why)
      },
    },
    {
      maxSites: kit.settings.maxSites,
      heartbeatTimeoutMs: kit.settings.heartbeatTimeoutSeconds * 1000,
    },
  )
  await using jobs = new JobService({
    cell,
    clock,
    logger,
    audit,
    kit,
    store,
    sites,
    processes,
    folder: join(state, 'runs'),
    logLevel: options.logLevel ?? 'info',
    onStatus: (job, status, reason) =>
      onEvent({ event: 'job', job, status, ...(reason === undefined ? {} : { reason }) }),
  })

  const revocations = new RevocationService({
    list: await RevocationList.open(join(state, 'revoked.json'), textSigner(kit)),
    cell,
    sites,
    clock,
    logger,
    ownName: kit.name,
  })
  const guard = secure(
    cell,
    options,
    recordRefusal,
    processes,
    (claims) =>
      revocations.objection(claims.name) ??
      (claims.kind === 'site' ? sites.objection(claims) : undefined),
  )
  cell.incoming(
    jobMembersFilter({
      participantsOf: (jobId) => jobs.participantsOf(jobId),
      isOwnJob: (link) => processes.owns(link),
      onRefused: ({ link, jobId, channel, topic, reason }) =>
        recordRefusal({
          actor: { name: link.peerName ?? link.fqcn },
          act: 'message',
          target: `${SERVER_CELL}.${jobId} ${channel}/${topic}`,
          job: jobId,
          outcome: 'refused',
          code: 'not-in-job',
          text: reason,
        }),
    }),
  )
  register(cell, options, audit, recordRefusal, sites, revocations)
  serveSites({
    cell,
    sites,
    claimsOf: ({ headers }) => guard.claimsOf(headers),
    onReportedJobs: (site, reported) => jobs.reported(site, reported),
    onFinalReport: (site, jobId, code, reason) => jobs.finalReport(site, jobId, code, reason),
  })
  cell.onPeer('disconnected', ({ fqcn }) => sites.linkLost(fqcn))

  const ownProperties: PublicProperties = new Map([
    ['__run_num__', ''],
    ['__identity_name__', SERVER_CELL],
  ])
  await using _admins = await serveAdmins(
    {
      cell,
      downloads: cell.downloads,
      clock,
      logger,
      control: new ServerControlService({
        cell,
        revocations,
        kit,
        store,
        sites,
        jobs,
        now: () => clock.now(),
        software: options.software,
      }),
      ownProperties,
      callerOf({ headers }) {
        const claims = guard.claimsOf(headers)
        return claims?.kind === 'admin' ? claims : undefined
      },
      verifier: loginVerifier(kit.identity, clock),
      signer: textSigner(kit),
      authorize: (subject, right, job) =>
        decide(policy, {
          subject: { name: subject.name, org: subject.organization, role: subject.role },
          right,
          target: { name: kit.name, org: kit.identity.organization ?? '' },
          job: job && {
            id: job.id,
            submitter: {
              name: job.submitter.name,
              org: job.submitter.organization,
              role: job.submitter.role,
            },
          },
          evidence: 'session',
        }),
      record: async (event) => {
        await audit.append(event)
      },
      recordRefusal,
    },
    { uploadFolder: join(state, 'uploads') },
  )

  await jobs.start()
  const url = new URL(`${kit.server.scheme}://${kit.listen.host}:${kit.listen.port}`)
  await using _listener = await listenPatiently(cell, url, options, revocations)
  await audit.append(
    ownEvent(kit, 'server.start', 'allowed', `serving ${kit.project} at ${url.host}`),
  )
  onEvent({ event: 'ready', server: kit.name, url: url.href })

  using _sweep = everyFewSeconds(clock, () => sites.sweep())
  await aborted(signal)
  await jobs.stop()
  await audit.append(ownEvent(kit, 'server.stop', 'allowed', 'stopped as asked'))
}

/**
 * Listens, and waits a while for a port that is still held: a server that was just killed may not be gone yet.
 * @throws {TransportError} `ERR_LISTEN`
 */
async function listenPatiently(
  cell: Cell,
  url: URL,
  { kit, clock, logger, signal }: RunServerOptions,
  revocations: RevocationService,
): Promise<Listener> {
  const deadline = clock.now() + LISTEN_PATIENCE_MS
  for (;;) {
    try {
      return await cell.listen(url, linkSecurity(kit), {
        adminNames: true,
        refuse: (_fqcn, { connection }) => revocations.objection(connection.peerName),
      })
    } catch (error) {
      if (!hasCode(error, 'ERR_LISTEN') || clock.now() >= deadline) throw error
      logger.warn('cannot listen yet', { url: url.host, reason: error.message })
      await abortableDelay(clock, LISTEN_RETRY_MS, { signal })
    }
  }
}

type RecordRefusal = (event: AuditEvent) => void

function createServerCell(
  { kit, clock, logger }: RunServerOptions,
  recordRefusal: RecordRefusal,
): Cell {
  const onRefused = ({ remoteAddress, reason, text }: RefusedHandshake) =>
    recordRefusal({
      // The port says nothing of who it is, and would make each attempt another kind.
      actor: { name: 'unknown', origin: remoteAddress.replace(/:\d+$/, '') },
      act: 'connect',
      outcome: 'refused',
      code: `handshake-${reason}`,
      text,
    })
  const cell = createCell(
    SERVER_CELL,
    {
      drivers: [tcp({ clock, logger, onRefused })],
      registry: createFobsRegistry(coreCodecs, platformCodecs, adminCodecs),
      clock,
      logger,
      cipher: createMessageCipher({ identity: kit.identity, clock }),
    },
    { ownName: kit.name, maxFrameBytes: MAX_FRAME_BYTES, streams: STREAM_LIMITS },
  )
  cell.onPeer('refused', ({ fqcn, code, reason, connection }) =>
    recordRefusal({
      actor: {
        name: connection.peerName ?? fqcn,
        fingerprint: connection.info.peerFingerprint,
        origin: connection.info.remoteAddress.replace(/:\d+$/, ''),
      },
      act: 'connect',
      target: fqcn,
      outcome: 'refused',
      code: code.replaceAll('_', '-'),
      text: reason,
    }),
  )
  cell.onPeer('misdeed', (misdeed) => recordRefusal(misdeedEvent(misdeed)))
  return cell
}

/** Puts the check of every message, and the server's own stamps, in place. */
function secure(
  cell: Cell,
  { kit }: RunServerOptions,
  recordRefusal: RecordRefusal,
  processes: ServerJobProcesses,
  objection: (claims: TokenClaims) => string | undefined,
) {
  const { key } = kit.identity
  const guard = createTokenGuard({
    mac: tokenMac(key),
    verifySignature: (text, signature) => verifyText(key.publicKey, text, signature),
    objection,
    isOwnJob: (link) => processes.owns(link),
    onRefused: ({ origin, destination, channel, topic, peer, reason }) =>
      recordRefusal({
        actor: { name: peer },
        act: 'message',
        target: `${destination} ${channel}/${topic}`,
        outcome: 'refused',
        code: 'unauthenticated',
        text: `origin '${origin}': ${reason}`,
      }),
  })
  cell.incoming(guard.filter)
  cell.outgoing(serverStamp((name, token) => signToken(key, name, token)))
  return guard
}

/** Lets members log in: sites into the table, people as they come. */
function register(
  cell: Cell,
  { kit, clock, logger, software }: RunServerOptions,
  audit: AuditLog,
  recordRefusal: RecordRefusal,
  sites: SiteRegistry,
  revocations: RevocationService,
): void {
  const { key } = kit.identity
  serveRegistration(
    cell,
    {
      signer: loginSigner(kit.identity),
      verifier: loginVerifier(kit.identity, clock),
      mac: tokenMac(key),
      clock,
      signToken: (name, token) => signToken(key, name, token),
      refusal: ({ kind, identity }) => {
        if (kind === 'relay') return 'relays are not in this version'
        const revoked = revocations.objection(identity.name)
        return revoked ?? (kind === 'site' ? sites.refusal(identity.name) : undefined)
      },
      onRegistered(applicant, claims, token) {
        if (applicant.kind === 'site')
          sites.register({
            claims,
            token,
            organization: applicant.identity.organization,
            software: applicant.software,
            siteConfig: applicant.siteConfig,
          })
        audit
          .append(loginEvent(applicant))
          .catch((error: unknown) =>
            logger.error('login not recorded', { name: applicant.identity.name, error }),
          )
      },
      onRefused: ({ name, cell: origin, reason }) =>
        recordRefusal({
          actor: { name: name === '' ? origin : name },
          act: 'login',
          outcome: 'refused',
          code: 'unauthenticated',
          text: reason,
        }),
    },
    {
      project: kit.project,
      software,
      challengeLifetimeMs: kit.settings.maxRegistrationSeconds * 1000,
    },
  )
}

function misdeedEvent({ fqcn, connection, code, reason }: Misdeed): AuditEvent {
  return {
    actor: {
      name: connection.peerName ?? (fqcn === '' ? 'unknown' : fqcn),
      fingerprint: connection.info.peerFingerprint,
      origin: connection.info.remoteAddress.replace(/:\d+$/, ''),
    },
    act: 'protocol',
    target: fqcn === '' ? undefined : fqcn,
    outcome: 'refused',
    code: code.replaceAll('_', '-'),
    text: reason,
  }
}

function loginEvent({ kind, identity, cell, software }: Applicant): AuditEvent {
  return {
    actor: {
      name: identity.name,
      org: identity.organization,
      role: identity.role,
      fingerprint: identity.fingerprint,
    },
    act: 'login',
    target: cell,
    outcome: 'accepted',
    code: 'allowed',
    text: `${kind} logged in`,
    facts: { software },
  }
}

/** Signs texts that only this server reads again. */
function textSigner({ identity }: ServerKit) {
  return {
    sign: (text: string) => signText(identity.key, text),
    verify: (text: string, signature: string) =>
      verifyText(identity.key.publicKey, text, signature),
  }
}

function ownEvent(kit: ServerKit, act: string, code: string, text: string): AuditEvent {
  return { actor: { name: kit.name }, act, outcome: 'accepted', code, text }
}

function linkSecurity({ server, identity }: ServerKit): LinkSecurity {
  return { mode: server.connectionSecurity, tls: identity.tls }
}

function everyFewSeconds(clock: Clock, act: () => void): Disposable {
  let timer: Disposable
  const next = () => {
    timer = clock.setTimer(SWEEP_MS, () => {
      act()
      next()
    })
  }
  next()
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
