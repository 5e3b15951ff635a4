import type { Socket } from 'node:net'
import { type Connection, type ConnectionSecurity, TransportError } from '@hanse/contract'
import { describeSocket, type SocketComponents, tuneSocket } from '@hanse/driver-socket'
import { dialledCall } from './call-connection.ts'
import type { KeepAliveOptions } from './grpc-options.ts'
import { readStatus, statusFault } from './grpc-status.ts'
import { closeSession, dialSession, keepAlive } from './http2-session.ts'

export const METHOD_PATH = '/streamer.Streamer/Stream'

/**
 * Calls the method over a session of its own. A listener answers only together with its first message, so that
 * a refusal of the call shows when the connection is read.
 */
export async function dialCall(
  { clock, limits }: SocketComponents,
  socket: Socket,
  url: URL,
  mode: ConnectionSecurity,
  keepAliveOptions: KeepAliveOptions,
): Promise<Connection> {
  tuneSocket(socket)
  const description = describeSocket(socket, 'grpc', mode)
  const session = await dialSession(socket, url)
  const { http2 } = session
  keepAlive(http2, socket, clock, keepAliveOptions)
  const stream = http2.request(
    {
      ':method': 'POST',
      ':path': METHOD_PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-accept-encoding': 'identity',
      'user-agent': 'grpc-hanse',
    },
    { endStream: false },
  )
  let status: TransportError | undefined | 'missing' = 'missing'
  const readEnd = (headers: Readonly<Record<string, unknown>>): void => {
    const end = readStatus(headers)
    if (end !== undefined) status = statusFault(end)
  }
  stream.on('response', (headers) => {
    const fault = responseFault(headers)
    if (fault === undefined) {
      readEnd(headers)
      return
    }
    status = fault
    stream.destroy(fault)
  })
  stream.on('trailers', readEnd)
  stream.once('close', () => closeSession(http2, clock, limits.closeTimeoutMs))
  return dialledCall(
    stream,
    () => status,
    { clock, description, sessionError: session.error },
    limits,
  )
}

function responseFault(headers: Readonly<Record<string, unknown>>): TransportError | undefined {
  const { ':status': httpStatus, 'content-type': type, 'grpc-encoding': encoding } = headers
  const fault = (text: string): TransportError =>
    new TransportError('ERR_CONNECTION_LOST', text, { reason: 'protocol' })
  if (httpStatus !== 200)
    return new TransportError(
      'ERR_CONNECTION_LOST',
      `the listener answered with HTTP status ${httpStatus}`,
      { reason: 'http', status: Number(httpStatus) },
    )
  if (typeof type !== 'string' || !type.startsWith('application/grpc'))
    return fault('the listener does not speak gRPC')
  if (encoding !== undefined && encoding !== 'identity')
    return fault('the listener announced compressed messages, which we did not ask for')
  return undefined
}
