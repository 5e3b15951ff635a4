/** Bytes of one contribution, outside of memory. Disposing deletes them. */
export interface Spool extends AsyncDisposable {
  /** Adds at the end. `bytes` are borrowed until the promise resolves. */
  append(bytes: Uint8Array): Promise<void>
  /** Exactly `length` bytes from `offset`, in a buffer of the caller's own; rejects past the end. */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** Makes spools, for example files in the job's folder. */
export interface SpoolFactory {
  create(name: string): Promise<Spool>
}
