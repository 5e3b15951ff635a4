import type { BodyMemory } from './body-memory.ts'

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
 * buffer, into which all further chunks are copied: it is never in memory twice, and comes out as one part.
 */
export class PartList {
  readonly #memory: BodyMemory | undefined
  readonly #parts: Part[] = []
  #expected: ExpectedBody | undefined
  /** The whole body; filled up to `#length`. */
  #whole: Uint8Array | undefined
  #block: Uint8Array | undefined
  #blockUsed = 0
  #length = 0

  /** @param memory for bodies whose length is known; default: new memory for each */
  constructor(memory?: BodyMemory) {
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

  /**
   * Takes over `chunk`.
   * @param release called once its bytes were copied, if ever; nothing looks at the chunk from then on
   */
  push(chunk: Uint8Array, release?: () => void): void {
    const { length } = chunk
    if (this.#whole !== undefined) {
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
    if (expected === undefined || this.#whole !== undefined || this.#length === 0) return
    if (this.#length < expected.bytes * GATHER_SHARE) return
    this.#closeBlock()
    const head = this.#parts[0]!.bytes // something was pushed
    const start = -(expected.alignedAt?.(head) ?? 0) & (ALIGNMENT - 1)
    // Zeroed by the system page by page when it is first written, or what another body left there: never shown.
    const room = this.#memory?.take(start + expected.bytes) ?? start + expected.bytes
    const whole =
      typeof room === 'number'
        ? new Uint8Array(room).subarray(start)
        : new Uint8Array(room, start, expected.bytes)
    let at = 0
    for (const { bytes, release } of this.#parts.splice(0)) {
      whole.set(bytes, at)
      at += bytes.length // before its memory is gone
      release?.()
    }
    this.#whole = whole
  }

  #closeBlock(): void {
    if (this.#block === undefined) return
    if (this.#blockUsed > 0)
      this.#parts.push({ bytes: this.#block.subarray(0, this.#blockUsed), release: undefined })
    this.#block = undefined
    this.#blockUsed = 0
  }
}
