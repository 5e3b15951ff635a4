import { readFileSync } from 'node:fs'

export interface Piece {
  readonly direction: 'active->passive' | 'passive->active'
  readonly bytes: Uint8Array
}

interface VectorFile {
  readonly http: readonly { direction: Piece['direction']; hex: string }[]
  readonly grpc: readonly { direction: Piece['direction']; hex: string }[]
}

/** What two stock cells said to each other, from connecting to the reply to a first request. */
export function handshakeVectors(driver: 'http' | 'grpc'): Piece[] {
  const path = new URL('../../../vectors/driver_handshakes.json', import.meta.url)
  // Our own file, checked in beside this test.
  const file = JSON.parse(readFileSync(path, 'utf8')) as VectorFile
  return file[driver].map(({ direction, hex }) => ({ direction, bytes: Buffer.from(hex, 'hex') }))
}
