import {
  type Clock,
  type Connection,
  hasCode,
  type Logger,
  messageOf,
  TransportError,
} from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import type { MessagePriority } from '../message-port.ts'
import type { PeerLink } from '../peer-link.ts'
import { fqcnFault } from '../routing/fqcn.ts'
import { CELL_APP_ID, decodeFrame, FRAME, type Frame } from './frame.ts'
import {
  decodeGreeting,
  encodeGreeting,
  encodeRefusal,
  type Greeting,
  PROOF_CAPABILITY,
  type RefusalCode,
} from './greeting.ts'
import { LinkProofs } from './link-proofs.ts'
import { SendQueue } from './send-queue.ts'

/** Payload of PING and PONG: MessagePack's nil. */
const NIL = Uint8Array.of(0xc0)
const NO_HEADERS = new Uint8Array(0)
/** First stream id in use after the handshake; `spec/transport.md` §3.1. */
const FIRST_STREAM_ID = 17

/** Whether a peer that said its name may come in, and why not. */
export type Admission =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly code: RefusalCode; readonly reason: string }

export interface SessionOptions {
  /** Silence after which the peer is pinged. */
  readonly heartbeatIntervalMs: number
  /** Pings without any sign of life before the connection is closed. */
  readonly maxMissedPongs: number
  /** Longest wait for HELLO or READY. */
  readonly handshakeTimeoutMs: number
  /** Hold of the first data toward a stock peer after its READY; `spec/transport.md` §3.2. */
  readonly stockPeerHoldMs: number
  /** Longest frame accepted from an admitted peer. */
  readonly maxFrameBytes: number
  readonly queueHighWaterBytes: number
  readonly queueMaxFrames: number
}

export interface SessionComponents {
  readonly connection: Connection
  readonly role: 'active' | 'passive'
  readonly self: string
  /** Capabilities that our HELLO or READY offers to Hanse peers. */
  readonly capabilities: readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  /** Decides on a peer by the name it gave and registers it: data may follow at once. */
  readonly admit: (session: Session, fqcn: string) => Admission | Promise<Admission>
  /** The peer was admitted and answered; called once, before anything of it is handed over. */
  readonly onReady: (session: Session, link: PeerLink) => void
  /** A frame of the cell layer, in order; a returned promise holds back the connection. */
  readonly onData: (session: Session, frame: Frame) => void | Promise<void>
}

/**
 * One connection's life in the SFM layer: greeting, frames in order, heartbeats, end.
 *
 *     greeting ──admitted──▶ ready ──▶ closed
 *        └──────refused, timeout───────▲
 */
export class Session {
  readonly connection: Connection
  readonly role: 'active' | 'passive'
  readonly queue: SendQueue
  readonly #components: SessionComponents
  readonly #options: SessionOptions
  readonly #logger: Logger
  readonly #ready = Promise.withResolvers<PeerLink>()
  readonly #closed = Promise.withResolvers<Error | undefined>()
  #link: PeerLink | undefined
  #proofs: LinkProofs | undefined
  #isOpen = false
  #isClosed = false
  #hasData = false
  #greeting = false
  #reason: Error | undefined
  #streamId = FIRST_STREAM_ID - 1
  /** A handler holds the connection back: then silence says nothing of the peer. */
  #holding = false
  #bytesSeen = 0
  #missed = 0
  #timer: Disposable | undefined
  #holdTimer: Disposable | undefined
  #pongWaiters: (() => void)[] = []

  constructor(components: SessionComponents, options: SessionOptions) {
    this.connection = components.connection
    this.role = components.role
    this.#components = components
    this.#options = options
    this.#logger = components.logger.child({ remoteAddress: this.connection.info.remoteAddress })
    this.queue = new SendQueue(components.connection, {
      highWaterBytes: options.queueHighWaterBytes,
      maxFrames: options.queueMaxFrames,
    })
    // A name is routable from the moment it is reserved; nothing may overtake the greeting.
    this.queue.hold()
    this.#ready.promise.catch(() => {})
  }

  /** The peer, once it was admitted. */
  get link(): PeerLink | undefined {
    return this.#link
  }

