import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import { lookupName } from '@hanse/driver-socket'

/** Fails if the name has no address. */
export async function resolveName(host: string): Promise<void> {
  await lookup(lookupName(host))
}

/** Begins to connect. */
export function openSocket(host: string, port: number): Socket {
  return connect({ host: lookupName(host), port })
}
