import type { Socket } from 'node:net'

export interface ReadInto {
  /** Where the next bytes are to be read to; at least one long. Asked for after every read. */
  space(): Uint8Array
  /** So many bytes are in the last {@link space}. @returns false to read no more before the socket is resumed */
  filled(length: number): boolean
}

/**
 * Lets a socket read straight into memory of ours, instead of into new memory for every read. Node does that by its
 * `onread` option for sockets that one makes oneself; those that come from a listener, from TLS on top of another
 * socket or from a child process are set up in the same way here, from outside. What came before is put there first;
 * resuming the socket is left to the caller.
 * @returns false if this version of Node keeps its settings elsewhere: nothing was changed then
 */
export function readInto(socket: Socket, { space, filled }: ReadInto): boolean {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return false
  const useUserBuffer: unknown = Reflect.get(handle, 'useUserBuffer')
  const symbols = new Map(
    Object.getOwnPropertySymbols(socket).map((symbol) => [symbol.description, symbol]),
  )
  const buffer = symbols.get('kBuffer')
  const callback = symbols.get('kBufferCb')
  const next = symbols.get('kBufferGen')
  if (typeof useUserBuffer !== 'function') return false
  if (buffer === undefined || callback === undefined || next === undefined) return false
  putEarly(socket.read(), { space, filled })
  const first = space()
  Reflect.set(socket, buffer, first)
  Reflect.set(socket, callback, filled)
  Reflect.set(socket, next, space)
  Reflect.apply(useUserBuffer, handle, [first])
  return true
}

/** What the stream itself took charge of, before anybody asked. */
function putEarly(early: Uint8Array | null, { space, filled }: ReadInto): void {
  for (let rest = early ?? new Uint8Array(0); rest.length > 0; ) {
    const place = space()
    const piece = rest.subarray(0, place.length)
    place.set(piece)
    filled(piece.length)
    rest = rest.subarray(piece.length)
  }
}
