import type { Connection } from '@hanse/contract'
import type { Fault } from './fault.ts'
import { openWay } from './open-way.ts'
import { type Patient, placeOf } from './patient.ts'
import { answers, pingFrame } from './ping.ts'
import { within } from './within.ts'

/** A handshake record that says ClientHello and holds none: whoever speaks TLS answers with an alert, or hangs up. */
const BROKEN_HELLO = Uint8Array.of(0x16, 0x03, 0x01, 0x00, 0x04, 0x01, 0x00, 0x00, 0x00)
/** Longer than any packet, shorter than what a peer would find odd. */
const LARGE_BYTES = 16_000

/** Whether a few bytes get through to something that speaks TLS, and its few bytes back. */
export async function answersFewBytes(patient: Patient): Promise<boolean> {
  const way = await openWay(patient)
  if (way.outcome === 'failed') return false
  const { socket } = way
  try {
    const answer = await within<boolean>(patient.clock, patient.timeoutMs, (report) => {
      socket.once('data', () => report(true))
      socket.once('close', () => report(true))
      socket.write(BROKEN_HELLO)
    })
    return answer === true
  } finally {
    socket.destroy()
  }
}

/** Whether a long message gets through a link that small ones get through. */
export async function checkLargeMessage(
  patient: Patient,
  connection: Connection,
): Promise<readonly Fault[]> {
  const { clock, timeoutMs } = patient
  if (await answers(connection, pingFrame(LARGE_BYTES), clock, timeoutMs)) return []
  return [
    largePacketsFault(
      patient,
      `the greeting was answered, but a message of ${LARGE_BYTES} bytes was not within ${timeoutMs / 1000} s`,
    ),
  ]
}

export function largePacketsFault(patient: Patient, seen: string): Fault {
  return {
    code: 'large-packets-lost',
    what: `small packets reach ${placeOf(patient)}, large ones are lost on the way`,
    seen,
    expected: 'that packets of every size get through',
    fix:
      'a device on the way (VPN, tunnel, firewall) swallows packets over its MTU and hides that it does: lower the ' +
      'MTU of this machine (try 1280), or have the device clamp the MSS and let ICMP "fragmentation needed" through',
  }
}
