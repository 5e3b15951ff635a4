/** How the parts of a body are to be read; `none` has no parts. */
export type BodyEncoding = 'fobs' | 'bytes' | 'none'

/** A message body as bytes: streams carry it, a codec of the cell makes and reads it. */
export interface EncodedBody {
  readonly encoding: BodyEncoding
  /** Consecutive; cut anywhere. */
  readonly parts: readonly Uint8Array[]
  /**
   * For whoever is done with a long body that was received, and with all views on it: its memory is used for the
   * next one. Absent if that is left to the garbage collector.
   */
  readonly release?: (() => void) | undefined
}

/** The body of a message without one. */
export const EMPTY_BODY: EncodedBody = { encoding: 'none', parts: [] }

/** Length of all parts in bytes. */
export function bytesIn(parts: readonly Uint8Array[]): number {
  let total = 0
  for (const part of parts) total += part.length
  return total
}
