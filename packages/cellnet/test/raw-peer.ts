import { type Duplex, duplexPair } from 'node:stream'
import type { Connection } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import type { HeaderValue } from '../src/headers.ts'
import { decodeFrame, encodePrefix, FRAME, type Frame } from '../src/sfm/frame.ts'
import { decodeMap, encodeMap } from '../src/sfm/wire-map.ts'
import { type Claim, claimedPipe } from './memory-driver.ts'

export interface RawMessage extends Frame {
  readonly map: Map<string, HeaderValue>
}

/** A peer that says exactly what a test wants it to say. */
export class RawPeer implements AsyncDisposable {
  /** The cell's end of the link. */
  readonly connection: Connection
  readonly #own: Connection
  readonly #duplex: Duplex
  readonly #received: RawMessage[] = []
  readonly #waiting: ((message: RawMessage) => void)[] = []
  /** Settles when the cell closed the link. */
  readonly over: Promise<unknown>

  constructor(claim?: Claim) {
    const [left, right] = duplexPair()
    this.connection = claimedPipe(right, claim)
    this.#duplex = left
    this.#own = pipeConnection(left, { maxFrameBytes: 2 ** 26, closeTimeoutMs: 50 })
    this.over = this.#own
      .receive((bytes) => {
        const frame = decodeFrame(bytes)
        const isData = frame.type === FRAME.data
        const message = { ...frame, map: decodeMap(isData ? frame.headers : new Uint8Array(0)) }
        const next = this.#waiting.shift()
        if (next === undefined) this.#received.push(message)
        else next(message)
      })
      .catch(() => {})
  }

  /** The next frame the cell sent. */
  next(): Promise<RawMessage> {
    const first = this.#received.shift()
    if (first !== undefined) return Promise.resolve(first)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Frames that came and nobody asked for. */
  get unread(): readonly RawMessage[] {
    return this.#received
  }

  sendBytes(bytes: Uint8Array): Promise<void> {
    return this.#own.send([bytes])
  }

  /** Bytes that need be no frame. */
  write(bytes: Uint8Array): void {
    this.#duplex.write(bytes)
  }

  sendFrame(type: number, headers: Uint8Array, payload: Uint8Array, appId = 0): Promise<void> {
    const prefix = encodePrefix(
      { type, appId, streamId: 1, sequence: 1 },
      headers.length,
      payload.length,
    )
    return this.#own.send([prefix, headers, payload])
  }

  greet(type: number, properties: Record<string, HeaderValue>): Promise<void> {
    return this.sendFrame(type, new Uint8Array(0), encodeMap(new Map(Object.entries(properties))))
  }

  hello(name: string): Promise<void> {
    return this.greet(FRAME.hello, { endpoint_name: name, timestamp: 1.5, fqcn: name })
  }

  sendMessage(headers: Record<string, HeaderValue>, payload = new Uint8Array(0)): Promise<void> {
    return this.sendFrame(FRAME.data, encodeMap(new Map(Object.entries(headers))), payload, 1)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#own[Symbol.asyncDispose]()
  }
}

/** Headers of a plain request as a stock cell sends them. */
export function requestHeaders(
  origin: string,
  destination: string,
  topic: string,
  more: Record<string, HeaderValue> = {},
): Record<string, HeaderValue> {
  return {
    cn__topic: topic,
    cn__channel: 'task',
    cn__destination: destination,
    cn__req_id: 'r-1',
    cn__reply_expected: true,
    cn__secure: false,
    cn__optional: false,
    cn__from: origin,
    cn__to: destination,
    cn__origin: origin,
    cn__msg_type: 'req',
    cn__route: [[origin, 1.5]],
    cn__payload_encoding: 'bytes',
    cn__payload_len: 0,
    cn__send_time: 1.5,
    ...more,
  }
}
