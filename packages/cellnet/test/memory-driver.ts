import { type Duplex, duplexPair } from 'node:stream'
import type { Connection, ConnectionSecurity, Driver, Listener } from '@hanse/contract'
import { TransportError } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'

/** What a certificate would say, for links that have none. */
export interface Claim {
  readonly mode: ConnectionSecurity
  readonly peerName: string | undefined
  /** As TLS would give it to this end. */
  readonly channelBinding?: string
}

const CLEAR: Claim = { mode: 'clear', peerName: undefined }

/** A pipe that says of its peer what a verified certificate would. */
export function claimedPipe(duplex: Duplex, claim: Claim = CLEAR): Connection {
  const pipe = pipeConnection(duplex, { closeTimeoutMs: 50 })
  return new Proxy(pipe, {
    get(target, key) {
      if (key === 'peerName') return claim.peerName
      if (key === 'info')
        return {
          ...target.info,
          mode: claim.mode,
          ...(claim.peerName && { peerFingerprint: '00' }),
          channelBinding: claim.channelBinding,
        }
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  })
}

/** A network within the process: `memory://name:1`. Links can be cut from outside. */
export class MemoryNetwork {
  readonly #listeners = new Map<string, (connection: Connection) => void>()
  readonly #links: [Duplex, Duplex][] = []
  /** What each side's certificate says, by the name the dialling driver was made for. */
  readonly driver: (claims?: { dialler?: Claim; listener?: Claim }) => Driver

  constructor() {
    this.driver = ({ dialler = CLEAR, listener = CLEAR } = {}) => ({
      schemes: ['memory'],
      connect: async (url) => {
        const accept = this.#listeners.get(url.host)
        if (accept === undefined)
          throw new TransportError('ERR_CONNECT_REFUSED', `nothing listens at ${url.host}`)
        const pair = duplexPair()
        this.#links.push(pair)
        accept(claimedPipe(pair[1], dialler))
        return claimedPipe(pair[0], listener)
      },
      listen: async (url, _security, onConnection): Promise<Listener> => {
        this.#listeners.set(url.host, onConnection)
        return {
          url,
          [Symbol.asyncDispose]: async () => void this.#listeners.delete(url.host),
        }
      },
    })
  }

  /** Cuts every link there is, without a word to either side. */
  cutAll(): void {
    for (const pair of this.#links.splice(0)) for (const side of pair) side.destroy()
  }

  get openLinks(): number {
    return this.#links.filter(([side]) => !side.destroyed).length
  }
}
