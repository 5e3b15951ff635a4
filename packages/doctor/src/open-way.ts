import { once } from 'node:events'
import type { Socket } from 'node:net'
import { messageOf } from '@hanse/contract'
import { connectTunnel } from '@hanse/driver-socket'
import type { OutboundProxy } from '@hanse/provision'
import { openSocket } from './network.ts'
import type { Address, Patient } from './patient.ts'

/** A connection to where the server of a participant should be, or where on the way it failed. */
export type Way =
  | { readonly outcome: 'open'; readonly socket: Socket }
  | { readonly outcome: 'failed'; readonly at: 'network' | 'proxy'; readonly reason: string }

/** A server looks at its own port, straight. */
export function proxyOf({ kit }: Patient): OutboundProxy | undefined {
  return kit.type === 'server' ? undefined : kit.hanse.outboundProxy
}

/** What a connection is opened to first: the proxy of this place, else the server's address. */
export function firstHop(patient: Patient): Address {
  const proxy = proxyOf(patient)
  return proxy === undefined ? patient.address : connectTunnel(proxy.url)
}

/**
 * Goes the way that the participant's own links go, up to the first byte of the server. The socket is the caller's.
 * @returns for a failed network the system's code where it has one, or `timeout`
 */
export async function openWay(patient: Patient): Promise<Way> {
  const { kit, address, clock, timeoutMs } = patient
  const hop = firstHop(patient)
  const socket = openSocket(hop.host, hop.port)
  const broken = Promise.withResolvers<never>()
  broken.promise.catch(() => {})
  const onError = (error: NodeJS.ErrnoException) =>
    broken.reject(new Error(error.code ?? error.message))
  const onClose = () => broken.reject(new Error('the connection was closed'))
  // Stays: a destroyed socket may still report errors.
  socket.on('error', onError)
  socket.once('close', onClose)
  using _deadline = clock.setTimer(timeoutMs, () => broken.reject(new Error('timeout')))
  let at: 'network' | 'proxy' = 'network'
  try {
    await Promise.race([once(socket, 'connect'), broken.promise])
    const proxy = proxyOf(patient)
    if (proxy !== undefined) {
      at = 'proxy'
      const tunnel = connectTunnel(proxy.url)
      await Promise.race([
        tunnel.open(socket, { ...address, scheme: kit.server.scheme }),
        broken.promise,
      ])
    }
    socket.off('close', onClose)
    return { outcome: 'open', socket }
  } catch (error) {
    socket.destroy()
    return { outcome: 'failed', at, reason: messageOf(error) }
  }
}
