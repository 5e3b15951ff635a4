import {
  type ClientSessionOptions,
  connect,
  type Http2Session,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerSessionOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import { type Clock, TransportError } from '@hanse/contract'
import { parseAddress } from '@hanse/driver-socket'
import type { KeepAliveOptions } from './grpc-options.ts'

/** What a peer may send on one call before we read on: keeps a fast link busy, and bounds what waits unread. */
const CALL_WINDOW_BYTES = 2 * 2 ** 20
/** Calls at one time on one HTTP/2 connection: stock processes may share one among their links. */
const MAX_CALLS = 8
const MAX_HEADER_BYTES = 8 * 1024
const MAX_HEADERS = 64
const MAX_INVALID_FRAMES = 8
/** Calls above {@link MAX_CALLS} that are asked for before the connection is cut. */
const MAX_REJECTED_CALLS = 8
const MEMORY_MEGABYTES = 32

const SETTINGS = {
  enablePush: false,
  initialWindowSize: CALL_WINDOW_BYTES,
  maxConcurrentStreams: MAX_CALLS,
  maxHeaderListSize: MAX_HEADER_BYTES,
}

const SESSION_OPTIONS: ClientSessionOptions & ServerSessionOptions = {
  settings: SETTINGS,
  maxHeaderListPairs: MAX_HEADERS,
  maxSessionInvalidFrames: MAX_INVALID_FRAMES,
  maxSessionRejectedStreams: MAX_REJECTED_CALLS,
  maxSessionMemory: MEMORY_MEGABYTES,
}

/** An HTTP/2 connection, and why it broke if it did. */
export interface Session<Kind extends Http2Session> {
  readonly http2: Kind
  readonly error: () => Error | undefined
}

export function acceptSession(socket: Socket): Session<ServerHttp2Session> {
  return watched(performServerHandshake(socket, SESSION_OPTIONS), socket)
}

/**
 * Makes a session of a dialled socket, once the listener has shown that it speaks HTTP/2.
 * @throws {TransportError} `ERR_CONNECT_REFUSED`
 */
export async function dialSession(socket: Socket, url: URL): Promise<Session<Http2ClientSession>> {
  const http2 = connect(authorityOf(url), { ...SESSION_OPTIONS, createConnection: () => socket })
  const session = watched(http2, socket)
  const spoken = Promise.withResolvers<void>()
  const onError = (cause: Error): void => {
    // What broke below HTTP/2 is explained where the socket was dialled.
    if (!('code' in cause) || !String(cause.code).startsWith('ERR_HTTP2')) return
    spoken.reject(
      new TransportError(
        'ERR_CONNECT_REFUSED',
        `${url.host} does not speak HTTP/2; is it another kind of listener?`,
        { address: url.host, reason: 'protocol' },
        { cause },
      ),
    )
  }
  http2.once('remoteSettings', () => spoken.resolve())
  http2.on('error', onError)
  // A session that gives up destroys its socket first.
  socket.on('error', onError)
  await spoken.promise
  return session
}

type Http2ClientSession = ReturnType<typeof connect>

/** For the `:authority` of requests; the scheme says nothing more, TLS is done. */
function authorityOf(url: URL): string {
  const { host, port } = parseAddress(url, 'ERR_CONNECT_REFUSED')
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function watched<Kind extends Http2Session>(http2: Kind, socket: Socket): Session<Kind> {
  let failure: Error | undefined
  const remember = (error: Error): void => {
    failure ??= error
  }
  http2.on('error', remember)
  socket.on('error', remember)
  // One window for all calls, so that one that is not read does not stop the others.
  const widen = (): void => http2.setLocalWindowSize(CALL_WINDOW_BYTES * MAX_CALLS)
  if (http2.connecting) http2.once('connect', widen)
  else widen()
  return { http2, error: () => failure }
}

/** Cuts the connection of a peer that is silent and does not answer pings. */
export function keepAlive(
  http2: Http2Session,
  socket: Socket,
  clock: Clock,
  { intervalMs, timeoutMs }: KeepAliveOptions,
): void {
  let timer: Disposable | undefined
  let bytesSeen = socket.bytesRead
  const wait = (): void => {
    timer = clock.setTimer(intervalMs, () => {
      const silent = socket.bytesRead === bytesSeen
      bytesSeen = socket.bytesRead
      if (silent) ping()
      else wait()
    })
  }
  const ping = (): void => {
    timer = clock.setTimer(timeoutMs, () =>
      http2.destroy(new Error(`no answer to a ping for ${timeoutMs} ms`)),
    )
    http2.ping(() => {
      timer?.[Symbol.dispose]()
      if (!http2.destroyed) wait()
    })
  }
  http2.once('close', () => timer?.[Symbol.dispose]())
  wait()
}

/** Ends a session that has no calls left, by force if the peer keeps it open. */
export function closeSession(http2: Http2Session, clock: Clock, timeoutMs: number): void {
  if (http2.destroyed) return
  const deadline = clock.setTimer(timeoutMs, () => http2.destroy())
  http2.once('close', () => deadline[Symbol.dispose]())
  http2.close()
}
