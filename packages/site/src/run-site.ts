import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createRefusalRecorder, openAuditLog } from '@hanse/audit'
import { createCell } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { JobProcesses } from '@hanse/launcher-process'
import { buildPlaceFilters, createCatalogue, standardComponents } from '@hanse/learning'
import { createMessageCipher } from '@hanse/pki'
import {
  describePrivacy,
  heartbeatOf,
  provenIdentities,
  type SiteKit,
  tryPrivacyFilters,
} from '@hanse/provision/kit'
import {
  adminCodecs,
  type PlaceEnd,
  PlaceEnding,
  type PlaceLogLevel,
  type PublicProperties,
  participantStamp,
  platformCodecs,
} from '@hanse/session'
import { jobEgressFilter } from './job-egress.ts'
import { SITE_JOB_MODULE, SiteJob } from './jobs/site-job.ts'
import { SiteJobs } from './jobs/site-jobs.ts'
import { SubmissionMemory } from './jobs/submission-memory.ts'
import { Heartbeat } from './link/heartbeat.ts'
import { LoginRenewal } from './link/login-renewal.ts'
import { ServerLink, type ServerLinkEvent } from './link/server-link.ts'
import { serverOnlyFilter } from './link/server-only-filter.ts'
import { resolveRuntimes } from './trainer-runtimes.ts'

export type SiteEvent =
  | {
      readonly event: 'ready'
      readonly site: string
      readonly server: string
      readonly confinement: string
    }
  | ServerLinkEvent
  | { readonly event: 'job-started' | 'job-ended'; readonly job: string; readonly reason?: string }

export interface RunSiteOptions {
  readonly kit: SiteKit
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (event: SiteEvent) => void
  /** Stops the site in an orderly way. */
  readonly signal: AbortSignal
  /** Name and version, told to the server. */
  readonly software: string
  /** Where trainer programs with a bare name are looked up, folders separated by `:`. */
  readonly searchPath?: string
  /** Level of the job processes' logs. Default `info`. */
  readonly logLevel?: string
  /** Changes the level of `logger`; `undefined` is the one it was made with. Absent if it is fixed. */
  readonly setLogLevel?: ((level: PlaceLogLevel | undefined) => boolean) | undefined
}

/** What a place writes at run time; `docs/decisions/0004-run-state-in-the-kit.md`. */
const STATE = 'state'

/**
 * Runs a site until its signal fires, or a person whom its policy allows that stops or restarts it: one link to its
 * server, its jobs as processes of their own.
 * @returns whether it should be started again
 * @throws {ProvisionError} `ERR_KIT_FILE` when the filters of its privacy scopes cannot be had
 * @throws {SiteError} when the server does not want it; whatever it ran is ended first
 */
