import { type BytePart, stretchOf } from '@hanse/contract'

/** What a stream sends: a body in consecutive parts, or bytes that come as they are made. */
export type StreamSource = readonly BytePart[] | AsyncIterable<Uint8Array>

/** One chunk to be sent, as views on the source: nothing is copied, what is stored stays there. */
export interface Chunk {
  readonly parts: readonly BytePart[]
  readonly bytes: number
  readonly final: boolean
}

/**
 * Cuts a source into chunks of exactly `chunkBytes`; the last one may be shorter and is marked. A chunk is
 * yielded only once more data or the end is known, so there is no empty trailer; an empty source gives one
 * empty final chunk.
 */
export async function* chunksOf(source: StreamSource, chunkBytes: number): AsyncGenerator<Chunk> {
  let parts: BytePart[] = []
  let bytes = 0
  for await (const part of source) {
    for (let at = 0; at < part.byteLength; ) {
      if (bytes === chunkBytes) {
        yield { parts, bytes, final: false }
        parts = []
        bytes = 0
      }
      const taken = Math.min(chunkBytes - bytes, part.byteLength - at)
      parts.push(
        part instanceof Uint8Array ? part.subarray(at, at + taken) : stretchOf(part, at, taken),
      )
      bytes += taken
      at += taken
    }
  }
  yield { parts, bytes, final: true }
}
