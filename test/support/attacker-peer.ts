import { randomBytes, randomUUID } from 'node:crypto'
import type { Identity } from '@hanse/pki'
import { decode, encode } from '@msgpack/msgpack'
import {
  type AttackScheme,
  clearWire,
  driverWire,
  socketWire,
  tlsSocket,
  type Wire,
} from './attacker-wire.ts'

/** Types of frames; `spec/transport.md` §3.1. */
export const FRAME = { data: 1, hello: 4, ready: 5, ping: 6, pong: 7 } as const

export interface AttackerReply {
  readonly returnCode: string
  readonly error: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly payload: Uint8Array
}

const CLOSED: AttackerReply = {
  returnCode: 'closed',
  error: '',
  headers: {},
  payload: new Uint8Array(0),
}

/** How a greeting was taken. */
export type Welcome =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly code: string; readonly reason: string }

export interface DialOptions {
  readonly port: number
  /** Without one, no certificate is shown. */
  readonly identity: Identity | undefined
  /** The driver to speak over; default TLS and nothing else. */
  readonly scheme?: AttackScheme
  /** Root of the league, where the driver wants to know the server. */
  readonly ca?: string
  /** No TLS at all. */
  readonly clear?: boolean
  /** Any of 127.0.0.0/8: attacks on limits for one address come from an address of their own. */
  readonly localAddress?: string
}

/** One frame; lengths can be lied about. */
export function frameOf(
  type: number,
  headers: Uint8Array,
  payload: Uint8Array,
  lies: { readonly length?: number; readonly headerLength?: number; readonly app?: number } = {},
): Uint8Array {
  const bytes = new Uint8Array(16 + headers.length + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, lies.length ?? bytes.length)
  view.setUint16(4, lies.headerLength ?? headers.length)
  view.setUint8(6, type)
  view.setUint16(10, lies.app ?? (type === FRAME.data ? 1 : 0))
  view.setUint16(12, 1)
  bytes.set(headers, 16)
  bytes.set(payload, 16 + headers.length)
  return bytes
}

/** One message of the cell `name`, its headers complete and honest but for `headers`. */
export function messageFrame(
  name: string,
  headers: Readonly<Record<string, unknown>>,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const origin = headers['cn__origin'] ?? name
  const all = {
    cn__channel: 'task',
    cn__topic: 'test',
    cn__origin: origin,
    cn__destination: 'server',
    cn__from: name,
    cn__to: 'server',
    cn__msg_type: 'req',
    cn__reply_expected: false,
    cn__payload_encoding: payload.length === 0 ? 'none' : 'fobs',
    cn__secure: false,
    cn__optional: false,
    cn__send_time: Date.now() / 1000,
    cn__route: [[origin, Date.now() / 1000]],
    ...headers,
  }
  return frameOf(FRAME.data, encode(all), payload)
}

/** The greeting of a cell that is called `name`. */
export function helloFrame(name: string): Uint8Array {
  const greeting = { endpoint_name: name, fqcn: name, timestamp: 1.5, hanse: [] }
  return frameOf(FRAME.hello, new Uint8Array(0), encode(greeting))
}

/**
 * An attacker at the other end of a TLS connection: says what it likes, byte by byte. Has a coder of its own, so that
 * it can write what ours would refuse to.
 */
export class AttackerPeer implements AsyncDisposable {
  /** Settles when the other side closed. */
  readonly closed: Promise<void>
  /** Data messages that answer nothing of ours. */
  readonly heard: Readonly<Record<string, unknown>>[] = []
  readonly #wire: Wire
  readonly #replies = new Map<string, (reply: AttackerReply) => void>()
  readonly #welcome = Promise.withResolvers<Welcome>()
  #buffer: Buffer = Buffer.alloc(0)
  #name = ''

