import type { Clock, Driver, Logger } from '@hanse/contract'
import type { Kit } from '@hanse/provision'
import { checkKit } from './check-kit.ts'
import { checkLeague } from './check-league.ts'
import { checkReach } from './check-reach.ts'
import { checkTls } from './check-tls.ts'
import type { Fault } from './fault.ts'
import { type Network, systemNetwork } from './network.ts'
import { addressOf, type Patient } from './patient.ts'

export interface DoctorComponents {
  /** Drivers that go the way that the kit describes. */
  readonly driversFor: (kit: Kit) => readonly Driver[] | Promise<readonly Driver[]>
  readonly clock: Clock
  readonly logger: Logger
  /** Default: the system's. */
  readonly network?: Network | undefined
  /** How long one answer may take. Default 5 s. */
  readonly timeoutMs?: number | undefined
}

export interface Diagnosis {
  readonly ok: boolean
  /** Of the first step that found any; later steps build on it and were not taken then. */
  readonly faults: readonly Fault[]
  /** Steps that found nothing, in order. */
  readonly passed: readonly Step[]
  /** What the kit itself warns of. */
  readonly warnings: readonly string[]
}

/** The kit on disk; name and port; TLS and certificates; greeting of the server. */
export type Step = 'kit' | 'reach' | 'tls' | 'league'

/** Finds out what is wrong between a participant and its server. Changes nothing on either side. */
export async function diagnose(
  directory: string,
  { driversFor, clock, logger, network = systemNetwork, timeoutMs = 5_000 }: DoctorComponents,
): Promise<Diagnosis> {
  const checked = await checkKit(directory, clock)
  if ('fault' in checked) return { ok: false, faults: [checked.fault], passed: [], warnings: [] }
  const { kit } = checked
  const passed: Step[] = ['kit']
  const patient: Patient = { kit, address: addressOf(kit), network, clock, timeoutMs }
  const steps: readonly (readonly [Step, () => Promise<readonly Fault[]>])[] = [
    ['reach', () => checkReach(patient)],
    ['tls', () => checkTls(patient)],
    // A server does not greet itself.
    ...(kit.type === 'server'
      ? []
      : [['league', async () => checkLeague(patient, await driversFor(kit), logger)] as const]),
  ]
  for (const [step, check] of steps) {
    const faults = await check()
    if (faults.length > 0) return { ok: false, faults, passed, warnings: kit.warnings }
    passed.push(step)
  }
  return { ok: true, faults: [], passed, warnings: kit.warnings }
}
