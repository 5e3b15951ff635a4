import type { Socket } from 'node:net'
import {
  type AbortOptions,
  type Clock,
  type Connection,
  type ConnectionInfo,
  releaseMemory,
  TransportError,
} from '@hanse/contract'
import { lostError, type SocketLimits } from '@hanse/driver-socket'
import type { WebSocket } from 'ws'
import { MessageQueue } from './message-queue.ts'

/** The shortest frame is the bare prefix, whose first four bytes are the frame's length (`spec/transport.md` §3.1). */
const PREFIX_BYTES = 16

/** Close codes of RFC 6455 §7.4.1. */
const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  noCode: 1005,
  tooBig: 1009,
} as const

const ORDERLY: ReadonlySet<number> = new Set([CLOSE.normal, CLOSE.goingAway, CLOSE.noCode])

export interface WebSocketConnectionComponents {
  readonly websocket: WebSocket
  /** What the WebSocket runs on. */
  readonly socket: Socket
  readonly clock: Clock
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
}

type State = 'open' | 'closing' | 'closed'
type Receiver = (frame: Uint8Array) => void | Promise<void>

/**
 * One binary message is one frame (`spec/transport.md` §2.7). Takes over an open WebSocket; has to be made in
 * the turn of the event loop in which it opened, before messages can come.
 */
export class WebSocketConnection implements Connection {
  readonly info: ConnectionInfo
  readonly peerName: string | undefined
  readonly #websocket: WebSocket
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #limits: SocketLimits
  readonly #messages: MessageQueue
  /** Settles when the connection is over; rejects if it did not end in an orderly way. */
  readonly #over = Promise.withResolvers<void>()
  readonly #closed = Promise.withResolvers<void>()
  readonly #bytesBefore: number
  /** Frames that came while the receiver was busy: at most what one read of the socket held. */
  readonly #held: Uint8Array[] = []
  #maxFrameBytes = 0
  #receiver: Receiver | undefined
  #delivering = false
  #state: State = 'open'
  #socketError: Error | undefined
  /** The peer is gone; what it sent before is still being delivered. */
  #end: (() => void) | undefined