  private constructor(wire: Wire) {
    this.#wire = wire
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    wire.listen(
      (chunk) => this.#take(chunk),
      () => {
        closed.resolve()
        this.#welcome.resolve({ admitted: false, code: 'closed', reason: 'closed without a word' })
        for (const resolve of this.#replies.values()) resolve(CLOSED)
      },
    )
  }

  /** Dials and finishes the TLS handshake, as far as the dialler sees it. */
  static async dial(options: DialOptions): Promise<AttackerPeer> {
    const { port, identity, localAddress, clear, scheme = 'tcp', ca } = options
    if (scheme === 'tcp')
      return new AttackerPeer(
        clear === true
          ? await clearWire(port)
          : socketWire(await tlsSocket(port, identity, { localAddress })),
      )
    const tls = {
      ca: ca ?? identity?.tls.ca ?? '',
      cert: identity?.tls.cert,
      key: identity?.tls.key,
    }
    const mode = clear === true ? 'clear' : identity === undefined ? 'tls' : 'mtls'
    return new AttackerPeer(await driverWire(scheme, port, { mode, tls, serverName: 'localhost' }))
  }

  get name(): string {
    return this.#name
  }

  /** Greets as `name`; what a Hanse peer is told when it is refused is told to us too. */
  hello(name: string): Promise<Welcome> {
    this.#name = name
    this.write(helloFrame(name))
    return this.#welcome.promise
  }

  write(bytes: Uint8Array): void {
    this.#wire.write(bytes)
  }

  /** One message with headers that are complete and honest but for `headers`. */
  send(headers: Readonly<Record<string, unknown>>, payload: Uint8Array = new Uint8Array(0)): void {
    this.write(messageFrame(this.#name, headers, payload))
  }

  /** The same, and its answer; `closed` as return code if the connection ended instead. */
  request(
    headers: Readonly<Record<string, unknown>>,
    payload?: Uint8Array,
  ): Promise<AttackerReply> {
    const id = randomUUID()
    const answered = this.#answerTo(id)
    this.send({ cn__req_id: id, cn__reply_expected: true, ...headers }, payload)
    return answered
  }

  /** A request on a channel whose bodies travel as streams; short enough for one chunk. */
  streamed(
    channel: string,
    topic: string,
    stamp: Readonly<Record<string, unknown>>,
    payload: Uint8Array,
  ): Promise<AttackerReply> {
    const id = randomUUID()
    const answered = this.#answerTo(id)
    const stream = {
      cn__channel: 'sm__STREAM',
      cn__topic: 'sm__DATA',
      sm__id: randomBytes(6).readUIntBE(0, 6),
      sm__dt: 2,
      sm__sq: 0,
      sm__os: 0,
      sm__sz: payload.length,
      sm__ch: channel,
      sm__tp: topic,
      sm__ri: id,
      sm__pe: 'fobs',
    }
    this.send({ ...stream, ...stamp, cn__payload_encoding: 'bytes' }, payload)
    return answered
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wire.close()
    await this.closed
  }

  #answerTo(id: string): Promise<AttackerReply> {
    if (this.#wire.isClosed) return Promise.resolve(CLOSED)
    return new Promise((resolve) => this.#replies.set(id, resolve))
  }

  #take(chunk: Uint8Array): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    while (this.#buffer.length >= 16) {
      const length = this.#buffer.readUInt32BE(0)
      if (this.#buffer.length < length) return
      const frame = this.#buffer.subarray(0, length)
      this.#buffer = this.#buffer.subarray(length)
      this.#frame(frame)
    }
  }

  #frame(frame: Buffer): void {
    const headerEnd = 16 + frame.readUInt16BE(4)
    const payload = frame.subarray(headerEnd)
    switch (frame.readUInt8(6)) {
      case FRAME.ready:
        this.#ready(decode(payload) as Record<string, unknown>)
        break
      case FRAME.ping:
        this.write(frameOf(FRAME.pong, new Uint8Array(0), Uint8Array.of(0xc0)))
        break
      case FRAME.data:
        this.#message(decode(frame.subarray(16, headerEnd)) as Record<string, unknown>, payload)
        break
      default:
    }
  }

  #ready(greeting: Record<string, unknown>): void {
    const refusal = greeting['hanse_refused'] as { code: string; reason: string } | undefined
    this.#welcome.resolve(
      refusal === undefined ? { admitted: true } : { admitted: false, ...refusal },
    )
  }

  #message(headers: Record<string, unknown>, payload: Uint8Array): void {
    const ids = [headers['cn__req_id'], headers['sm__ri']].flat().map(String)
    const waiting = ids.find((id) => this.#replies.has(id))
    if (waiting === undefined) {
      this.heard.push(headers)
      return
    }
    this.#replies.get(waiting)?.({
      returnCode: String(headers['cn__return_code'] ?? 'ok'),
      error: String(headers['cn__error'] ?? ''),
      headers,
      payload,
    })
    this.#replies.delete(waiting)
  }
}
