import type { AbortOptions } from '@hanse/contract'
import type { HeaderValue } from '../../src/headers.ts'
import type {
  IncomingPortMessage,
  MessagePort,
  OutgoingPortMessage,
  PortMessageHandler,
  UnreachableMessage,
} from '../../src/message-port.ts'
import type { ReturnCode } from '../../src/return-code.ts'

/** One message on its way, headers complete. */
export interface Letter {
  readonly from: string
  readonly to: string
  readonly channel: string
  readonly topic: string
  readonly headers: ReadonlyMap<string, HeaderValue>
  readonly payload: Uint8Array
  /** The parts as they were handed to the port, to see what was copied. */
  readonly parts: readonly Uint8Array[]
}

/** Cells' ports without cells: delivers in order, unless the test says otherwise. */
export class MemoryNetwork {
  readonly ports = new Map<string, MemoryPort>()
  /** Everything that was sent, also what was not delivered. */
  readonly log: Letter[] = []
  /** Returns what is delivered instead of the letter; `undefined`: the letter itself. */
  intercept: ((letter: Letter) => readonly Letter[] | undefined) | undefined
  /** Cells without a route. */
  readonly unreachable = new Set<string>()

  port(fqcn: string): MemoryPort {
    const port = new MemoryPort(fqcn, this)
    this.ports.set(fqcn, port)
    return port
  }

  post(letter: Letter): ReturnCode {
    this.log.push(letter)
    if (this.unreachable.has(letter.to) || !this.ports.has(letter.to)) return 'target_unreachable'
    for (const copy of this.intercept?.(letter) ?? [letter]) this.deliver(copy)
    return 'ok'
  }

  deliver(letter: Letter): void {
    queueMicrotask(() => this.ports.get(letter.to)?.take(letter))
  }

  loseLinks(fqcn: string): void {
    this.unreachable.add(fqcn)
    for (const port of this.ports.values()) for (const handler of port.linkLost) handler(fqcn)
  }

  sent(topic: string, from?: string): Letter[] {
    return this.log.filter(
      (letter) => letter.topic === topic && (from === undefined || letter.from === from),
    )
  }
}

export class MemoryPort implements MessagePort {
  readonly fqcn: string
  readonly linkLost: ((fqcn: string) => void)[] = []
  readonly wayLostHandlers: ((isBehind: (fqcn: string) => boolean) => void)[] = []
  readonly unreachableHandlers = new Map<string, (message: UnreachableMessage) => void>()
  /** Everything this port received, for ports without a cell behind them. */
  readonly inbox: Letter[] = []
  /** While set, `send` waits: the first hop takes nothing. */
  gate: Promise<void> | undefined
  readonly #network: MemoryNetwork
  readonly #handlers = new Map<string, PortMessageHandler>()

  constructor(fqcn: string, network: MemoryNetwork) {
    this.fqcn = fqcn
    this.#network = network
  }

  async send(message: OutgoingPortMessage, { signal }: AbortOptions = {}): Promise<ReturnCode> {
    signal?.throwIfAborted()
    if (this.gate !== undefined) {
      const aborted = new Promise<never>((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
      await Promise.race([this.gate, aborted])
    }
    const headers = new Map<string, HeaderValue>(message.headers)
    headers.set('cn__origin', this.fqcn)
    headers.set('cn__destination', message.destination)
    headers.set('cn__channel', message.channel)
    headers.set('cn__topic', message.topic)
    headers.set('cn__secure', message.secure ?? false)
    headers.set('cn__optional', message.optional ?? false)
    return this.#network.post({
      from: this.fqcn,
      to: message.destination,
      channel: message.channel,
      topic: message.topic,
      headers,
      payload: joined(message.payload),
      parts: message.payload,
    })
  }

  receive(channel: string, topic: string, handler: PortMessageHandler): void {
    this.#handlers.set(`${channel}:${topic}`, handler)
  }

  onUnreachable(channel: string, handler: (message: UnreachableMessage) => void): void {
    this.unreachableHandlers.set(channel, handler)
  }

  canReach(destination: string): boolean {
    return !this.#network.unreachable.has(destination)
  }

  onWayLost(handler: (isBehind: (fqcn: string) => boolean) => void): void {
    this.wayLostHandlers.push(handler)
  }

  onLinkLost(handler: (fqcn: string) => void): void {
    this.linkLost.push(handler)
  }

  take(letter: Letter): void {
    this.inbox.push(letter)
    const handler =
      this.#handlers.get(`${letter.channel}:${letter.topic}`) ??
      this.#handlers.get(`${letter.channel}:*`)
    const message: IncomingPortMessage = {
      origin: letter.from,
      headers: letter.headers,
      payload: letter.payload,
      link: undefined,
    }
    void handler?.(message)
  }
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
