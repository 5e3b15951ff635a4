import { z } from 'zod'

/**
 * The HTTP proxy through which a place reaches its server. It may hold a password: printed or serialised it shows
 * only where the proxy is.
 */
export class OutboundProxy {
  readonly #url: URL

  /** @param url `http:`, with a host and nothing after the port */
  constructor(url: URL) {
    this.#url = url
  }

  /** With user and password, for whoever dials. */
  get url(): URL {
    return new URL(this.#url)
  }

  get hasLogin(): boolean {
    return this.#url.username !== '' || this.#url.password !== ''
  }

  toString(): string {
    return this.#url.origin
  }

  toJSON(): string {
    return this.toString()
  }
}

/** Its messages never quote the URL. */
export const outboundProxySchema = z
  .string('a URL is allowed, e.g. http://proxy.example.org:3128')
  .max(2048, 'a URL of at most 2048 characters is allowed')
  .transform((text, context) => {
    const url = URL.parse(text)
    const fault = url === null ? 'this is no URL' : faultOf(url)
    if (url !== null && fault === undefined) return new OutboundProxy(url)
    context.addIssue({
      code: 'custom',
      message: `${fault}; http://host:port is allowed, with user:password@ before the host if the proxy wants a login`,
    })
    return z.NEVER
  })

function faultOf({ protocol, pathname, search, hash, username, password }: URL) {
  if (protocol !== 'http:') return 'only proxies that are spoken to over http: are in this version'
  if (!['', '/'].includes(pathname) || search !== '' || hash !== '')
    return 'there is something after the port'
  try {
    // In the login a colon is what ends the user's name (RFC 7617).
    if (decodeURIComponent(username).includes(':')) return 'the name of a user has no colon'
    decodeURIComponent(password)
  } catch {
    return 'a % in user or password must be written as %25'
  }
  return undefined
}
