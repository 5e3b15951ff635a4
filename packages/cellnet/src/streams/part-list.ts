import type { ByteStore, ReservedBytes, SpareMemory, StoredBytes } from '@hanse/contract'

/** Chunks shorter than this are copied together. */
const SMALL_BYTES = 64 * 1024
/** A body gets its whole memory only after this part of it came: nobody makes us take much for little. */
const GATHER_SHARE = 1 / 8
/** What typed arrays, and whatever reads memory in lines, are glad of. */
const ALIGNMENT = 64

/** A body whose length is known and may be taken into memory. */
export interface ExpectedBody {
  readonly bytes: number
  /**
   * The place in the body that should come to lie at a multiple of 64 in memory.
   * @param head the body's first bytes, at least one
   */
  readonly alignedAt?: ((head: Uint8Array) => number) | undefined
}

interface Part {
  readonly bytes: Uint8Array
  readonly release: (() => void) | undefined
}

/**
 * Collects a body as a list of parts. Chunks of 64 KiB and more are kept as they are (views on the received
 * frame); shorter ones are copied into blocks of 64 KiB, since a short view would keep a long frame alive and a
 * peer could make us hold many times what it sent.
 *
 * Once the body is {@link PartList.expect | expected} and an eighth of it is there, it is put together in one
 * buffer, into which all further chunks are copied: it is never in memory twice, and comes out as one part. A body
 * that is to be stored leaves memory chunk by chunk instead.
 */
export class PartList {
  readonly #memory: SpareMemory | undefined
  readonly #parts: Part[] = []
  #expected: ExpectedBody | undefined
  /** The whole body; filled up to `#length`. */
  #whole: Uint8Array | undefined
  /** Likewise. */
  #stored: ReservedBytes | undefined
  #block: Uint8Array | undefined
  #blockUsed = 0
  #length = 0

  /** @param memory for bodies whose length is known; default: new memory for each */
  constructor(memory?: SpareMemory) {
    this.#memory = memory
  }

  /** Bytes collected so far. */
  get length(): number {
    return this.#length
  }

  /** Says how much will come in all: from now on there is room for it, and never more is pushed. */
  expect(body: ExpectedBody): void {
    this.#expected = body
    this.#gatherIfDue()
  }

  /** The same for a body of which nothing came yet, and which goes to `store` as it comes. */
  expectStored(body: ExpectedBody, store: ByteStore): void {
    this.#expected = body
    this.#stored = store.reserve(body.bytes)
  }

  /** Brings what was stored into memory, where the rest will go too. */
  bringBack(): void {
    const stored = this.#stored
    const expected = this.#expected
    if (stored === undefined || expected === undefined) return
    const head = new Uint8Array(Math.min(this.#length, SMALL_BYTES))
    stored.read(head, 0)
    const whole = this.#room(expected, head)
    stored.read(whole.subarray(0, this.#length), 0)
    stored.release()
    this.#stored = undefined
    this.#whole = whole
  }

  /**
   * Takes over `chunk`, unless it throws what the store threw: it is not taken then.
   * @param release called once its bytes were copied, if ever; nothing looks at the chunk from then on
   */
  push(chunk: Uint8Array, release?: () => void): void {
    const { length } = chunk
    if (this.#stored !== undefined) {
      this.#stored.write(chunk, this.#length)
      release?.()
    } else if (this.#whole !== undefined) {
      this.#whole.set(chunk, this.#length)
      release?.()
    } else if (length >= SMALL_BYTES) {
      this.#closeBlock()
      this.#parts.push({ bytes: chunk, release })
    } else {
      this.#copySmall(chunk)
      release?.()
    }
    this.#length += length
    this.#gatherIfDue()
  }

  /** Gives the memory of a body that {@link take} handed over in one part back; every view on it is empty then. */
  get release(): (() => void) | undefined {
    const memory = this.#memory
    const buffer = this.#whole?.buffer
    if (memory === undefined || !(buffer instanceof ArrayBuffer)) return undefined
    return () => memory.giveBack(buffer)
  }

  /** Hands over a body that went to its store; the list is empty afterwards. */
  takeStored(): StoredBytes | undefined {
    const stored = this.#stored
    if (stored === undefined) return undefined
    this.#stored = undefined
    this.#expected = undefined
    this.#length = 0
    return stored
  }

  /** Hands over the parts; the list is empty afterwards. */
  take(): Uint8Array[] {
    this.#closeBlock()
    const parts = this.#parts.splice(0).map(({ bytes }) => bytes)
    if (this.#whole !== undefined) parts.push(this.#whole.subarray(0, this.#length))
    this.#whole = undefined
    this.#expected = undefined
    this.#length = 0
    return parts
  }

  #copySmall(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.length > 0) {
      this.#block ??= new Uint8Array(SMALL_BYTES)
      const room = this.#block.length - this.#blockUsed
      const taken = rest.subarray(0, room)
      this.#block.set(taken, this.#blockUsed)
      this.#blockUsed += taken.length
      rest = rest.subarray(taken.length)
      if (this.#blockUsed === this.#block.length) this.#closeBlock()
    }
  }

  #gatherIfDue(): void {
    const expected = this.#expected
    if (expected === undefined || this.#length === 0) return
    if (this.#whole !== undefined || this.#stored !== undefined) return
    if (this.#length < expected.bytes * GATHER_SHARE) return
    this.#closeBlock()
    const head = this.#parts[0]!.bytes // something was pushed
    const whole = this.#room(expected, head)
    let at = 0
    for (const { bytes, release } of this.#parts.splice(0)) {
      whole.set(bytes, at)
      at += bytes.length // before its memory is gone
      release?.()
    }
    this.#whole = whole
  }

  #room({ bytes, alignedAt }: ExpectedBody, head: Uint8Array): Uint8Array {
    const start = -(alignedAt?.(head) ?? 0) & (ALIGNMENT - 1)
    // Zeroed by the system page by page when it is first written, or what another body left there: never shown.
    const room = this.#memory?.take(start + bytes) ?? new ArrayBuffer(start + bytes)
    return new Uint8Array(room, start, bytes)
  }

  #closeBlock(): void {
    if (this.#block === undefined) return
    if (this.#blockUsed > 0)
      this.#parts.push({ bytes: this.#block.subarray(0, this.#blockUsed), release: undefined })
    this.#block = undefined
    this.#blockUsed = 0
  }
}
