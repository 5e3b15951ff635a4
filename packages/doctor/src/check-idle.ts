import type { Connection } from '@hanse/contract'
import { heartbeatOf } from '@hanse/provision/kit'
import type { Fault } from './fault.ts'
import { type Patient, placeOf } from './patient.ts'
import { answers, pingFrame } from './ping.ts'
import { within } from './within.ts'

const PING_BYTES = 17

/**
 * Holds a link as the participant would while its jobs are busy: silent but for its heartbeat. Whoever on the way
 * cuts or forgets silent connections does it now.
 * @param ended resolves when the link ends
 */
export async function checkIdle(
  patient: Patient,
  connection: Connection,
  ended: Promise<void>,
  idleMs: number,
): Promise<readonly Fault[]> {
  const { kit, clock, timeoutMs } = patient
  const { heartbeatIntervalMs } = heartbeatOf(kit)
  const until = clock.now() + idleMs
  while (clock.now() < until) {
    const silentSince = clock.now()
    const waitMs = Math.min(heartbeatIntervalMs, until - silentSince)
    const cut = await within<'cut'>(clock, waitMs, (report) => void ended.then(() => report('cut')))
    const silence = () => `${((clock.now() - silentSince) / 1000).toFixed(1)} s of silence`
    if (cut === 'cut') return [idleFault(patient, `it was cut after ${silence()}`)]
    const before = silence()
    if (!(await answers(connection, pingFrame(PING_BYTES), clock, timeoutMs)))
      return [idleFault(patient, `after ${before} nothing got through it any more`)]
  }
  return []
}

function idleFault(patient: Patient, seen: string): Fault {
  const { heartbeatSeconds } = patient.kit.hanse
  return {
    code: 'idle-cut',
    what: `the connection to ${placeOf(patient)} does not last while nothing is said`,
    seen: `${seen}; the heartbeat of this participant is ${heartbeatSeconds} s`,
    expected: 'a connection that lasts from one heartbeat to the next',
    fix:
      'a proxy, firewall or NAT on the way forgets silent connections: set heartbeat_seconds in local/hanse.json well ' +
      'below that time, or have the idle time-out of the device raised',
  }
}
