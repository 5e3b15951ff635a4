import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type AuditEvent, createRefusalRecorder, openAuditLog } from '@hanse/audit'
import type { Clock, Logger } from '@hanse/contract'
import { JobProcesses } from '@hanse/launcher-process'
import { buildPlaceFilters, createCatalogue, standardComponents } from '@hanse/learning'
import { loginVerifier, signText, verifyText } from '@hanse/pki'
import { decide, readPolicy } from '@hanse/policy'
import type { ServerKit } from '@hanse/provision'
import { describePrivacy, tryPrivacyFilters } from '@hanse/provision/kit'
import {
  CommandVerifier,
  type PlaceEnd,
  PlaceEnding,
  type PlaceLogLevel,
  type PublicProperties,
  SERVER_CELL,
} from '@hanse/session'
import { openFileJobStore } from '@hanse/store-file'
import { serveAdmins } from './admin/admin-service.ts'
import { ExternalCells } from './external-cells/external-cells.ts'
import { LeagueWatch } from './external-cells/league-watch.ts'
import { jobMembersFilter } from './jobs/job-members-filter.ts'
import { JobService } from './jobs/job-service.ts'
import { SERVER_JOB_MODULE, ServerJobProcesses } from './jobs/server-job-process.ts'
import { SiteLogs } from './jobs/site-logs.ts'
import { Submissions } from './jobs/submissions.ts'
import { guardMessages } from './link/guard-messages.ts'
import { listenPatiently } from './link/listen-patiently.ts'
import { registerMembers } from './link/register-members.ts'
import { createServerCell } from './link/server-cell.ts'
import { RevocationList } from './revocation/revocation-list.ts'
import { RevocationService } from './revocation/revocation-service.ts'
import { ServerControlService } from './server-control-service.ts'
import { DisabledSites } from './sites/disabled-sites.ts'
import { serveSites } from './sites/serve-sites.ts'
import { SiteBook } from './sites/site-book.ts'
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
  /** Changes the level of `logger`; `undefined` is the one it was made with. Absent if it is fixed. */
  readonly setLogLevel?: ((level: PlaceLogLevel | undefined) => boolean) | undefined
}

/** What a place writes at run time; `docs/decisions/0004-run-state-in-the-kit.md`. */
const STATE = 'state'
const SWEEP_MS = 5_000

/**
 * Runs a league's server until its signal fires, or a person who may stops or restarts it.
 * @returns whether it should be started again
 * @throws {ProvisionError} `ERR_KIT_FILE` when the filters of its privacy scopes cannot be had
 */
