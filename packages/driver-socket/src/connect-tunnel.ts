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
        `the proxy ${proxy.host} did not connect us to ${target.host}: ${explain(status)}`,
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

/** Reads the whole head of the answer. Whoever waits for a broken socket hears of it elsewhere. */
function statusOf(socket: Socket): Promise<number> {
  const refuse = (text: string): TransportError => new TransportError('ERR_CONNECT_REFUSED', text)
  return new Promise((resolve, reject) => {
    let answer = ''
    const onData = (chunk: Uint8Array): void => {
      answer += Buffer.from(chunk).toString('latin1')
      const end = answer.indexOf(END_OF_HEADERS)
      if (end < 0 && answer.length <= MAX_ANSWER_BYTES) return
      socket.off('data', onData)
      socket.pause()
      const status = /^HTTP\/1\.[01] (\d{3})[ \r]/.exec(answer)?.[1]
      if (end < 0 || status === undefined) reject(refuse('the proxy does not speak HTTP'))
      // Listeners are silent until they are spoken to: such bytes are the proxy's own.
      else if (status.startsWith('2') && answer.length > end + END_OF_HEADERS.length)
        reject(refuse('the proxy sent more than its answer'))
      else resolve(Number(status))
    }
    socket.on('data', onData)
  })
}

function explain(status: number): string {
  if (status === 407) return 'it wants a user and a password (407); put them into its URL'
  if (status === 403) return 'it does not allow that address (403)'
  if (status === 502 || status === 503 || status === 504)
    return `it cannot reach that address (${status})`
  return `it answered ${status}`
}
