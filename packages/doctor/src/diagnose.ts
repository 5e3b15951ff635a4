import type { Clock, Driver, Logger } from '@hanse/contract'
import type { Kit } from '@hanse/provision'
import { checkKit } from './check-kit.ts'
import { checkLeague } from './check-league.ts'
import { checkReach } from './check-reach.ts'
import { checkTls } from './check-tls.ts'
import type { Fault } from './fault.ts'
import { addressOf, type Patient } from './patient.ts'

export interface DoctorComponents {
  /** Drivers that go the way that the kit describes. */
  readonly driversFor: (kit: Kit) => readonly Driver[] | Promise<readonly Driver[]>
  readonly clock: Clock
  readonly logger: Logger
  /** How long one answer may take. Default 5 s. */
  readonly timeoutMs?: number | undefined
  /** How long a link is held to see whether it lasts; not for a server's kit. Default 0: it is not held. */
  readonly idleMs?: number | undefined
}

export interface Diagnosis {
  readonly ok: boolean
  /** Of the first step that found any; later steps build on it and were not taken then. */
  readonly faults: readonly Fault[]
  /** Steps that found nothing, in order. */
  readonly passed: readonly Step[]
  /** What the kit itself warns of, and what could not be looked at. */
  readonly warnings: readonly string[]
}

/** The kit on disk; name and port; TLS and certificates; greeting of the server. */
export type Step = 'kit' | 'reach' | 'tls' | 'league'

/** Finds out what is wrong between a participant and its server. Changes nothing on either side. */
export async function diagnose(
  directory: string,
  { driversFor, clock, logger, timeoutMs = 5_000, idleMs = 0 }: DoctorComponents,
): Promise<Diagnosis> {
  const checked = await checkKit(directory, clock)
  if ('fault' in checked) return { ok: false, faults: [checked.fault], passed: [], warnings: [] }
  const { kit } = checked
  const passed: Step[] = ['kit']
  const warnings = [...kit.warnings]
  const patient: Patient = { kit, address: addressOf(kit), clock, timeoutMs }
  const league = async (): Promise<readonly Fault[]> => {
    const { faults, notes } = await checkLeague(patient, await driversFor(kit), logger, idleMs)
    warnings.push(...notes)
    return faults
  }
  const steps: readonly (readonly [Step, () => Promise<readonly Fault[]>])[] = [
    ['reach', () => checkReach(patient)],
    ['tls', () => checkTls(patient)],
    // A server does not greet itself.
    ...(kit.type === 'server' ? [] : [['league', league] as const]),
  ]
  for (const [step, check] of steps) {
    const faults = await check()
    if (faults.length > 0) return { ok: false, faults, passed, warnings }
    passed.push(step)
  }
  return { ok: true, faults: [], passed, warnings }
}
