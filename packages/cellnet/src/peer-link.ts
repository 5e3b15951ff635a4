import type { Connection } from '@hanse/contract'

/** A directly connected cell and the connection that leads to it. */
export interface PeerLink {
  readonly fqcn: string
  /** Common name of the peer's certificate; `undefined` on links that prove none. */
  readonly peerName: string | undefined
  readonly connection: Connection
  /** `active`: we dialled. */
  readonly role: 'active' | 'passive'
  /** Milliseconds since the epoch. */
  readonly connectedAt: number
}
