import type { RunFiles } from '../src/components/run-files.ts'

/** A run's folder in memory. */
export class MemoryFiles implements RunFiles {
  readonly content = new Map<string, Uint8Array>()
  readonly custom = new Map<string, Uint8Array>()

  async write(
    path: string,
    parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const all: Uint8Array[] = []
    for await (const part of parts) all.push(part)
    this.content.set(path, new Uint8Array(Buffer.concat(all)))
  }

  async append(path: string, bytes: Uint8Array): Promise<void> {
    const old = this.content.get(path) ?? new Uint8Array()
    this.content.set(path, new Uint8Array(Buffer.concat([old, bytes])))
  }

  async remove(path: string): Promise<void> {
    this.content.delete(path)
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return this.content.get(path)
  }

  async readCustom(path: string): Promise<Uint8Array | undefined> {
    return this.custom.get(path)
  }

  text(path: string): string {
    return Buffer.from(this.content.get(path) ?? []).toString()
  }
}
