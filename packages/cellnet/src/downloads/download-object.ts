import type { AbortOptions, BytePart } from '@hanse/contract'
import type { ItemOptions } from '@hanse/fobs'
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
      /**
       * Item `index` on the wire, in consecutive parts: views on what the object holds anyway, since it is asked for by
       * each receiver. Must give the same bytes each time for the same options.
       */
      item(index: number, options: ItemOptions): readonly BytePart[] | Promise<readonly BytePart[]>
      /** Bytes of one reply, which holds at least one item however long; default 2 MiB. */
      readonly pieceBytes?: number | undefined
    }

/** What one pull gets: a piece, or the end. `undefined`: the state makes no sense for this object. */
export type Produced =
  | {
      readonly end: false
      readonly state: DownloadState
      readonly data: readonly (readonly BytePart[])[]
    }
  | { readonly end: true }

const BYTES_PIECE = 5 * 1024 * 1024
const ITEMS_PIECE = 2 * 1024 * 1024

/** Produces the pieces of one object. The same state gives the same piece: that is how receivers retry. */
export interface PieceProducer {
  /** @returns `undefined` for a state that does not fit the object */
  produce(
    state: DownloadState | undefined,
    options?: ItemOptions & AbortOptions,
  ): Promise<Produced | undefined>
}

/** The producer that fits the object's kind. */
export function createPieceProducer(object: DownloadObject): PieceProducer {
  return object.kind === 'bytes' ? new BytesProducer(object) : new ItemsProducer(object)
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
}

class ItemsProducer implements PieceProducer {
  readonly #object: Extract<DownloadObject, { kind: 'items' }>

  constructor(object: Extract<DownloadObject, { kind: 'items' }>) {
    this.#object = object
  }

  async produce(
    state: DownloadState | undefined,
    options: ItemOptions = {},
  ): Promise<Produced | undefined> {
    if (state !== undefined && state.kind !== 'items') return undefined
    const start = state === undefined ? 0 : state.start + state.count
    const { count, pieceBytes = ITEMS_PIECE } = this.#object
    if (start >= count) return { end: true }
    const data: (readonly BytePart[])[] = []
    let bytes = 0
    for (let index = start; index < count; index++) {
      const parts = await this.#object.item(index, options)
      const length = bytesIn(parts)
      if (data.length > 0 && bytes + length > pieceBytes) break
      data.push(parts)
      bytes += length
      if (bytes >= pieceBytes) break
    }
    return { end: false, state: { kind: 'items', start, count: data.length }, data }
  }
}
