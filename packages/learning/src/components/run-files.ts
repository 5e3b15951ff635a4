/** Files of a run, given by paths with `/` relative to its folder. The supplier refuses paths that leave it. */
export interface RunFiles {
  /** Replaces the file as a whole: readers see the old content or all of the new one. */
  write(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>
  /** Adds to the end of the file, which appears if it is new. */
  append(path: string, bytes: Uint8Array): Promise<void>
  /** Deletes the file, if it is there. */
  remove(path: string): Promise<void>
  /** The whole file; `undefined` when there is none. */
  read(path: string): Promise<Uint8Array | undefined>
  /** A file that came with the job, below its `custom/`; `undefined` when there is none. */
  readCustom(path: string): Promise<Uint8Array | undefined>
}
