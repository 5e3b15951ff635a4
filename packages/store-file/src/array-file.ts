import { readSync, writeSync } from 'node:fs'
import { type FileHandle, mkdir, open, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { ByteStore, ReservedBytes } from '@hanse/contract'
import { Room, type Stretch } from './room.ts'

export interface ArrayFileOptions {
  /** Shorter arrays stay in memory; default 1 MiB. */
  readonly minBytes?: number | undefined
}

/** Arrays of a job in one file. */
export interface ArrayFile extends ByteStore, AsyncDisposable {
  /** Length of the file so far: room that is given back is used again. */
  readonly fileBytes: number
  /** The same file for arrays of another use, of which other checksums will be asked for: see {@link Checksums}. */
  apart(): ByteStore
}

/**
 * Opens a file without a name in `folder`, which is made if need be: whatever becomes of the process, nothing of the
 * arrays stays behind. Its pages are written over again and again, which costs a fraction of getting memory for every
 * array from the system.
 */
export async function openArrayFile(
  folder: string,
  { minBytes = 1024 * 1024 }: ArrayFileOptions = {},
): Promise<ArrayFile> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, 'arrays')
  // Of a process that ended between the next two lines.
  await rm(path, { force: true })
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  const room = new Room()
  const forgotten = new FinalizationRegistry<Holding>((holding) => holding.release())
  const storeFor = (checksums: Checksums): ByteStore => ({
    minBytes,
    reserve(byteLength) {
      const holding = new Holding(room, byteLength)
      const elements = new Elements(file, holding, checksums)
      forgotten.register(elements, holding)
      return elements
    },
  })
  return {
    ...storeFor({ areNoted: false }),
    get fileBytes() {
      return room.end
    },
    apart: () => storeFor({ areNoted: false }),
    [Symbol.asyncDispose]: () => file.close(),
  }
}

/** A stretch of the file that is given back once. */
class Holding {
  readonly byteLength: number
  readonly #room: Room
  readonly #stretch: Stretch
  #released = false

  constructor(room: Room, byteLength: number) {
    this.byteLength = byteLength
    this.#room = room
    this.#stretch = room.take(byteLength)
  }

  /** @returns where `length` bytes from `offset` are in the file */
  place(offset: number, length: number): number {
    if (this.#released) throw new RangeError('the array was given up: it is not stored any more')
    if (offset < 0 || offset + length > this.byteLength)
      throw new RangeError(`${length} bytes from ${offset} are outside of ${this.byteLength}`)
    return this.#stretch.start + offset
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    this.#room.giveBack(this.#stretch)
  }
}

/** What is known of the bytes before a place. */
interface Checked {
  readonly offset: number
  readonly crc: number
}

/** Of arrays of one use: checksums are noted while writing once one was asked for, since others will be, too. */
interface Checksums {
  areNoted: boolean
}

const NOTHING: Checked = { offset: 0, crc: 0 }

class Elements implements ReservedBytes {
  readonly #file: FileHandle
  readonly #holding: Holding
  readonly #checksums: Checksums
  /** Growing: one for each write that went on where the last had ended. */
  #checked: Checked[] = []

  constructor(file: FileHandle, holding: Holding, checksums: Checksums) {
    this.#file = file
    this.#holding = holding
    this.#checksums = checksums
  }

  get byteLength(): number {
    return this.#holding.byteLength
  }

  read(target: Uint8Array, offset: number): void {
    const place = this.#holding.place(offset, target.length)
    for (let done = 0; done < target.length; ) {
      const bytesRead = readSync(this.#file.fd, target, done, target.length - done, place + done)
      if (bytesRead === 0) throw new RangeError('the file of arrays ended early')
      done += bytesRead
    }
  }

  write(bytes: Uint8Array, offset: number): void {
    const place = this.#holding.place(offset, bytes.length)
    this.#check(bytes, offset)
    for (let done = 0; done < bytes.length; )
      done += writeSync(this.#file.fd, bytes, done, bytes.length - done, place + done)
  }

  checksumUpTo(offset: number): Checked {
    this.#checksums.areNoted = true
    // Sums are asked for at the ends mostly.
    return this.#checked.findLast((checked) => checked.offset <= offset) ?? NOTHING
  }

  release(): void {
    this.#holding.release()
  }

  /** Bytes are summed when they are at hand: reading them again costs more than that. */
  #check(bytes: Uint8Array, offset: number): void {
    if (!this.#checksums.areNoted) return
    const last = this.#checked.at(-1) ?? NOTHING
    if (offset === last.offset)
      this.#checked.push({ offset: offset + bytes.length, crc: crc32(bytes, last.crc) })
    else if (offset < last.offset)
      this.#checked = this.#checked.filter((checked) => checked.offset <= offset)
  }
}
