import type { Socket } from 'node:net'
import { TransportError } from '@hanse/contract'
import type { Detour } from './detour.ts'
import type { LinkAddress } from './link-address.ts'

const MAX_ANSWER_BYTES = 16 * 1024
const END_OF_HEADERS = '\r\n\r\n'

/**
 * The way through an HTTP proxy: CONNECT, RFC 9110 §9.3.6.
 * @throws {TypeError} if the proxy's URL is not `http:`
 */
export function connectTunnel(proxy: URL): Detour {
  if (proxy.protocol !== 'http:')
    throw new TypeError(`a proxy's URL starts with http:, not ${proxy.protocol}`)
  return {
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port === '' ? 80 : Number(proxy.port),
    async open(socket, target) {
      socket.write(requestFor(target, proxy))
      const status = await statusOf(socket)
      if (status >= 200 && status < 300) return
      throw new TransportError(
        'ERR_CONNECT_REFUSED',
        `the proxy ${proxy.host} did not connect us to ${target.host}: ${explain(status, proxy)}`,
        { proxy: proxy.host, status },
      )
    },
  }
}

function requestFor({ host, port }: LinkAddress, proxy: URL): string {
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`]
  if (proxy.username !== '') {
    const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(login).toString('base64')}`)
  }
  return lines.join('\r\n') + END_OF_HEADERS
}

/**
 * Reads the whole head of the answer and puts back what follows it. Whoever waits for a broken socket hears of
 * it elsewhere.
 */
function statusOf(socket: Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    let answer = Buffer.alloc(0)
    const onReadable = (): void => {
      const chunk: unknown = socket.read()
      if (!(chunk instanceof Uint8Array)) return
      answer = Buffer.concat([answer, chunk])
      const end = answer.indexOf(END_OF_HEADERS)
      if (end < 0 && answer.length <= MAX_ANSWER_BYTES) return
      // Leaves the socket as if nobody had read from it yet.
      socket.off('readable', onReadable)
      const status = /^HTTP\/1\.[01] (\d{3})[ \r]/.exec(answer.toString('latin1'))?.[1]
      if (end < 0 || status === undefined)
        reject(new TransportError('ERR_CONNECT_REFUSED', 'the proxy does not speak HTTP'))
      else {
        const rest = answer.subarray(end + END_OF_HEADERS.length)
        if (rest.length > 0) socket.unshift(rest)
        resolve(Number(status))
      }
    }
    socket.on('readable', onReadable)
  })
}

function explain(status: number, { username }: URL): string {
  // 401 is for servers; some proxies send it when they do not know the login.
  if (status === 407 || status === 401)
    return username === ''
      ? `it wants a user and a password (${status}); put them into its URL`
      : `it does not accept our user and password (${status})`
  if (status === 403) return 'it does not allow that address (403)'
  if (status === 502 || status === 503 || status === 504)
    return `it cannot reach that address (${status})`
  return `it answered ${status}`
}
