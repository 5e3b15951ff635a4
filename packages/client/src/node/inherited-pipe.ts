import { Socket } from 'node:net'
import { releaseMemory } from '@hanse/contract'
import type { ByteChannel } from '../trainer-session.ts'

/** Each chunk is borrowed until the next is asked for: then its memory is free at once. */
async function* readChunks(socket: Socket): AsyncGenerator<Uint8Array> {
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    yield chunk
    releaseMemory(chunk)
  }
}

/** The pipe that the site left open for us under descriptor `fd`, as a channel. */
export function openInheritedPipe(fd: number): ByteChannel {
  const socket = new Socket({ fd, readable: true, writable: true })
  socket.unref()
  // Reading ends on an error too; without a listener it would end the program instead.
  socket.on('error', () => {})
  return {
    chunks: readChunks(socket),
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
