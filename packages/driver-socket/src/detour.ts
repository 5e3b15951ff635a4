import type { Socket } from 'node:net'
import type { LinkAddress } from './link-address.ts'

/** A way to the listener through something else, e.g. an HTTP proxy. */
export interface Detour {
  readonly host: string
  readonly port: number
  /** Makes `socket`, open to the detour, one that is open to `target`. Bytes of the target stay unread. */
  open(socket: Socket, target: LinkAddress): Promise<void>
}
