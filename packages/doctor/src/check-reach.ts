import { messageOf } from '@hanse/contract'
import type { Fault } from './fault.ts'
import { type Patient, placeOf } from './patient.ts'
import { within } from './within.ts'

/** Whether the name of the server is known, and its port can be reached. */
export async function checkReach(patient: Patient): Promise<readonly Fault[]> {
  const { host } = patient.address
  try {
    await patient.network.resolve(host)
  } catch (error) {
    return [
      {
        code: 'name-not-resolved',
        what: `the name ${host} is not known here`,
        seen: messageOf(error),
        expected: 'an address for it, from DNS or the file of hosts',
        fix: 'ask your network for the name, add it to the hosts file, or have the kit made with connect_to',
      },
    ]
  }
  const place = placeOf(patient)
  const outcome = await tryToConnect(patient)
  switch (outcome) {
    case 'connected':
      return []
    case 'timeout':
    case 'ETIMEDOUT':
      return [
        {
          code: 'no-answer',
          what: `${place} does not answer at all`,
          seen: `no answer within ${patient.timeoutMs / 1000} s`,
          expected: 'a connection',
          fix: `a firewall probably drops it: have TCP connections from here to ${place} allowed`,
        },
      ]
    case 'ECONNREFUSED':
      return [
        {
          code: 'nothing-listens',
          what: `nothing listens at ${place}`,
          seen: 'the machine is there and refuses the connection',
          expected: 'the server of the league, or the proxy in front of it',
          fix: 'start the server; if it runs, compare its port with the one in the kit',
        },
      ]
    default:
      return [
        {
          code: 'no-route',
          what: `${place} cannot be reached from here`,
          seen: outcome,
          expected: 'a connection',
          fix: 'see whether this machine is in the right network (VPN, routes)',
        },
      ]
  }
}

async function tryToConnect({ address, network, clock, timeoutMs }: Patient): Promise<string> {
  const socket = network.connect(address.host, address.port)
  try {
    return await within<string>(clock, timeoutMs, (report) => {
      socket.once('connect', () => report('connected'))
      socket.on('error', (error: NodeJS.ErrnoException) => report(error.code ?? error.message))
    })
  } finally {
    socket.destroy()
  }
}
