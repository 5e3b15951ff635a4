/** Something to pack, or found packed. Paths are relative, with `/`, without trailing slash. */
export type ArchiveMember =
  | { readonly kind: 'folder'; readonly path: string }
  | {
      readonly kind: 'file'
      readonly path: string
      /** Octets. */
      readonly size: number
      /** Reads it from the beginning, each time it is called; the same octets each time. */
      read(): AsyncIterable<Uint8Array>
    }

/** A file that is in memory. */
export function memberOf(path: string, bytes: Uint8Array): ArchiveMember {
  return {
    kind: 'file',
    path,
    size: bytes.length,
    async *read() {
      yield bytes
    },
  }
}