  /** Whether the peer sent anything of the cell layer. */
  get hasData(): boolean {
    return this.#hasData
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether messages may be routed over the link: where proofs were offered, only after the login. */
  get isOpen(): boolean {
    return this.#isOpen && !this.#isClosed
  }

  /** Resolves when the peer was admitted on both sides; rejects if the connection ends before. */
  get ready(): Promise<PeerLink> {
    return this.#ready.promise
  }

  /** Resolves when the connection is over, with the reason unless it ended in an orderly way. */
  get closed(): Promise<Error | undefined> {
    return this.#closed.promise
  }

  /** Starts talking; called once. */
  start(): void {
    this.#timer = this.#components.clock.setTimer(this.#options.handshakeTimeoutMs, () =>
      this.close(
        new CellError(
          'ERR_HANDSHAKE_TIMEOUT',
          `no ${this.role === 'active' ? 'READY' : 'HELLO'} within ${this.#options.handshakeTimeoutMs} ms`,
        ),
      ),
    )
    this.connection
      .receive((frame) => this.#receive(frame))
      .then(
        () => this.#ended(this.#reason),
        (error: unknown) =>
          this.#ended(this.#reason ?? (error instanceof Error ? error : new Error(String(error)))),
      )
    if (this.role === 'active') this.#greet(FRAME.hello)
  }

  /**
   * Sends one cell message. Resolves when it was written; the parts are borrowed until then.
   * @throws what ended the connection, `ERR_LIMIT`, `ERR_HEADERS`, or `signal.reason`
   */
  sendData(
    headers: Uint8Array,
    payload: readonly Uint8Array[],
    priority: MessagePriority,
    signal?: AbortSignal,
  ): Promise<void> {
    const prefix = { type: FRAME.data, appId: CELL_APP_ID, streamId: this.#nextStreamId() }
    return this.queue.send(prefix, headers, payload, priority, signal)
  }

  /** Asks the peer for a sign of life. */
  probe(timeoutMs: number): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false)
    // It said its name just now, and nothing may go out before our answer to that.
    if (this.#link === undefined) return Promise.resolve(true)
    // We are not reading: its answer could not get through, and its silence proves nothing.
    if (this.#holding) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = this.#components.clock.setTimer(timeoutMs, () => resolve(false))
    this.#pongWaiters.push(() => {
      timer[Symbol.dispose]()
      resolve(true)
    })
    void this.#closed.promise.then(() => {
      timer[Symbol.dispose]()
      resolve(false)
    })
    this.#sendControl(FRAME.ping)
    return promise
  }

  /** Closes for `reason`; what is queued still goes out as far as the driver's close timeout allows. */
  close(reason?: Error): Promise<Error | undefined> {
    if (this.#isClosed || this.#reason !== undefined) return this.#closed.promise
    this.#reason = reason
    this.connection[Symbol.asyncDispose]().then(
      () => this.#ended(reason),
      (error: unknown) => this.#ended(reason ?? toError(error)),
    )
    return this.#closed.promise
  }

  #receive(bytes: Uint8Array): void | Promise<void> {
    if (this.#reason !== undefined) return
    const frame = decodeFrame(bytes)
    this.#missed = 0
    switch (frame.type) {
      case FRAME.hello:
      case FRAME.ready:
        return this.#receiveGreeting(frame)
      case FRAME.data:
        return this.#receiveData(frame)
      case FRAME.ping:
        // Before the handshake a ping means nothing (§3.3).
        if (this.#link !== undefined) this.#sendControl(FRAME.pong)
        return
      case FRAME.pong:
        this.#wakePongWaiters()
        return
      default:
        this.#logger.debug('frame of unknown type ignored', { type: frame.type })
    }
  }

  #receiveData(frame: Frame): void | Promise<void> {
    if (this.#link === undefined) {
      // A listener's peer that sends data unasked is no cell. A dialled stock listener may be hasty (§3.2).
      if (this.role === 'passive') throw new CellError('ERR_FRAME', 'data came before HELLO')
      return
    }
    if (frame.appId !== CELL_APP_ID) return
    this.#proofs?.check(frame)
    this.#hasData = true
    const pending = this.#components.onData(this, frame)
    if (pending === undefined) return
    this.#holding = true
    return pending.finally(() => {
      this.#holding = false
    })
  }

  async #receiveGreeting(frame: Frame): Promise<void> {
    const expected = this.role === 'passive' ? FRAME.hello : FRAME.ready
    if (frame.type !== expected) throw new CellError('ERR_FRAME', 'greeting of the wrong side')
    const greeting = decodeGreeting(frame.payload)
    if (greeting.refusal !== undefined) {
      const { code, reason } = greeting.refusal
      await this.#leave(
        new CellError('ERR_REFUSED', `the peer refused us: ${reason}`, { reason: code }),
      )
      return
    }
    if (this.#link !== undefined || this.#greeting) {
      if (this.#link?.fqcn === greeting.fqcn) return
      throw new CellError('ERR_FRAME', 'a second greeting with another name')
    }
    this.#greeting = true
    await this.#admit(greeting)
  }

  async #admit(greeting: Greeting): Promise<void> {
    const { fqcn } = greeting
    const fault = fqcnFault(fqcn)
    if (fault !== undefined) {
      await this.#refuse(greeting, 'invalid_name', `not a valid cell name: ${fault}`)
      return
    }
    const link = this.#linkTo(greeting)
    const admission = await this.#components.admit(this, fqcn)
    if (this.#isClosed || this.#reason !== undefined) return
    if (!admission.admitted) {
      await this.#refuse(greeting, admission.code, admission.reason)
      return
    }
    this.#link = link
    this.connection.maxFrameBytes = this.#options.maxFrameBytes
    // Registered first, READY second: stock diallers may send data the moment they read it.
    if (this.role === 'passive') this.#greet(FRAME.ready)
    if (this.role === 'passive' || greeting.isHanse) this.queue.release()
    else this.#holdFirstData()
    this.#startHeartbeat()
    this.#components.onReady(this, link)
    this.#ready.resolve(link)
  }

  #linkTo({ fqcn, capabilities }: Greeting): PeerLink {
    const offered =
      capabilities.includes(PROOF_CAPABILITY) &&
      this.#components.capabilities.includes(PROOF_CAPABILITY)
    this.#proofs = new LinkProofs(offered, this.queue)
    this.#isOpen = !offered
    const isOpen = (): boolean => this.isOpen
    return {
      fqcn,
      peerName: this.connection.peerName,
      connection: this.connection,
      role: this.role,
      connectedAt: this.#components.clock.now(),
      capabilities,
      proofs: this.#proofs,
      get isOpen() {
        return isOpen()
      },
      open: () => {
        this.#isOpen = true
      },
    }
  }

  async #refuse(greeting: Greeting, code: RefusalCode, reason: string): Promise<void> {
    // Stock peers get what they know: a closed connection without READY.
    if (greeting.isHanse && this.role === 'passive') {
      const prefix = { type: FRAME.ready, appId: 0, streamId: 1 }
      this.queue
        .send(prefix, NO_HEADERS, [encodeRefusal({ code, reason })], 'control')
        .catch(() => {})
    }
    await this.#leave(new CellError('ERR_REFUSED', reason, { reason: code }))
  }

  /** Closes without waiting for it: called while the connection waits for us. */
  async #leave(reason: Error): Promise<void> {
    void this.close(reason)
    await Promise.resolve()
  }

  /** A stock listener says READY before it has registered us; data in between would be lost. */
  #holdFirstData(): void {
    this.#holdTimer = this.#components.clock.setTimer(this.#options.stockPeerHoldMs, () =>
      this.queue.release(),
    )
  }

  #startHeartbeat(): void {
    this.#timer?.[Symbol.dispose]()
    if (this.#isClosed) return
    this.#timer = this.#components.clock.setTimer(this.#options.heartbeatIntervalMs, () => {
      this.#beat()
      this.#startHeartbeat()
    })
  }

  /** Progress counts, not whole frames: a large one may take longer than an interval. */
  #beat(): void {
    const bytes = this.connection.bytesReceived
    const silent = bytes === this.#bytesSeen && !this.#holding
    this.#bytesSeen = bytes
    if (!silent) {
      this.#missed = 0
      return
    }
    if (this.#missed >= this.#options.maxMissedPongs) {
      void this.close(
        new CellError('ERR_PEER_SILENT', `the peer answered none of ${this.#missed} pings`, {
          missed: this.#missed,
        }),
      )
      return
    }
    this.#missed += 1
    this.#sendControl(FRAME.ping)
  }

  #greet(type: number): void {
    const payload = encodeGreeting({
      fqcn: this.#components.self,
      timestampSeconds: this.#components.clock.now() / 1000,
      capabilities: this.#components.capabilities,
    })
    const prefix = { type, appId: 0, streamId: 1 }
    this.queue.send(prefix, NO_HEADERS, [payload], 'control').catch(() => {})
  }

  #sendControl(type: number): void {
    const prefix = { type, appId: 0, streamId: this.#nextStreamId() }
    // A failure shows as the end of the connection.
    this.queue.send(prefix, NO_HEADERS, [NIL], 'control').catch(() => {})
  }

  #nextStreamId(): number {
    this.#streamId = (this.#streamId + 1) & 0xffff
    return this.#streamId
  }

  #wakePongWaiters(): void {
    const waiting = this.#pongWaiters
    this.#pongWaiters = []
    for (const wake of waiting) wake()
  }

  #ended(reason: Error | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timer?.[Symbol.dispose]()
    this.#holdTimer?.[Symbol.dispose]()
    const error = reason ?? new CellError('ERR_CLOSED', 'the connection was closed')
    this.queue.fail(
      hasCode(error, 'ERR_CONNECTION_LOST')
        ? error
        : new TransportError('ERR_CONNECTION_CLOSED', messageOf(error), {}, { cause: error }),
    )
    this.#ready.reject(error)
    this.#closed.resolve(reason)
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
