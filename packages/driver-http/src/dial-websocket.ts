import type { Socket } from 'node:net'
import { TransportError } from '@hanse/contract'
import { connectError, parseAddress } from '@hanse/driver-socket'
import { WebSocket } from 'ws'

/** Where stock listeners and ours serve; path and query of the cell's URL are ignored (`spec/transport.md` §2.7). */
export const PATH = '/f3'

/** Tells our listener that messages may be longer than what a stock dialler takes. */
export const LONG_MESSAGES_HEADER = 'hanse-long-messages'

/** Upgrades `socket`; `onOpen` is called in the turn in which the WebSocket opens, before any message can come. */
export function dialWebSocket<Link>(
  socket: Socket,
  url: URL,
  maxFrameBytes: number,
  onOpen: (websocket: WebSocket) => Link,
): Promise<Link> {
  const { host, port } = parseAddress(url, 'ERR_CONNECT_REFUSED')
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  return new Promise((resolve, reject) => {
    // TLS, if any, is below already.
    const websocket = new WebSocket(`ws://${authority}${PATH}`, {
      createConnection: () => socket,
      perMessageDeflate: false,
      maxPayload: maxFrameBytes,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      headers: { [LONG_MESSAGES_HEADER]: '1' },
    })
    websocket.once('unexpected-response', (_request, response) => {
      // Its body is of no interest; the socket is destroyed by who handed it in.
      response.on('error', () => {})
      reject(
        new TransportError(
          'ERR_CONNECT_REFUSED',
          `${url.host} answered ${response.statusCode ?? 'nothing'} instead of opening a WebSocket; is it another kind of listener?`,
          { address: url.host, reason: 'protocol', status: response.statusCode ?? 0 },
        ),
      )
    })
    // Stays: a WebSocket that is given up still reports errors.
    websocket.on('error', (error) => reject(upgradeError(error, url.host)))
    websocket.once('open', () => {
      try {
        resolve(onOpen(websocket))
      } catch (error) {
        reject(error)
      }
    })
  })
}

/** A long frame in small reads must not look like an attack; memory is bounded by the frame's length anyway. */
export const MAX_BUFFERED_CHUNKS = 2 ** 20

function upgradeError(error: Error, address: string): TransportError {
  const code = 'code' in error ? String(error.code) : ''
  if (code.startsWith('HPE_'))
    return new TransportError(
      'ERR_CONNECT_REFUSED',
      `${address} does not speak HTTP/1.1; is it another kind of listener?`,
      { address, reason: 'protocol' },
      { cause: error },
    )
  return connectError(error, address)
}
