import { Socket } from 'node:net'
import type { ByteChannel } from '../trainer-session.ts'

/** Read at a time, into the same memory again and again: new memory for each would cost more than the reading. */
const CHUNK_BYTES = 256 * 1024

/** The pipe that the site left open for us under descriptor `fd`, as a channel. */
export function openInheritedPipe(fd: number): ByteChannel {
  const buffer = new Uint8Array(CHUNK_BYTES)
  /** Length of the chunk that is in the buffer; 0 at the end. */
  let arrival = Promise.withResolvers<number>()
  const socket = new Socket({
    fd,
    readable: true,
    writable: true,
    onread: {
      buffer,
      callback(length) {
        arrival.resolve(length)
        return false // no more before the buffer is free again
      },
    },
  })
  socket.unref()
  socket.on('end', () => arrival.resolve(0))
  socket.on('close', () => arrival.resolve(0))
  socket.on('error', (error) => arrival.reject(error))
  // Nobody may be reading; then the error is seen by who writes.
  arrival.promise.catch(() => {})
  async function* read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const length = await arrival.promise
      if (length === 0) return
      yield buffer.subarray(0, length)
      arrival = Promise.withResolvers()
      arrival.promise.catch(() => {})
      if (socket.destroyed) return
      socket.resume()
    }
  }
  return {
    chunks: read(),
    write: (parts) =>
      new Promise((resolve, reject) => {
        socket.cork()
        for (const part of parts.slice(0, -1)) socket.write(part)
        socket.write(parts.at(-1)!, (error) => (error ? reject(error) : resolve()))
        socket.uncork()
      }),
    hold: (waiting) => (waiting ? socket.ref() : socket.unref()),
    close: () => socket.destroySoon(),
  }
}
