import type { CellError } from '../cell-error.ts'
import type { MessageHeaders } from '../headers.ts'
import type { PeerLink } from '../peer-link.ts'

/** Told to the receiver when its reader has made room or gone away. */
export interface ByteStreamOwner {
  onConsumed(bytes: number): void
  onAbandoned(): void
}

/**
 * A byte stream as its consumer sees it; iterate once. Reading is what acknowledges: a consumer that stops
 * reading stops the sender at its window. Breaking out of the loop fails the stream.
 */
export class IncomingByteStream implements AsyncIterable<Uint8Array> {
  readonly origin: string
  readonly channel: string
  readonly topic: string
  /** Headers of the first chunk. */
  readonly headers: MessageHeaders
  /** Declared length in bytes; `undefined` if the sender did not know it. */
  readonly size: number | undefined
  readonly link: PeerLink | undefined
  readonly #owner: ByteStreamOwner
  readonly #queue: Uint8Array[] = []
  #unreadBytes = 0
  #ended = false
  #failure: CellError | undefined
  #wake: (() => void) | undefined
  #taken = false

  constructor(
    facts: {
      origin: string
      channel: string
      topic: string
      headers: MessageHeaders
      size: number | undefined
      link: PeerLink | undefined
    },
    owner: ByteStreamOwner,
  ) {
    this.origin = facts.origin
    this.channel = facts.channel
    this.topic = facts.topic
    this.headers = facts.headers
    this.size = facts.size
    this.link = facts.link
    this.#owner = owner
  }

  /** Bytes that arrived in order and were not read yet. */
  get unreadBytes(): number {
    return this.#unreadBytes
  }

  /** For the receiver: the next bytes in order; takes them over. */
  push(chunk: Uint8Array): void {
    this.#queue.push(chunk)
    this.#unreadBytes += chunk.length
    this.#wake?.()
  }

  /** For the receiver: nothing more follows. */
  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** For the receiver: the reader's loop throws `error`, whatever is still unread. */
  fail(error: CellError): void {
    this.#failure ??= error
    this.#queue.length = 0
    this.#unreadBytes = 0
    this.#wake?.()
  }

  /** @throws {CellError} if the stream breaks off */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#taken) throw new TypeError('a byte stream can be read only once')
    this.#taken = true
    let finished = false
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure
        const chunk = this.#queue.shift()
        if (chunk !== undefined) {
          this.#unreadBytes -= chunk.length
          this.#owner.onConsumed(chunk.length)
          yield chunk
          continue
        }
        if (this.#ended) {
          finished = true
          return
        }
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        await promise
        this.#wake = undefined
      }
    } finally {
      if (!finished && this.#failure === undefined) this.#owner.onAbandoned()
    }
  }
}
