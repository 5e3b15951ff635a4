import { TransportError } from '@hanse/contract'

export interface LinkAddress {
  readonly scheme: string
  /** `0` stands for all interfaces; IPv6 literals come without brackets. */
  readonly host: string
  readonly port: number
}

/** URLs drop these ports when they are written out. */
const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ['http', 80],
  ['https', 443],
])

/** @throws {TransportError} `code`, if the URL names no port */
export function parseAddress(url: URL, code: 'ERR_CONNECT_REFUSED' | 'ERR_LISTEN'): LinkAddress {
  const scheme = url.protocol.slice(0, -1)
  const port = url.port === '' ? DEFAULT_PORTS.get(scheme) : Number(url.port)
  if (port === undefined)
    throw new TransportError(code, `the URL names no port; write ${scheme}://host:port`)
  // WHATWG URLs keep the brackets of an IPv6 literal.
  return { scheme, host: url.hostname.replace(/^\[|\]$/g, ''), port }
}

/** @throws {TransportError} `ERR_SCHEME_UNKNOWN` */
export function checkScheme(driver: string, schemes: readonly string[], url: URL): void {
  const scheme = url.protocol.slice(0, -1)
  if (!schemes.includes(scheme))
    throw new TransportError(
      'ERR_SCHEME_UNKNOWN',
      `${driver} serves ${schemes.join(', ')}, not ${scheme}`,
    )
}
