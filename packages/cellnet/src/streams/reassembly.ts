import { CellError } from '../cell-error.ts'

const COPY_BELOW_BYTES = 64 * 1024

/** One chunk as it arrived. */
export interface ArrivedChunk {
  readonly sequence: number
  readonly offset: number
  readonly final: boolean
  readonly payload: Uint8Array
}

/**
 * Puts the chunks of one stream into order (`spec/streaming.md` §4.2). Stricter than the reference: offsets must
 * be those of the bytes before, nothing may follow FINAL, and the declared size must be met exactly.
 */
export class Reassembly {
  readonly #declaredBytes: number
  readonly #maxBytes: number
  readonly #maxParked: number
  readonly #parked = new Map<number, ArrivedChunk>()
  #nextSequence = 0
  #receivedBytes = 0
  #parkedBytes = 0
  #finalSequence: number | undefined
  #complete = false

  /**
   * @param declaredBytes from the headers; 0 if unknown
   * @param maxBytes most bytes taken, whatever was declared
   */
  constructor(declaredBytes: number, maxBytes: number, maxParked: number) {
    this.#declaredBytes = declaredBytes
    this.#maxBytes = maxBytes
    this.#maxParked = maxParked
  }

  /** Bytes in order, without gaps. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  get parkedBytes(): number {
    return this.#parkedBytes
  }

  /** Sequence number of the last chunk in order; −1 before the first. */
  get lastSequence(): number {
    return this.#nextSequence - 1
  }

  /** FINAL and everything before it is there. */
  get complete(): boolean {
    return this.#complete
  }

  /**
   * Takes over one chunk.
   * @returns the payloads that are now in order, possibly none; `undefined` for a duplicate
   * @throws {CellError} `ERR_STREAM_ORDER`, `ERR_STREAM_SIZE`, `ERR_STREAM_LIMIT`; the stream is then lost
   */
  accept(chunk: ArrivedChunk): readonly Uint8Array[] | undefined {
    if (chunk.sequence < this.#nextSequence) return undefined
    this.#checkEnd(chunk)
    if (chunk.sequence > this.#nextSequence) return this.#park(chunk)

    const ordered: Uint8Array[] = []
    let next: ArrivedChunk | undefined = chunk
    while (next !== undefined) {
      this.#append(next)
      if (next.payload.length > 0) ordered.push(next.payload)
      next = this.#parked.get(this.#nextSequence)
      if (next !== undefined) {
        this.#parked.delete(this.#nextSequence)
        this.#parkedBytes -= next.payload.length
      }
    }
    return ordered
  }

  #checkEnd(chunk: ArrivedChunk): void {
    const end = this.#finalSequence
    if (end !== undefined && (chunk.sequence > end || (chunk.final && chunk.sequence !== end)))
      throw new CellError(
        'ERR_STREAM_ORDER',
        `chunk ${chunk.sequence} comes after FINAL, which is chunk ${end}`,
      )
    if (!chunk.final) {
      if (chunk.payload.length === 0)
        throw new CellError('ERR_STREAM_ORDER', `chunk ${chunk.sequence} is empty but not FINAL`)
      return
    }
    for (const parked of this.#parked.keys())
      if (parked > chunk.sequence)
        throw new CellError(
          'ERR_STREAM_ORDER',
          `FINAL is chunk ${chunk.sequence}, but chunk ${parked} was sent too`,
        )
    this.#finalSequence = chunk.sequence
  }

  #park(chunk: ArrivedChunk): readonly Uint8Array[] | undefined {
    if (this.#parked.has(chunk.sequence)) return undefined
    if (this.#parked.size >= this.#maxParked)
      throw new CellError(
        'ERR_STREAM_LIMIT',
        `more than ${this.#maxParked} chunks came ahead of chunk ${this.#nextSequence}`,
      )
    // A short view would keep the whole frame it arrived in alive.
    const payload = chunk.payload.length < COPY_BELOW_BYTES ? chunk.payload.slice() : chunk.payload
    this.#parked.set(chunk.sequence, { ...chunk, payload })
    this.#parkedBytes += chunk.payload.length
    return []
  }

  #append(chunk: ArrivedChunk): void {
    if (chunk.offset !== this.#receivedBytes)
      throw new CellError(
        'ERR_STREAM_ORDER',
        `chunk ${chunk.sequence} claims offset ${chunk.offset}, but ${this.#receivedBytes} bytes came before it`,
      )
    const total = this.#receivedBytes + chunk.payload.length
    const allowed = this.#declaredBytes > 0 ? this.#declaredBytes : this.#maxBytes
    if (total > allowed)
      throw new CellError(
        'ERR_STREAM_SIZE',
        `the stream has at least ${total} bytes, ${allowed} were ${this.#declaredBytes > 0 ? 'declared' : 'allowed'}`,
      )
    if (chunk.final && this.#declaredBytes > 0 && total !== this.#declaredBytes)
      throw new CellError(
        'ERR_STREAM_SIZE',
        `the stream ended after ${total} bytes, ${this.#declaredBytes} were declared`,
      )
    this.#receivedBytes = total
    this.#nextSequence += 1
    this.#complete = chunk.final
  }
}