export async function runSite(options: RunSiteOptions): Promise<PlaceEnd> {
  const { kit, clock, logger, onEvent } = options
  using ending = new PlaceEnding(clock, options.signal)
  const { signal } = ending
  const site = { siteName: kit.name, jobId: '', log: logger }
  tryPrivacyFilters(kit.privacyPolicy, (filters) =>
    buildPlaceFilters(filters, {
      catalogue: createCatalogue(standardComponents()),
      context: { side: 'client', site, log: logger },
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
    await audit.append({
      actor: { name: kit.name },
      act: 'kit.load',
      outcome: 'accepted',
      code: 'warning',
      text: warning,
    })
  await audit.append({
    actor: { name: kit.name },
    act: 'privacy.load',
    outcome: 'accepted',
    code: kit.privacyPolicy === undefined ? 'none' : 'loaded',
    text: describePrivacy(kit.privacyPolicy),
  })

  const socketOptions = { clock, logger, proxy: kit.hanse.outboundProxy?.url }
  await using cell = createCell(
    kit.name,
    {
      // The kit's scheme decides.
      drivers: [tcp(socketOptions), http(socketOptions), grpc(socketOptions)],
      registry: createFobsRegistry(coreCodecs, platformCodecs, adminCodecs),
      clock,
      logger,
      cipher: createMessageCipher({ identity: kit.identity, clock }),
    },
    { ownName: kit.name, identities: provenIdentities(kit), ...heartbeatOf(kit) },
  )
  const ownProperties: PublicProperties = new Map<string, string | boolean>([
    ['__run_num__', ''],
    ['__identity_name__', kit.name],
    ['__fqsn__', kit.name],
    ['__is_leaf__', true],
  ])
  const recordRefusal = createRefusalRecorder({ log: audit, clock, logger })

  const runs = join(state, 'runs')
  await using submissions = await SubmissionMemory.open(join(state, 'submissions.jsonl'), clock)
  await using launcher = new JobProcesses(
    { clock, logger },
    { module: SITE_JOB_MODULE, directory: runs, spares: kit.hanse.spareJobProcesses },
  )
  await using jobs = await SiteJobs.open({
    cell,
    kit,
    clock,
    logger,
    audit,
    folder: runs,
    startJob: (components, jobId, folder) => SiteJob.start(components, launcher, jobId, folder),
    runtimes: resolveRuntimes(
      kit.hanse.trainerRuntimes,
      options.searchPath ?? '/usr/local/bin:/usr/bin:/bin',
    ),
    logLevel: options.logLevel ?? 'info',
    software: options.software,
    onEvent,
    recordRefusal,
    submissions,
    setLogLevel: options.setLogLevel,
    end: (how) => ending.end(how),
  })
  cell.onPeer('misdeed', ({ fqcn, code, reason, connection }) =>
    recordRefusal({
      actor: { name: connection.peerName ?? (fqcn === '' ? 'unknown' : fqcn) },
      act: 'protocol',
      ...(fqcn === '' ? {} : { target: fqcn }),
      outcome: 'refused',
      code: code.replaceAll('_', '-'),
      text: reason,
    }),
  )
  cell.incoming(
    jobEgressFilter(kit.name, {
      jobOf: (peer) => jobs.jobOf(peer),
      onRefused: ({ job, destination, channel, topic, reason }) =>
        recordRefusal({
          actor: { name: `job ${job}` },
          act: 'egress',
          target: `${destination} ${channel}/${topic}`,
          job,
          outcome: 'refused',
          code: 'egress-not-allowed',
          text: reason,
        }),
    }),
  )
  cell.incoming(
    serverOnlyFilter({
      isOwnJob: (peer) => jobs.jobOf(peer) !== undefined,
      onRefused: ({ origin, channel, topic, reason }) =>
        recordRefusal({
          actor: { name: origin },
          act: 'message',
          target: `${channel}/${topic}`,
          outcome: 'refused',
          code: 'not-the-server',
          text: reason,
        }),
    }),
  )
  // Dialled only now: nothing comes in before the filters are in place.
  await using link = new ServerLink({ cell, kit, clock, logger, onEvent })
  cell.outgoing(participantStamp(kit.name, () => link.credentials))

  const login = await link.login(ownProperties, options.software, { signal }).catch((error) => {
    if (signal.aborted) return undefined
    throw error
  })
  if (login === undefined) return ending.how
  await audit.append({
    actor: { name: kit.name },
    act: 'login',
    target: login.server.name,
    outcome: 'accepted',
    code: 'allowed',
    text: `logged in at ${login.server.name}`,
    facts: { serverFingerprint: login.server.fingerprint },
  })
  const renewal = new LoginRenewal({
    clock,
    logger,
    async logIn() {
      await link.renew()
      heartbeat.now()
    },
  })
  const heartbeat: Heartbeat = new Heartbeat(
    {
      cell,
      clock,
      logger,
      jobs: () => jobs.owned(),
      onAbort: (unknown) => jobs.abortUnknown(unknown),
      onAnswer: (returnCode, reason) => {
        if (returnCode === 'ok') renewal.accepted()
        else logger.warn('heartbeat not accepted', { returnCode, reason })
        if (returnCode === 'unauthenticated') void renewal.refused(reason)
      },
    },
    { project: kit.project, ownProperties, signal },
  )
  link.onReconnected = () => heartbeat.now()
  onEvent({
    event: 'ready',
    site: kit.name,
    server: login.server.name,
    confinement: jobs.confinement,
  })
  launcher.prepare()
  await heartbeat.run()
  await jobs.stopAll()
  await link.quit(ownProperties)
  return ending.how
}
