import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { readInto } from './read-into.ts'

/** Read at a time at most. */
const CHUNK_BYTES = 256 * 1024

/**
 * Reads a stream to its end; of a socket, into the same memory again and again.
 * @param onChunk gets what came, borrowed for the call
 * @throws what `onChunk` threw, after which nothing more is read; or what broke the stream
 */
export function readChunks(stream: Duplex, onChunk: (chunk: Uint8Array) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let failed = false
  const take = (chunk: Uint8Array): void => {
    if (failed) return
    try {
      onChunk(chunk)
    } catch (error) {
      failed = true
      stream.pause()
      reject(error)
    }
  }
  stream.once('end', resolve)
  stream.once('close', resolve)
  stream.once('error', reject)
  const buffer = new Uint8Array(CHUNK_BYTES)
  const filled = (length: number): boolean => {
    take(buffer.subarray(0, length))
    return !failed
  }
  if (!(stream instanceof Socket && readInto(stream, { space: () => buffer, filled })))
    stream.on('data', take)
  else if (!failed) stream.resume()
  return promise
}