  constructor(components: WebSocketConnectionComponents, limits: SocketLimits) {
    const { websocket, socket, clock } = components
    this.info = components.info
    this.peerName = components.peerName
    this.#websocket = websocket
    this.#socket = socket
    this.#clock = clock
    this.#limits = limits
    this.#bytesBefore = socket.bytesRead
    this.#messages = new MessageQueue(websocket, clock, {
      stallTimeoutMs: limits.sendStallTimeoutMs,
      onStalled: (error) => this.#fail(error),
    })
    this.maxFrameBytes = limits.maxFrameBytes
    // Nobody may ever call receive(); a connection that broke before is no unhandled rejection.
    this.#over.promise.catch(() => {})

    websocket.on('message', (data, isBinary) => this.#received(data, isBinary))
    websocket.on('ping', () => this.#pinged())
    websocket.on('error', (error) => this.#broken(error))
    websocket.on('close', (code) => this.#ended(code))
    // The WebSocket keeps to itself why its socket broke.
    socket.on('error', (error) => {
      this.#socketError ??= error
    })
  }

  get bytesSent(): number {
    return this.#messages.bytesWritten
  }

  /** As they came from the socket: a long frame that is on its way shows. */
  get bytesReceived(): number {
    return this.#socket.bytesRead - this.#bytesBefore
  }

  get maxFrameBytes(): number {
    return this.#maxFrameBytes
  }

  set maxFrameBytes(bytes: number) {
    this.#maxFrameBytes = bytes
    setMaxPayload(this.#websocket, bytes)
  }

  async send(frame: readonly Uint8Array[], options?: AbortOptions): Promise<void> {
    const { maxSendBytes } = this.info
    if (maxSendBytes !== undefined) {
      const length = frame.reduce((sum, part) => sum + part.length, 0)
      if (length > maxSendBytes)
        throw new TransportError(
          'ERR_FRAME_LENGTH',
          `the peer takes frames of up to ${maxSendBytes} bytes, not ${length}; stream the message`,
          { length, maxSendBytes },
        )
    }
    await this.#messages.push(frame, options?.signal)
  }

  receive(receiver: Receiver): Promise<void> {
    if (this.#receiver !== undefined) throw new TypeError('receive() was called before')
    this.#receiver = receiver
    this.#deliver()
    return this.#over.promise
  }

  /** A message is memory of its own, joined from what came; a short one may share it, and is left alone. */
  release(frame: Uint8Array): void {
    releaseMemory(frame)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing'
      await this.#drain()
      this.#messages.fail(new TransportError('ERR_CONNECTION_CLOSED', 'the connection was closed'))
      this.#state = 'closed'
      this.#websocket.terminate()
      this.#over.resolve()
    }
    await this.#closed.promise
  }

  /** Lets what was queued go out and both sides say goodbye, as far as the close timeout allows. */
  async #drain(): Promise<void> {
    const late = Promise.withResolvers<void>()
    using _deadline = this.#clock.setTimer(this.#limits.closeTimeoutMs, late.resolve)
    await Promise.race([this.#messages.idle(), late.promise, this.#closed.promise])
    this.#websocket.close(CLOSE.normal)
    // Read on, discarding: the peer's goodbye comes after what it sent before.
    this.#websocket.resume()
    await Promise.race([this.#closed.promise, late.promise])
  }

  #received(data: unknown, isBinary: boolean): void {
    if (this.#state !== 'open') return
    if (!isBinary || !(data instanceof Uint8Array)) {
      const text = 'the peer sent a text message; frames are binary'
      this.#fail(new TransportError('ERR_PROTOCOL', text), CLOSE.unsupportedData)
      return
    }
    // A plain view: the slice() of Node's Buffer shares memory where everyone expects a copy.
    const frame = new Uint8Array(data.buffer, data.byteOffset, data.length)
    const fault = lengthFault(frame)
    if (fault !== undefined) {
      this.#fail(fault, CLOSE.protocolError)
      return
    }
    this.#held.push(frame)
    // Not before: a peer that only says goodbye is heard without a receiver.
    if (this.#receiver === undefined) this.#websocket.pause()
    else this.#deliver()
  }

  #deliver(): void {
    const receiver = this.#receiver
    if (receiver === undefined) return
    try {
      while (!this.#delivering && this.#state === 'open') {
        const frame = this.#held.shift()
        if (frame === undefined) {
          if (this.#end === undefined) this.#websocket.resume()
          else this.#end()
          return
        }
        const pending = receiver(frame)
        if (pending === undefined) continue
        this.#delivering = true
        this.#websocket.pause()
        pending.then(
          () => {
            this.#delivering = false
            this.#deliver()
          },
          (error: unknown) => this.#fail(toError(error)),
        )
      }
    } catch (error) {
      this.#fail(toError(error))
    }
  }

  /** The library hangs up, without a word to anybody, on a peer that has too many pings unanswered. */
  #pinged(): void {
    if (this.#state !== 'open' || this.#websocket.readyState !== this.#websocket.CLOSING) return
    this.#fail(new TransportError('ERR_PROTOCOL', 'the peer sent more pings than can be answered'))
  }

  /** The peer broke the rules of RFC 6455 or a limit; the WebSocket tells it and hangs up. */
  #broken(error: Error): void {
    if (this.#socketError !== undefined) return
    const code = 'code' in error ? String(error.code) : ''
    const fault =
      code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
        ? new TransportError(
            'ERR_FRAME_LENGTH',
            `a message is longer than the ${this.#maxFrameBytes} bytes allowed`,
            { maxFrameBytes: this.#maxFrameBytes },
            { cause: error },
          )
        : new TransportError(
            'ERR_PROTOCOL',
            `the peer broke the WebSocket protocol: ${error.message}`,
            { reason: code },
            { cause: error },
          )
    this.#fail(fault, CLOSE.protocolError)
  }

  #ended(code: number): void {
    this.#closed.resolve()
    if (this.#state !== 'open') return
    const end = (): void => {
      const fault = this.#faultOf(code)
      if (fault !== undefined) {
        this.#fail(fault)
        return
      }
      this.#state = 'closed'
      this.#messages.fail(
        new TransportError('ERR_CONNECTION_CLOSED', 'the peer closed the connection'),
      )
      this.#over.resolve()
    }
    if (this.#held.length === 0 && !this.#delivering) end()
    else this.#end = end
  }

  #faultOf(code: number): TransportError | undefined {
    if (ORDERLY.has(code)) return undefined
    if (this.#socketError !== undefined) return lostError(this.#socketError)
    const text =
      code === CLOSE.tooBig
        ? 'the peer does not take messages as long as one that we sent'
        : code === 1006
          ? 'the connection was cut'
          : `the peer closed with WebSocket code ${code}`
    return new TransportError('ERR_CONNECTION_LOST', text, { code })
  }

  /** @param code tells the peer why; absent: there is nobody to tell */
  #fail(error: Error, code?: number): void {
    if (this.#state === 'closed') return
    const wasClosing = this.#state === 'closing'
    this.#state = 'closed'
    this.#held.length = 0
    this.#messages.fail(error)
    if (code === undefined) this.#websocket.terminate()
    else this.#hangUp(code)
    if (wasClosing) this.#over.resolve()
    else this.#over.reject(error)
  }

  #hangUp(code: number): void {
    this.#websocket.close(code)
    this.#websocket.resume()
    const deadline = this.#clock.setTimer(this.#limits.closeTimeoutMs, () =>
      this.#websocket.terminate(),
    )
    void this.#closed.promise.then(() => deadline[Symbol.dispose]())
  }
}

/**
 * Sets how long a message may become. The library fixes that when a WebSocket is made, but a peer gets more room
 * once it is admitted; checked, so that a change inside the library cannot undo the limit in silence.
 */
function setMaxPayload(websocket: WebSocket, bytes: number): void {
  const receiver: unknown = Reflect.get(websocket, '_receiver')
  if (
    typeof receiver !== 'object' ||
    receiver === null ||
    typeof Reflect.get(receiver, '_maxPayload') !== 'number'
  )
    throw new TypeError('this version of the ws library keeps its message limit elsewhere')
  // Zero means no limit to the library.
  Reflect.set(receiver, '_maxPayload', Math.max(1, bytes))
}

function lengthFault(frame: Uint8Array): TransportError | undefined {
  const isTooShort = frame.length < PREFIX_BYTES
  const length = isTooShort
    ? 0
    : new DataView(frame.buffer, frame.byteOffset, frame.length).getUint32(0)
  if (!isTooShort && length === frame.length) return undefined
  return new TransportError(
    'ERR_FRAME_LENGTH',
    isTooShort
      ? `a message of ${frame.length} bytes is too short for a frame`
      : `a message of ${frame.length} bytes holds a frame that says it has ${length}`,
    { length, messageBytes: frame.length },
  )
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
