import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import { Socket } from 'node:net'
import type { Entry } from '@hanse/driver-socket'
import { type WebSocket, WebSocketServer } from 'ws'
import { LONG_MESSAGES_HEADER, MAX_BUFFERED_CHUNKS, PATH } from './dial-websocket.ts'

/** Upgrade requests need a few hundred bytes. */
const MAX_HEADER_BYTES = 8 * 1024

export interface UpgradeServerOptions {
  readonly maxFrameBytes: number
  readonly allowedOrigins: readonly string[]
}

export interface Upgraded {
  readonly entry: Entry
  readonly websocket: WebSocket
  /** Whether the dialler said that it takes messages above what stock diallers take. */
  readonly takesLongMessages: boolean
}

/**
 * Answers the HTTP request of each socket that it is given: an upgrade of `/f3` by calling `onUpgraded` in the
 * turn in which the WebSocket opens, everything else with a refusal.
 */
export function upgradeServer(
  { maxFrameBytes, allowedOrigins }: UpgradeServerOptions,
  onUpgraded: (upgraded: Upgraded) => void,
): (entry: Entry) => void {
  const entries = new WeakMap<object, Entry>()
  const websockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxFrameBytes,
    maxBufferedChunks: MAX_BUFFERED_CHUNKS,
    // The wire knows no subprotocols; the library would take the first on offer.
    handleProtocols: () => false,
  })
  websockets.on('wsClientError', (error, socket) => refuse(socket, 400, error.message))
  // Never listens itself: sockets come in one by one, each with its own deadline.
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, insecureHTTPParser: false })
  server.on('upgrade', (request, socket, head) => {
    const entry = entries.get(socket)
    if (entry === undefined || !(socket instanceof Socket)) {
      socket.destroy()
      return
    }
    const fault = faultOf(request, allowedOrigins)
    if (fault !== undefined) {
      refuse(socket, ...fault)
      return
    }
    const takesLongMessages = request.headers[LONG_MESSAGES_HEADER] === '1'
    websockets.handleUpgrade(request, socket, head, (websocket) => {
      entry.admit()
      onUpgraded({ entry, websocket, takesLongMessages })
    })
  })
  server.on('request', (request, response) => {
    const [status, text] = faultOf(request, allowedOrigins) ?? [426, 'no upgrade was asked for']
    entries.get(request.socket)?.refuse('protocol', text, () => {
      response.writeHead(status, {
        connection: 'close',
        'content-length': '0',
        ...(status === 426 ? { upgrade: 'websocket' } : {}),
      })
      response.end()
    })
  })
  server.on('clientError', (error: Error & { code?: string }, socket) =>
    refuse(
      socket,
      error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400,
      `the request cannot be read (${error.code ?? 'cut'})`,
    ),
  )

  /** The deadline of the entry goes on: a peer that does not hang up is cut. */
  function refuse(
    socket: { end(text: string): unknown; destroy(): unknown },
    status: number,
    text: string,
  ): void {
    const entry = entries.get(socket)
    if (entry === undefined) socket.destroy()
    else
      entry.refuse('protocol', text, () =>
        socket.end(
          `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
        ),
      )
  }

  return (entry) => {
    entries.set(entry.socket, entry)
    server.emit('connection', entry.socket)
  }
}

/** What the WebSocket library would not refuse, or not in words. */
function faultOf(
  { method, url, headers }: IncomingMessage,
  allowedOrigins: readonly string[],
): [status: number, text: string] | undefined {
  if (url?.split('?', 1)[0] !== PATH) return [404, `a path other than ${PATH} was asked for`]
  if (method !== 'GET') return [405, `a request with method other than GET`]
  if (headers.upgrade?.toLowerCase() !== 'websocket') return [426, 'no WebSocket was asked for']
  if (headers['sec-websocket-version'] !== '13')
    return [426, 'another version of the WebSocket protocol than 13 was asked for']
  const { origin } = headers
  if (origin !== undefined && !allowedOrigins.includes(origin))
    return [403, 'a web page of an origin that is not allowed asked for a link']
  return undefined
}
