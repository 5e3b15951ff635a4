import type { Connection } from '@hanse/contract'
import type { PeerLinkProofs } from './sfm/link-proofs.ts'

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
  /** What the peer offers beside stock's protocol, by name and version; nothing of a stock peer. */
  readonly capabilities: readonly string[]
  readonly proofs: PeerLinkProofs
  /** Whether messages are routed over the link. */
  readonly isOpen: boolean
  /** Lets messages be routed over a link where proofs were offered: its peer has logged in. */
  open(): void
}
