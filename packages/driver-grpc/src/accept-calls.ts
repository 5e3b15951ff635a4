import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Connection, ConnectionSecurity } from '@hanse/contract'
import { describeSocket, type Entry, type SocketComponents, tuneSocket } from '@hanse/driver-socket'
import { acceptedCall, RESPONSE_HEADERS } from './call-connection.ts'
import { METHOD_PATH } from './dial-call.ts'
import type { KeepAliveOptions } from './grpc-options.ts'
import { STATUS, statusHeaders } from './grpc-status.ts'
import { acceptSession, closeSession, keepAlive } from './http2-session.ts'

/** Calls on one HTTP/2 connection that were refused, or ended before they said anything, before it is cut. */
const MAX_WASTED_CALLS = 8

/**
 * Serves the one method on the HTTP/2 connection that it makes of each socket; every call of it is a connection.
 * The first call admits the socket.
 */
export function acceptCalls(
  components: SocketComponents,
  mode: ConnectionSecurity,
  keepAliveOptions: KeepAliveOptions,
  onConnection: (connection: Connection) => void,
): (entry: Entry) => void {
  const { clock, limits } = components
  return (entry) => {
    const { socket } = entry
    tuneSocket(socket)
    const description = describeSocket(socket, 'grpc', mode)
    const session = acceptSession(socket)
    const { http2 } = session
    let admitted = false
    let calls = 0
    let wasted = 0

    const refuse = (stream: ServerHttp2Stream, refusal: Refusal): void => {
      wasted += 1
      const answer = (): void => stream.respond(refusal.headers, { endStream: true })
      if (wasted > MAX_WASTED_CALLS) entry.refuse('protocol', 'too many calls of other methods')
      else entry.refuse('protocol', refusal.text, answer)
    }
    const serve = (stream: ServerHttp2Stream): void => {
      if (!admitted) {
        admitted = true
        entry.admit()
        keepAlive(http2, socket, clock, keepAliveOptions)
      }
      calls += 1
      const call = acceptedCall(stream, { clock, description, sessionError: session.error }, limits)
      stream.once('close', () => {
        calls -= 1
        // A dialler that wants another link dials again.
        if (calls === 0) closeSession(http2, clock, limits.closeTimeoutMs)
        if (call.bytesReceived > 0) return
        wasted += 1
        // Once: the others may all end with the connection.
        if (wasted === MAX_WASTED_CALLS + 1)
          entry.refuse('protocol', 'too many calls ended before they said anything')
      })
      onConnection(call)
    }
    http2.on('error', () => {
      if (!admitted) entry.refuse('protocol', 'the peer does not speak HTTP/2 as it should')
    })
    onCalls(http2, (stream, headers) => {
      const refusal = refusalOf(headers)
      if (refusal === undefined) serve(stream)
      else refuse(stream, refusal)
    })
  }
}

function onCalls(
  http2: ServerHttp2Session,
  onCall: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
): void {
  http2.on('stream', (stream, headers) => {
    // Heard by its connection, if it becomes one.
    stream.on('error', () => {})
    onCall(stream, headers)
  })
}

interface Refusal {
  readonly text: string
  readonly headers: Record<string, string | number>
}

/** In HTTP's words what is no gRPC, in gRPC's what is another method or a compression. */
function refusalOf(headers: IncomingHttpHeaders): Refusal | undefined {
  const { ':method': method, ':path': path } = headers
  const type = headers['content-type']
  const encoding = headers['grpc-encoding']
  if (method !== 'POST')
    return {
      text: 'a method other than POST was asked for',
      headers: { ':status': 405, allow: 'POST' },
    }
  if (type === undefined || !/^application\/grpc(\+proto)?(;|$)/.test(type))
    return { text: 'a content type other than application/grpc came', headers: { ':status': 415 } }
  if (path !== METHOD_PATH) return unimplemented(`a method other than ${METHOD_PATH} was called`)
  if (encoding !== undefined && encoding !== 'identity')
    return unimplemented('compressed messages were announced; only identity is taken')
  return undefined
}

function unimplemented(text: string): Refusal {
  return {
    text,
    headers: {
      ...RESPONSE_HEADERS,
      ...statusHeaders({ code: STATUS.unimplemented, message: text }),
    },
  }
}
