import { messageOf } from '@hanse/contract'
import type { Fault } from './fault.ts'
import { resolveName } from './network.ts'
import { firstHop, openWay, proxyOf } from './open-way.ts'
import { type Patient, placeOf } from './patient.ts'

/** Whether the name of the server is known and its port can be reached: of the proxy first, where there is one. */
export async function checkReach(patient: Patient): Promise<readonly Fault[]> {
  const hop = firstHop(patient)
  const proxy = proxyOf(patient)
  try {
    await resolveName(hop.host)
  } catch (error) {
    return [
      {
        code: 'name-not-resolved',
        what: `the name ${hop.host} is not known here`,
        seen: messageOf(error),
        expected: 'an address for it, from DNS or the file of hosts',
        fix:
          proxy === undefined
            ? 'ask your network for the name, add it to the hosts file, or have the kit made with connect_to'
            : 'it is the outbound_proxy of local/hanse.json: correct it there, or ask your network for the name',
      },
    ]
  }
  const way = await openWay(patient)
  if (way.outcome === 'open') {
    way.socket.destroy()
    return []
  }
  if (way.at === 'proxy') return [proxyFault(patient, way.reason)]
  return [networkFault(patient, way.reason)]
}

function networkFault(patient: Patient, reason: string): Fault {
  const proxy = proxyOf(patient)
  const hop = firstHop(patient)
  const place = `${proxy === undefined ? '' : 'the proxy '}${hop.host}:${hop.port}`
  switch (reason) {
    case 'timeout':
    case 'ETIMEDOUT':
      return {
        code: 'no-answer',
        what: `${place} does not answer at all`,
        seen: `no answer within ${patient.timeoutMs / 1000} s`,
        expected: 'a connection',
        fix: `a firewall probably drops it: have TCP connections from here to ${place} allowed`,
      }
    case 'ECONNREFUSED':
      return proxy === undefined
        ? {
            code: 'nothing-listens',
            what: `nothing listens at ${place}`,
            seen: 'the machine is there and refuses the connection',
            expected: 'the server of the league, or the proxy in front of it',
            fix: 'start the server; if it runs, compare its port with the one in the kit',
          }
        : {
            code: 'nothing-listens',
            what: `${place} does not listen`,
            seen: 'the machine is there and refuses the connection',
            expected: 'the proxy that local/hanse.json names as outbound_proxy',
            fix: 'ask the owner of the proxy for its address, or leave outbound_proxy out if there is a straight way',
          }
    default:
      return {
        code: 'no-route',
        what: `${place} cannot be reached from here`,
        seen: reason,
        expected: 'a connection',
        fix: 'see whether this machine is in the right network (VPN, routes)',
      }
  }
}

function proxyFault(patient: Patient, reason: string): Fault {
  const { host, port } = firstHop(patient)
  return {
    code: 'proxy-refused',
    what: `the proxy ${host}:${port} does not let us through to ${placeOf(patient)}`,
    seen: reason === 'timeout' ? `no answer within ${patient.timeoutMs / 1000} s` : reason,
    expected: `a tunnel to ${placeOf(patient)} when asked with CONNECT`,
    fix:
      `have the owner of the proxy allow CONNECT to ${placeOf(patient)}; if it wants a login, put ` +
      'user:password@ into outbound_proxy in local/hanse.json',
  }
}
