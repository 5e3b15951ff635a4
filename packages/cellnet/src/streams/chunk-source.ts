/** What a stream sends: a body in consecutive parts, or bytes that come as they are made. */
export type StreamSource = readonly Uint8Array[] | AsyncIterable<Uint8Array>

/** One chunk to be sent, as views on the source's buffers: nothing is copied. */
export interface Chunk {
  readonly parts: readonly Uint8Array[]
  readonly bytes: number
  readonly final: boolean
}

/**
 * Cuts a source into chunks of exactly `chunkBytes`; the last one may be shorter and is marked. A chunk is
 * yielded only once more data or the end is known, so there is no empty trailer; an empty source gives one
 * empty final chunk.
 */
export async function* chunksOf(source: StreamSource, chunkBytes: number): AsyncGenerator<Chunk> {
  let parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of source) {
    let rest = part
    while (rest.length > 0) {
      if (bytes === chunkBytes) {
        yield { parts, bytes, final: false }
        parts = []
        bytes = 0
      }
      const taken = rest.subarray(0, chunkBytes - bytes)
      parts.push(taken)
      bytes += taken.length
      rest = rest.subarray(taken.length)
    }
  }
  yield { parts, bytes, final: true }
}
