import type { BytePart, StoredBytes } from '@hanse/contract'

/** How the parts of a body are to be read; `none` has no parts. */
export type BodyEncoding = 'fobs' | 'bytes' | 'none'

/** A body to be sent. */
export interface OutgoingBody {
  readonly encoding: BodyEncoding
  /** Consecutive; cut anywhere. */
  readonly parts: readonly BytePart[]
}

/** A message body as bytes: streams carry it, a codec of the cell makes and reads it. */
export interface EncodedBody extends OutgoingBody {
  readonly parts: readonly Uint8Array[]
  /** The whole body, for who asked for it to be stored; there are no parts then. To be released by its receiver. */
  readonly stored?: StoredBytes | undefined
  /**
   * For whoever is done with a long body that was received, and with all views on it: its memory is used for the
   * next one. Absent if that is left to the garbage collector.
   */
  readonly release?: (() => void) | undefined
}

/** The body of a message without one. */
export const EMPTY_BODY: EncodedBody = { encoding: 'none', parts: [] }

/** Length of all parts in bytes. */
export function bytesIn(parts: readonly BytePart[]): number {
  let total = 0
  for (const part of parts) total += part.byteLength
  return total
}