export async function runServer(options: RunServerOptions): Promise<PlaceEnd> {
  const { kit, clock, logger, software } = options
  const onEvent = (event: ServerEvent) => {
    options.onEvent(event)
    if (event.event !== 'ready') leagueWatch.tell(event)
  }
  using ending = new PlaceEnding(clock, options.signal)
  const { signal } = ending
  tryPrivacyFilters(kit.privacyPolicy, (filters) =>
    buildPlaceFilters(filters, {
      catalogue: createCatalogue(standardComponents()),
      context: { side: 'server', log: logger },
    }),
  )
  const state = join(kit.directory, STATE)
  await mkdir(state, { recursive: true, mode: 0o700 })
  await using audit = await openAuditLog(
    join(state, 'audit.jsonl'),
    { clock },
    { self: { name: kit.name } },
  )
  for (const warning of kit.warnings)
    await audit.append(ownEvent(kit, 'kit.load', 'warning', warning))
  await audit.append(
    ownEvent(
      kit,
      'privacy.load',
      kit.privacyPolicy === undefined ? 'none' : 'loaded',
      describePrivacy(kit.privacyPolicy),
    ),
  )
  const policy = readPolicy(kit.authorizationPolicy)
  if (policy.status !== 'loaded')
    await audit.append(
      ownEvent(kit, 'policy.load', `policy-${policy.status}`, 'everything is denied'),
    )

  await using store = await openFileJobStore(join(state, 'jobs'), { logger })
  const recordRefusal = createRefusalRecorder({ log: audit, clock, logger })
  await using cell = createServerCell({ kit, clock, logger, recordRefusal })
  const runs = join(state, 'runs')
  await using launcher = new JobProcesses(
    { clock, logger },
    { module: SERVER_JOB_MODULE, directory: runs, spares: kit.hanse.spareJobProcesses },
  )
  const processes = new ServerJobProcesses({
    cell,
    clock,
    logger,
    launcher,
    onProgress: (jobId, progress) => jobs.onProgress(jobId, progress),
    onImpostor: ({ origin, link, channel, topic }) =>
      recordRefusal({
        actor: { name: link?.peerName ?? link?.fqcn ?? origin },
        act: 'message',
        target: `${SERVER_CELL} ${channel}/${topic}`,
        outcome: 'refused',
        code: 'not-own-job',
        text: 'only the jobs of this server may say that',
      }),
  })
  const signer = textSigner(kit)
  const book = await SiteBook.open(join(state, 'sites.json'), { signer, logger })
  const sites: SiteRegistry = new SiteRegistry(
    clock,
    {
      recall: (name, fingerprint) => book.recall(name, fingerprint),
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
    folder: runs,
    logLevel: options.logLevel ?? 'info',
    onStatus: (job, status, reason) =>
      onEvent({ event: 'job', job, status, ...(reason === undefined ? {} : { reason }) }),
  })

  const revocations = new RevocationService({
    list: await RevocationList.open(join(state, 'revoked.json'), signer),
    cell,
    sites,
    clock,
    logger,
    ownName: kit.name,
  })
  const disabledSites = await DisabledSites.open(join(state, 'disabled-sites.json'), signer)
  for (const { name } of disabledSites.list()) sites.disable(name)
  const externalCells = new ExternalCells({
    policies: kit.hanse.externalCells,
    onRefused: ({ link, target, reason }) =>
      recordRefusal({
        actor: { name: link.peerName ?? link.fqcn },
        act: 'message',
        target,
        outcome: 'refused',
        code: 'not-granted',
        text: reason,
      }),
  })
  for (const [external, { watch, send }] of kit.hanse.externalCells)
    await audit.append(
      ownEvent(
        kit,
        'external-cell.allow',
        'allowed',
        [
          `'${external}' may join`,
          ...(watch ? ['watch the league'] : []),
          ...send.map(({ to, channel, topics }) => `send ${channel}/${topics} to ${to}`),
        ].join(', '),
      ),
    )
  const guard = guardMessages({
    cell,
    kit,
    clock,
    isOwnJob: (link) => processes.owns(link),
    objection: (claims) =>
      revocations.objection(claims.name) ??
      (claims.kind === 'site' ? sites.objection(claims) : undefined) ??
      (claims.kind === 'external'
        ? (sites.barred(claims.name) ?? externalCells.objection(claims))
        : undefined),
    recordRefusal,
  })
  cell.incoming(externalCells.filter)
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
  registerMembers({
    cell,
    kit,
    clock,
    logger,
    audit,
    recordRefusal,
    sites,
    book,
    revocations,
    externalCells,
    software,
  })
  const leagueWatch = new LeagueWatch({
    cell,
    logger,
    claimsOf: ({ headers }) => guard.claimsOf(headers),
    mayWatch: (external) => externalCells.mayWatch(external),
    snapshot: () => ({ sites: sites.online().map(({ name }) => name), jobs: jobs.underway() }),
  })
  serveSites({
    cell,
    sites,
    claimsOf: ({ headers }) => guard.claimsOf(headers),
    onReportedJobs: (site, reported) => jobs.reported(site, reported),
    onFinalReport: (site, jobId, code, reason) => jobs.finalReport(site, jobId, code, reason),
  })
  cell.onPeer('disconnected', ({ fqcn }) => {
    sites.linkLost(fqcn)
    externalCells.linkLost(fqcn)
    leagueWatch.forget(fqcn)
  })

  const siteLogs = await SiteLogs.open({
    store,
    logger,
    folder: join(state, 'site-logs'),
    siteOf({ request }) {
      const claims = guard.claimsOf(request.cellRequest.headers)
      return claims?.kind === 'site' ? claims.name : undefined
    },
    membersOf: (jobId) => jobs.membersOf(jobId),
  })
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
        submissions: await Submissions.open(join(state, 'submissions.json'), store, signer),
        sites,
        disabledSites,
        jobs,
        now: () => clock.now(),
        software,
        setLogLevel: options.setLogLevel,
        end: (how) => ending.end(how),
      }),
      ownProperties,
      callerOf({ headers }) {
        const claims = guard.claimsOf(headers)
        return claims?.kind === 'admin' ? claims : undefined
      },
      commands: new CommandVerifier(
        { verifier: loginVerifier(kit.identity, clock), clock },
        { league: kit.project, server: kit.name },
      ),
      verifier: loginVerifier(kit.identity, clock),
      signer,
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
      openStream: (offer) => siteLogs.take(offer),
    },
    { uploadFolder: join(state, 'uploads') },
  )

  await jobs.start()
  const { port, adminPort } = kit.listen
  const listening = { cell, kit, revocations, externalCells, clock, logger, signal }
  const url = urlOf(kit, port)
  const isOnePort = adminPort === port
  await using _listener = await listenPatiently(url, { ...listening, adminNames: isOnePort })
  await using _adminListener = isOnePort
    ? undefined
    : await listenPatiently(urlOf(kit, adminPort), { ...listening, adminNames: true })
  const people = isOnePort ? '' : `, people at port ${adminPort}`
  await audit.append(
    ownEvent(kit, 'server.start', 'allowed', `serving ${kit.project} at ${url.host}${people}`),
  )
  onEvent({ event: 'ready', server: kit.name, url: url.href })
  launcher.prepare()

  using _sweep = everyFewSeconds(clock, () => sites.sweep())
  await aborted(signal)
  await jobs.stop()
  await audit.append(ownEvent(kit, 'server.stop', 'allowed', `${ending.how} as asked`))
  return ending.how
}

function urlOf({ server, listen }: ServerKit, port: number): URL {
  return new URL(`${server.scheme}://${listen.host}:${port}`)
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
