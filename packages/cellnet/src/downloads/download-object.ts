import type { AbortOptions, BytePart } from '@hanse/contract'
import { bytesIn } from '../streams/encoded-body.ts'
import type { DownloadState } from './download-messages.ts'

/** Bytes that can be read from any place: a file, a blob in a store. */
export interface ByteSource {
  readonly size: number
  /** Exactly `length` bytes from `offset`; both lie within `size`. The result is the caller's. */
  read(offset: number, length: number, options?: AbortOptions): Promise<Uint8Array>
}

/** Something that receivers pull piece by piece under one reference. */
export type DownloadObject =
  | {
      readonly kind: 'bytes'
      readonly source: ByteSource
      /** Default 5 MiB. */
      readonly pieceBytes?: number | undefined
    }
  | {
      readonly kind: 'items'
      readonly count: number
      /** Item `index` on the wire, in consecutive parts. Must give the same bytes each time. */
      item(index: number): readonly BytePart[] | Promise<readonly BytePart[]>
      /** Bytes of one reply, which holds at least one item however long; default 2 MiB. */
      readonly pieceBytes?: number | undefined
      /** Parts are views on memory that the object holds anyway, so keeping them costs nothing. */
      readonly borrowsItems?: boolean | undefined
    }

/** What one pull gets: a piece, or the end. `undefined`: the state makes no sense for this object. */
export type Produced =
  | {
      readonly end: false
      readonly state: DownloadState
      readonly data: readonly (readonly BytePart[])[]
    }
  | { readonly end: true }

/** Memory for items kept for receivers that still need them; shared by all objects of a cell. */
export interface ItemCacheBudget {
  usedBytes: number
  readonly maxBytes: number
}

const BYTES_PIECE = 5 * 1024 * 1024
const ITEMS_PIECE = 2 * 1024 * 1024

/** Produces the pieces of one object. The same state gives the same piece: that is how receivers retry. */
export interface PieceProducer {
  /** @returns `undefined` for a state that does not fit the object */
  produce(state: DownloadState | undefined, options?: AbortOptions): Promise<Produced | undefined>
  /** Every receiver has all items below `index`. */
  releaseBefore(index: number): void
  /** Nobody will ask any more. */
  close(): void
}

/** The producer that fits the object's kind. */
export function createPieceProducer(object: DownloadObject, cache: ItemCacheBudget): PieceProducer {
  return object.kind === 'bytes' ? new BytesProducer(object) : new ItemsProducer(object, cache)
}

class BytesProducer implements PieceProducer {
  readonly #source: ByteSource
  readonly #pieceBytes: number

  constructor(object: Extract<DownloadObject, { kind: 'bytes' }>) {
    this.#source = object.source
    this.#pieceBytes = object.pieceBytes ?? BYTES_PIECE
  }

  async produce(
    state: DownloadState | undefined,
    options?: AbortOptions,
  ): Promise<Produced | undefined> {
    if (state !== undefined && state.kind !== 'bytes') return undefined
    const offset = state?.receivedBytes ?? 0
    const left = this.#source.size - offset
    if (left <= 0) return { end: true }
    const length = Math.min(this.#pieceBytes, left)
    const bytes = await this.#source.read(offset, length, options)
    if (bytes.length !== length)
      throw new RangeError(`the source gave ${bytes.length} bytes instead of ${length}`)
    return {
      end: false,
      state: { kind: 'bytes', receivedBytes: offset + length },
      data: [[bytes]],
    }
  }

  releaseBefore(): void {}

  close(): void {}
}

class ItemsProducer implements PieceProducer {
  readonly #object: Extract<DownloadObject, { kind: 'items' }>
  readonly #cache: ItemCacheBudget
  /** Items made and not yet passed by all; a promise, so that receivers at the same place share the work. */
  readonly #items = new Map<number, Promise<readonly BytePart[]>>()
  readonly #charged = new Map<number, number>()
  #released = 0

  constructor(object: Extract<DownloadObject, { kind: 'items' }>, cache: ItemCacheBudget) {
    this.#object = object
    this.#cache = cache
  }

  async produce(state: DownloadState | undefined): Promise<Produced | undefined> {
    if (state !== undefined && state.kind !== 'items') return undefined
    const start = state === undefined ? 0 : state.start + state.count
    const { count, pieceBytes = ITEMS_PIECE } = this.#object
    if (start >= count) return { end: true }
    const data: (readonly BytePart[])[] = []
    let bytes = 0
    for (let index = start; index < count; index++) {
      const parts = await this.#item(index)
      const length = bytesIn(parts)
      if (data.length > 0 && bytes + length > pieceBytes) break
      data.push(parts)
      bytes += length
      if (bytes >= pieceBytes) break
    }
    return { end: false, state: { kind: 'items', start, count: data.length }, data }
  }

  releaseBefore(index: number): void {
    for (; this.#released < index; this.#released++) this.#drop(this.#released)
  }

  close(): void {
    for (const index of [...this.#items.keys()]) this.#drop(index)
  }

  #item(index: number): Promise<readonly BytePart[]> {
    const known = this.#items.get(index)
    if (known !== undefined) return known
    const made = this.#make(index)
    this.#items.set(index, made)
    made.catch(() => this.#drop(index)) // A failure is not kept: the next pull tries again.
    return made
  }

  async #make(index: number): Promise<readonly BytePart[]> {
    const parts = await this.#object.item(index)
    if (this.#object.borrowsItems === true) return parts
    const bytes = bytesIn(parts)
    if (this.#cache.usedBytes + bytes > this.#cache.maxBytes || index < this.#released) {
      this.#items.delete(index) // No room: it is made again for the next receiver.
      return parts
    }
    this.#cache.usedBytes += bytes
    this.#charged.set(index, bytes)
    return parts
  }

  #drop(index: number): void {
    this.#items.delete(index)
    this.#cache.usedBytes -= this.#charged.get(index) ?? 0
    this.#charged.delete(index)
  }
}
