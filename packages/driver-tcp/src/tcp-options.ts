import type { SocketOptions } from '@hanse/driver-socket'

export interface TcpOptions extends SocketOptions {
  /** Send small frames at once; default true. */
  readonly noDelay?: boolean | undefined
}
