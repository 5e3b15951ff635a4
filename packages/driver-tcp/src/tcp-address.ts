import { TransportError } from '@hanse/contract'

export interface TcpAddress {
  readonly scheme: string
  /** `0` stands for all interfaces. */
  readonly host: string
  readonly port: number
}

/** @throws {TransportError} `code`, if the URL names no port */
export function parseAddress(url: URL, code: 'ERR_CONNECT_REFUSED' | 'ERR_LISTEN'): TcpAddress {
  const scheme = url.protocol.slice(0, -1)
  if (url.port === '')
    throw new TransportError(code, `the URL names no port; write ${scheme}://host:port`)
  // WHATWG URLs keep the brackets of an IPv6 literal.
  return { scheme, host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) }
}
