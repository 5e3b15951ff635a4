import { constants, type Http2Stream, type ServerHttp2Stream } from 'node:http2'
import { type Clock, TransportError } from '@hanse/contract'
import {
  lostError,
  type SocketDescription,
  type SocketLimits,
  StreamConnection,
} from '@hanse/driver-socket'
import { MessageSplitter, nextSeq, wrapFrame } from './frame-message.ts'
import { type CallStatus, STATUS, statusHeaders, statusOf } from './grpc-status.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants

/** Sent together with the first message, or with the status if there is none (`spec/transport.md` §2.6). */
export const RESPONSE_HEADERS = {
  ':status': 200,
  'content-type': 'application/grpc',
  'grpc-accept-encoding': 'identity',
} as const

export interface CallComponents {
  readonly clock: Clock
  readonly description: SocketDescription
  /** Why the HTTP/2 connection under the call broke, if it did. */
  readonly sessionError: () => Error | undefined
}

/** The call as its dialler sees it; `status` is what the trailers said. */
export function dialledCall(
  stream: Http2Stream,
  status: () => TransportError | undefined | 'missing',
  components: CallComponents,
  limits: SocketLimits,
): StreamConnection {
  const leave = leaver(stream, components.clock, limits, () => stream.end())
  return callConnection(stream, components, limits, {
    wrap: wrapper(),
    leave,
    abandon: () => stream.close(NGHTTP2_CANCEL),
    faultOf: () => {
      const fault = status()
      if (fault !== 'missing') return fault
      return resetFault(stream, components) ?? lost('the listener ended the call without a status')
    },
  })
}

/** The call as its listener sees it. */
export function acceptedCall(
  stream: ServerHttp2Stream,
  components: CallComponents,
  limits: SocketLimits,
): StreamConnection {
  let status: CallStatus = { code: STATUS.ok, message: '' }
  const wrap = wrapper()
  stream.on('wantTrailers', () => stream.sendTrailers(statusHeaders(status)))
  const endWith = (last: CallStatus): void => {
    status = last
    if (stream.headersSent) stream.end()
    else stream.respond({ ...RESPONSE_HEADERS, ...statusHeaders(status) }, { endStream: true })
  }
  const leave = (last: CallStatus): void =>
    leaver(stream, components.clock, limits, () => endWith(last))()
  return callConnection(stream, components, limits, {
    wrap: (frame) => {
      if (!stream.headersSent && !stream.destroyed && !stream.closed)
        stream.respond(RESPONSE_HEADERS, { waitForTrailers: true })
      return wrap(frame)
    },
    leave: () => leave({ code: STATUS.ok, message: '' }),
    abandon: (error) => {
      // Who accepts nothing would not accept a reason either.
      if ('code' in error && error.code === 'ERR_SEND_TIMEOUT') stream.close(NGHTTP2_CANCEL)
      else {
        leave(statusOf(error))
        stream.resume()
      }
    },
    faultOf: () => resetFault(stream, components),
  })
}

type Hooks = Pick<
  ConstructorParameters<typeof StreamConnection>[0],
  'wrap' | 'leave' | 'abandon' | 'faultOf'
>

function callConnection(
  stream: Http2Stream,
  { clock, description, sessionError }: CallComponents,
  limits: SocketLimits,
  hooks: Hooks,
): StreamConnection {
  return new StreamConnection(
    {
      stream,
      clock,
      ...description,
      reader: new MessageSplitter(limits.maxFrameBytes),
      explain: (error) => {
        // Of our own, about what the peer answered.
        if (error instanceof TransportError) return error
        const cause = sessionError() ?? error
        return (
          protocolFault(cause) ?? (cause === error ? lost(error.message, error) : lostError(cause))
        )
      },
      ...hooks,
    },
    limits,
  )
}

function wrapper(): (frame: readonly Uint8Array[]) => readonly Uint8Array[] {
  let seq = 0
  return (frame) => {
    seq = nextSeq(seq)
    return wrapFrame(frame, seq)
  }
}

/** Ends our side with `end`, and the whole stream by force if the peer does not end its own in time. */
function leaver(
  stream: Http2Stream,
  clock: Clock,
  { closeTimeoutMs }: SocketLimits,
  end: () => void,
): () => void {
  return () => {
    if (stream.destroyed || stream.closed) return
    const deadline = clock.setTimer(closeTimeoutMs, () => stream.close(NGHTTP2_NO_ERROR))
    stream.once('close', () => deadline[Symbol.dispose]())
    end()
  }
}

/** The fault behind a call whose peer did not end it itself; `undefined` if it did, or took it back. */
function resetFault(
  stream: Http2Stream,
  { sessionError }: CallComponents,
): TransportError | undefined {
  const error = sessionError()
  if (error !== undefined) return protocolFault(error) ?? lostError(error)
  if (stream.session === undefined || stream.session.destroyed)
    return lost('the connection was cut')
  const code = stream.rstCode
  if (code === NGHTTP2_NO_ERROR || code === NGHTTP2_CANCEL || code === undefined) return undefined
  return lost(`the peer reset the call with HTTP/2 code ${code}`)
}

/** Codes of Node for a peer whose bytes are no HTTP/2, or more than it may send of their kind. */
const PROTOCOL_CODES: ReadonlySet<unknown> = new Set([
  'ERR_HTTP2_ERROR',
  'ERR_HTTP2_TOO_MANY_INVALID_FRAMES',
])

function protocolFault(error: Error): TransportError | undefined {
  if (!('code' in error) || !PROTOCOL_CODES.has(error.code)) return undefined
  return new TransportError(
    'ERR_PROTOCOL',
    `the peer broke the HTTP/2 protocol: ${error.message}`,
    {},
    { cause: error },
  )
}

function lost(message: string, cause?: Error): TransportError {
  return new TransportError('ERR_CONNECTION_LOST', message, {}, cause && { cause })
}
