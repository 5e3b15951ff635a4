import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import { lookupName } from '@hanse/driver-socket'

/** The network as the doctor uses it; tests hand in one with faults. */
export interface Network {
  /** Addresses of a host name. */
  resolve(host: string): Promise<readonly string[]>
  /** Begins to connect. */
  connect(host: string, port: number): Socket
}

export const systemNetwork: Network = {
  resolve: async (host) =>
    (await lookup(lookupName(host), { all: true })).map(({ address }) => address),
  connect: (host, port) => connect({ host: lookupName(host), port }),
}
