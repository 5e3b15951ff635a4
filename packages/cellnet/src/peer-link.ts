import type { Connection } from '@hanse/contract'
import type { HeaderValue } from './headers.ts'

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
  /** What the peer said of itself in HELLO or READY, e.g. the capabilities under `hanse`. */
  readonly properties: ReadonlyMap<string, HeaderValue>
}
