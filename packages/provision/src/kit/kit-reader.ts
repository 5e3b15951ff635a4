import { constants } from 'node:fs'
import { open, readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '@hanse/contract'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'

/** No file of a kit is longer: bounds what a start reads into memory. */
const MAX_FILE_BYTES = 4_194_304
const MAX_STARTUP_FILES = 100

/** Reads files of one kit, within limits, through no symbolic link inside `startup/`. */
export class KitReader {
  readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  /** @throws {ProvisionError} `ERR_KIT_TYPE` if there is no such folder */
  static async open(directory: string): Promise<KitReader> {
    try {
      return new KitReader(await realpath(directory))
    } catch (cause) {
      throw new ProvisionError(
        'ERR_KIT_TYPE',
        `there is no kit at ${directory}: ${messageOf(cause)}`,
        {},
        { cause },
      )
    }
  }

  /** Every file below `startup/`, by path; sub-folders and links are refused. */
  async readStartup(): Promise<ReadonlyMap<string, Uint8Array>> {
    let names: string[]
    try {
      names = await readdir(join(this.directory, 'startup'))
    } catch (cause) {
      throw new ProvisionError(
        'ERR_KIT_TYPE',
        `${this.directory} is no startup kit: it has no readable folder startup`,
        {},
        { cause },
      )
    }
    if (names.length > MAX_STARTUP_FILES)
      throw new ProvisionError(
        'ERR_KIT_FILE',
        `startup has ${names.length} files; at most ${MAX_STARTUP_FILES} are read`,
        { files: names.length },
      )
    const files = new Map<string, Uint8Array>()
    for (const name of names.toSorted()) {
      const path = `startup/${name}`
      files.set(path, await this.#readBytes(path))
    }
    return files
  }

  /** `undefined` if there is no such file. */
  async readOptional(path: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#readBytes(path)
    } catch (error) {
      if (error instanceof ProvisionError && isMissing(error.cause)) return undefined
      throw error
    }
  }

  /** Permission bits; `undefined` where the platform has none. */
  async modeOf(path: string): Promise<number | undefined> {
    if (process.platform === 'win32') return undefined
    const file = await open(join(this.directory, path), constants.O_RDONLY)
    try {
      return (await file.stat()).mode & 0o777
    } finally {
      await file.close()
    }
  }

  /** The first of `paths` that exists, as text and parsed. */
  async readJson(
    paths: readonly string[],
  ): Promise<{ path: string; text: string; value: unknown } | undefined> {
    for (const path of paths) {
      const bytes = await this.readOptional(path)
      if (bytes !== undefined)
        return { path, text: new TextDecoder().decode(bytes), value: parseJson(path, bytes) }
    }
    return undefined
  }

  async #readBytes(path: string): Promise<Uint8Array> {
    const linksRefused = path.startsWith('startup/') ? constants.O_NOFOLLOW : 0
    try {
      // Without O_NONBLOCK a named pipe in the folder would hold the start for ever.
      const flags = constants.O_RDONLY | constants.O_NONBLOCK | linksRefused
      const file = await open(join(this.directory, path), flags)
      try {
        const { size } = await requireFile(file, path)
        const bytes = new Uint8Array(size)
        let offset = 0
        while (offset < size) {
          const { bytesRead } = await file.read(bytes, offset, size - offset, offset)
          if (bytesRead === 0) break
          offset += bytesRead
        }
        return bytes.subarray(0, offset)
      } finally {
        await file.close()
      }
    } catch (cause) {
      if (cause instanceof ProvisionError) throw cause
      const link = cause instanceof Error && 'code' in cause && cause.code === 'ELOOP'
      throw new ProvisionError(
        'ERR_KIT_FILE',
        link
          ? `${path} is a symbolic link; files of startup must be files`
          : `${path} cannot be read: ${messageOf(cause)}`,
        {},
        { cause },
      )
    }
  }
}

async function requireFile(
  file: Awaited<ReturnType<typeof open>>,
  path: string,
): Promise<{ size: number }> {
  const stat = await file.stat()
  if (!stat.isFile())
    throw new ProvisionError('ERR_KIT_FILE', `${path} is not a file; only files belong there`)
  if (stat.size > MAX_FILE_BYTES)
    throw new ProvisionError(
      'ERR_KIT_FILE',
      `${path} has ${stat.size} octets; at most ${MAX_FILE_BYTES} are read`,
      { size: stat.size },
    )
  return stat
}

function isMissing(cause: unknown): boolean {
  return (
    cause instanceof Error &&
    'code' in cause &&
    (cause.code === 'ENOENT' || cause.code === 'ENOTDIR')
  )
}

/** @throws {ProvisionError} `ERR_KIT_FILE` */
export function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    // Without its cause, and without the part of the text that the message quotes: that may be a password.
    throw new ProvisionError(
      'ERR_KIT_FILE',
      `${path} is not valid JSON: ${messageOf(cause).replace(/, (?:\.{3})?".*$/s, '')}`,
    )
  }
}

/** @throws {ProvisionError} `ERR_KIT_FILE` that names the place in the file and what is allowed */
export function checkShape<T>(path: string, value: unknown, schema: z.ZodType<T>): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new ProvisionError('ERR_KIT_FILE', `${path}: ${z.prettifyError(result.error)}`)
}
