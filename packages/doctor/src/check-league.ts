import { randomUUID } from 'node:crypto'
import { type ConnectorEvents, createCell } from '@hanse/cellnet'
import {
  type Connection,
  type Driver,
  hasCode,
  type Logger,
  messageOf,
  TransportError,
} from '@hanse/contract'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { linkSecurity, provenIdentities, serverUrl } from '@hanse/provision/kit'
import { SERVER_CELL } from '@hanse/session'
import { checkIdle } from './check-idle.ts'
import { httpFault, noHttp2Fault } from './check-tls.ts'
import type { Fault } from './fault.ts'
import { type Patient, placeOf } from './patient.ts'
import { checkLargeMessage } from './probe-size.ts'
import { sniff } from './sniff.ts'
import { within } from './within.ts'

export interface LeagueFindings {
  readonly faults: readonly Fault[]
  /** What could not be looked at, and why. */
  readonly notes: readonly string[]
}

/** Longer than any look at a link: what is said over it, we say ourselves. */
const NO_HEARTBEAT_MS = 86_400_000

/**
 * Whether the server of the league answers, is who the kit says, lets us in, and takes long messages as well as short
 * ones; for `idleMs` also whether the link lasts. Says hello under the participant's name and leaves; does not log
 * in, so that the server gives it no work.
 */
export async function checkLeague(
  patient: Patient,
  drivers: readonly Driver[],
  logger: Logger,
  idleMs: number,
): Promise<LeagueFindings> {
  const { kit, clock, timeoutMs } = patient
  await using cell = createCell(
    kit.type === 'admin' ? `_admin_${randomUUID()}` : kit.name,
    { drivers, clock, logger, registry: createFobsRegistry(coreCodecs) },
    {
      ownName: kit.name,
      identities: provenIdentities(kit),
      forwards: false,
      heartbeatIntervalMs: NO_HEARTBEAT_MS,
    },
  )
  const connector = cell.dial(serverUrl(kit), linkSecurity(kit), { expectedName: SERVER_CELL })
  const ended = new Promise<void>((resolve) => connector.on('lost', () => resolve()))
  const met = await within<Connection | readonly Fault[]>(clock, timeoutMs, (report) => {
    connector.on('connected', ({ link }) => report(link.connection))
    connector.on('failed', (failure) => report([failureFault(patient, failure)]))
    connector.on('refused', (refusal) => report(refusalFaults(patient, refusal)))
  })
  if (met === 'timeout') return { faults: [protocolFault(patient, 'nothing')], notes: [] }
  if (!isConnection(met))
    return {
      faults: await inWordsOfHttp(patient, met),
      notes:
        met.length === 0 && idleMs > 0
          ? ['whether the connection lasts was not looked at: the participant itself is connected']
          : [],
    }
  const large = await checkLargeMessage(patient, met)
  if (large.length > 0 || idleMs === 0) return { faults: large, notes: [] }
  return { faults: await checkIdle(patient, met, ended, idleMs), notes: [] }
}

/** A proxy or web server without TLS can be asked what it has to say. */
async function inWordsOfHttp(
  patient: Patient,
  faults: readonly Fault[],
): Promise<readonly Fault[]> {
  const isOther = faults.some(({ code }) => code === 'other-protocol' || code === 'http-answer')
  if (!isOther || patient.kit.server.connectionSecurity !== 'clear') return faults
  const sniffed = await sniff(patient)
  return sniffed.speaks === 'http' ? [httpFault(patient, sniffed.answer)] : faults
}

function isConnection(met: Connection | readonly Fault[]): met is Connection {
  return !Array.isArray(met)
}

function failureFault(patient: Patient, { error, reason }: ConnectorEvents['failed']): Fault {
  const details: TransportError['details'] = error instanceof TransportError ? error.details : {}
  const { status } = details
  if (details['reason'] === 'alpn') return noHttp2Fault(patient, messageOf(error))
  // The status of a gRPC call is none of HTTP.
  if (typeof status === 'number' && details['reason'] !== 'status')
    return httpFault(patient, `HTTP status ${status}`)
  if (hasCode(error, 'ERR_TLS_HANDSHAKE'))
    return {
      code: 'handshake-failed',
      what: `no secure connection to ${placeOf(patient)} comes about`,
      seen: messageOf(error),
      expected: 'a connection as the kit describes it',
      fix: 'the log of the server says why it refused',
    }
  return protocolFault(patient, reason)
}

function protocolFault(patient: Patient, seen: string): Fault {
  return {
    code: 'other-protocol',
    what: `what listens at ${placeOf(patient)} does not greet as the server of a league does`,
    seen,
    expected: `the greeting of a FLARE 2.9 or Hanse server over ${patient.kit.server.scheme}`,
    fix: 'compare scheme and port with those of the server, and both versions',
  }
}

function refusalFaults(
  patient: Patient,
  { code, reason }: ConnectorEvents['refused'],
): readonly Fault[] {
  // Ours is alive and well: the participant runs while we look.
  if (code === 'name_in_use') return []
  const { kit } = patient
  if (code === 'identity_mismatch')
    return [
      {
        code: 'server-identity',
        what: `who answers at ${placeOf(patient)} is not the server that this kit was made for`,
        seen: reason,
        expected: kit.server.identity,
        fix: 'see whether another participant of the league listens at this address',
      },
    ]
  return [
    {
      code: 'refused',
      what: `the server does not let '${kit.name}' in`,
      seen: reason,
      expected: 'a participant of this league that is not revoked',
      fix: 'ask the project admin: hanse reinstate lets a revoked participant in again',
    },
  ]
}
