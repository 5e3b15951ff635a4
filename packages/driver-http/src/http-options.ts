import type { SocketOptions } from '@hanse/driver-socket'

export interface HttpOptions extends SocketOptions {
  /**
   * Web origins whose pages may connect to our listener, e.g. `https://console.example.com`. Default none: a page
   * of a stranger could use a certificate that the browser holds.
   */
  readonly allowedOrigins?: readonly string[] | undefined
}
