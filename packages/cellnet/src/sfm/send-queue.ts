import { type Connection, FRAME_CODE_BYTES, type FrameProofs } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import type { MessagePriority } from '../message-port.ts'
import { encodePrefix, FRAME, type FramePrefix, PREFIX_BYTES } from './frame.ts'

/** Frames handed to the connection together; a later control frame waits for these at most. */
const IN_FLIGHT_BYTES = 64 * 1024

export interface SendQueueOptions {
  /** Bytes that may wait before {@link SendQueue.room} asks producers to pause; half of `maxFrames` does too. */
  readonly highWaterBytes: number
  /** Frames that may wait at all; more come only from who ignores {@link SendQueue.room}, and are refused. */
  readonly maxFrames: number
}

interface QueuedFrame {
  readonly prefix: Omit<FramePrefix, 'sequence' | 'proven'>
  readonly headers: Uint8Array
  readonly payload: readonly Uint8Array[]
  readonly payloadBytes: number
  readonly signal: AbortSignal | undefined
  onAbort: () => void
  settle: (error?: unknown) => void
}

const PRIORITIES: readonly MessagePriority[] = ['control', 'normal', 'bulk']

/**
 * What waits to be sent on one connection, by priority. A control frame overtakes all bulk data but the frame
 * being written. Awaiting {@link send} is the backpressure for those who hold the bytes; those who hand
 * theirs over (forwarders) await {@link room} instead.
 */
export class SendQueue {
  readonly #connection: Connection
  readonly #options: SendQueueOptions
  readonly #queues = new Map<MessagePriority, QueuedFrame[]>(PRIORITIES.map((name) => [name, []]))
  #frames = 0
  #bytes = 0
  #inFlight = 0
  #sequence = 0
  #failure: unknown
  #held = false
  #proofs: FrameProofs | undefined
  #roomWaiters: (() => void)[] = []

  constructor(connection: Connection, options: SendQueueOptions) {
    this.#connection = connection
    this.#options = options
  }

  get queuedBytes(): number {
    return this.#bytes
  }

  /** Keeps `normal` and `bulk` frames back until {@link release}. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#pump()
  }

  /** From now on every message that leaves carries its code. */
  prove(proofs: FrameProofs): void {
    this.#proofs = proofs
  }

  /**
   * Resolves when the frame was written; its parts are borrowed until then.
   * @throws {CellError} `ERR_LIMIT`, `ERR_HEADERS`; what ended the connection; `signal.reason`
   */
  send(
    prefix: Omit<FramePrefix, 'sequence' | 'proven'>,
    headers: Uint8Array,
    payload: readonly Uint8Array[],
    priority: MessagePriority,
    signal?: AbortSignal,
  ): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (this.#frames >= this.#options.maxFrames)
      return Promise.reject(
        new CellError('ERR_LIMIT', `${this.#frames} frames wait for the peer; no more are taken`, {
          frames: this.#frames,
        }),
      )
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const frame: QueuedFrame = {
      prefix,
      headers,
      payload,
      payloadBytes: payload.reduce((sum, part) => sum + part.length, 0),
      signal,
      onAbort: () => this.#takeBack(frame, priority),
      settle(error) {
        signal?.removeEventListener('abort', frame.onAbort)
        if (error === undefined) resolve()
        else reject(error)
      },
    }
    signal?.addEventListener('abort', frame.onAbort, { once: true })
    this.#queues.get(priority)?.push(frame)
    this.#frames += 1
    this.#bytes += sizeOf(frame)
    this.#pump()
    return promise
  }

  /** `undefined` while there is room for more, else a promise for the moment when there is (or it ended). */
  room(): Promise<void> | undefined {
    if (!this.#isFull() || this.#failure !== undefined) return undefined
    return new Promise((resolve) => this.#roomWaiters.push(resolve))
  }

  /** Rejects what waits and all that comes. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const queue of this.#queues.values())
      for (const frame of queue.splice(0)) frame.settle(error)
    this.#frames = 0
    this.#bytes = 0
    this.#wakeRoomWaiters()
  }

  #takeBack(frame: QueuedFrame, priority: MessagePriority): void {
    const queue = this.#queues.get(priority)
    const index = queue?.indexOf(frame) ?? -1
    // Already handed to the connection: it is sent.
    if (queue === undefined || index < 0) return
    queue.splice(index, 1)
    this.#left(frame)
    frame.settle(frame.signal?.reason)
  }

  #next(): QueuedFrame | undefined {
    for (const priority of PRIORITIES) {
      if (this.#held && priority !== 'control') return undefined
      const frame = this.#queues.get(priority)?.shift()
      if (frame !== undefined) return frame
    }
    return undefined
  }

  #pump(): void {
    while (this.#inFlight < IN_FLIGHT_BYTES && this.#failure === undefined) {
      const frame = this.#next()
      if (frame === undefined) return
      this.#write(frame)
    }
  }

  #write(frame: QueuedFrame): void {
    let parts: Uint8Array[]
    // Numbered in the order of sending, first frame 1.
    const sequence = (this.#sequence + 1) & 0xffff
    try {
      parts = this.#complete(frame, sequence)
    } catch (error) {
      this.#left(frame)
      frame.settle(error)
      return
    }
    this.#sequence = sequence
    const size = sizeOf(frame)
    this.#inFlight += size
    const done = (error?: unknown): void => {
      this.#inFlight -= size
      if (this.#failure === undefined) this.#left(frame)
      frame.settle(error)
      this.#pump()
    }
    this.#connection.send(parts).then(() => done(), done)
  }

  /** Control frames carry no code: they say that somebody lives, and nothing acts on more. */
  #complete(
    { prefix, headers, payload, payloadBytes }: QueuedFrame,
    sequence: number,
  ): Uint8Array[] {
    const proofs = prefix.type === FRAME.data ? this.#proofs : undefined
    const headerBytes = headers.length + (proofs === undefined ? 0 : FRAME_CODE_BYTES)
    const proven = proofs !== undefined
    const front = encodePrefix({ ...prefix, sequence, proven }, headerBytes, payloadBytes)
    if (proofs === undefined) return [front, headers, ...payload]
    const code = proofs.seal([front, headers, ...(proofs.coversPayload ? payload : [])])
    return [front, headers, code, ...payload]
  }

  #left(frame: QueuedFrame): void {
    this.#frames -= 1
    this.#bytes -= sizeOf(frame)
    if (!this.#isFull()) this.#wakeRoomWaiters()
  }

  #isFull(): boolean {
    const { highWaterBytes, maxFrames } = this.#options
    return this.#bytes >= highWaterBytes || this.#frames * 2 >= maxFrames
  }

  #wakeRoomWaiters(): void {
    const waiting = this.#roomWaiters
    this.#roomWaiters = []
    for (const wake of waiting) wake()
  }
}

function sizeOf(frame: QueuedFrame): number {
  return PREFIX_BYTES + frame.headers.length + frame.payloadBytes
}
