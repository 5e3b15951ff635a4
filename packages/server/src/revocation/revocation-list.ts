import { open, readFile, rename } from 'node:fs/promises'
import { hasCode, messageOf, PlatformError } from '@hanse/contract'
import { z } from 'zod'

export type RevocationErrorCode =
  /** The list on the disk cannot be read, or is not as this server signed it. */
  'ERR_REVOCATION_LIST'

/** The list of revoked participants cannot be trusted; a server does not serve without it. */
export class RevocationError extends PlatformError<RevocationErrorCode> {}

/** One participant who may not take part any more. */
export interface Revocation {
  readonly name: string
  /** Who revoked it. */
  readonly by: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly reason: string
}

/** Signs and checks with the server's key; texts in base64. */
export interface ListSigner {
  sign(text: string): string
  verify(text: string, signature: string): boolean
}

const FileSchema = z.strictObject({ list: z.string(), signature: z.string() })
const ListSchema = z.strictObject({
  format_version: z.literal(1),
  /** Counts changes, so that an older list cannot be put in the place of a newer one unnoticed by whoever compares. */
  serial: z.int().min(0),
  revoked: z.array(
    z.strictObject({
      name: z.string().min(1).max(256),
      by: z.string().max(256),
      at: z.number(),
      reason: z.string().max(500),
    }),
  ),
})

/** Most names a list holds. */
const MAX_REVOKED = 100_000

/**
 * Participants whose kits are worthless from now on, whatever their certificates say. A file signed with the server's
 * key: it survives restarts, and a changed one stops the server.
 */
export class RevocationList {
  readonly #file: string
  readonly #signer: ListSigner
  readonly #revoked: Map<string, Revocation>
  #serial: number
  /** Changes are written one after the other. */
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(
    file: string,
    signer: ListSigner,
    serial: number,
    revoked: readonly Revocation[],
  ) {
    this.#file = file
    this.#signer = signer
    this.#serial = serial
    this.#revoked = new Map(revoked.map((entry) => [entry.name, entry]))
  }

  /**
   * Reads the list; a server that never had one starts with nobody on it.
   * @throws {RevocationError}
   */
  static async open(file: string, signer: ListSigner): Promise<RevocationList> {
    let text: string
    try {
      text = await readFile(file, 'utf8')
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return new RevocationList(file, signer, 0, [])
      throw unusable(file, messageOf(error), error)
    }
    try {
      const { list, signature } = FileSchema.parse(JSON.parse(text))
      if (!signer.verify(list, signature))
        throw new Error('its signature is not by the key of this server')
      const { serial, revoked } = ListSchema.parse(JSON.parse(list))
      return new RevocationList(file, signer, serial, revoked)
    } catch (error) {
      throw unusable(file, messageOf(error), error)
    }
  }

  /** Why `name` is revoked; `undefined` if it is not. */
  get(name: string): Revocation | undefined {
    return this.#revoked.get(name)
  }

  /** All revocations, by name. */
  list(): readonly Revocation[] {
    return [...this.#revoked.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Takes effect at once and resolves when it is safe on the disk.
   * @returns false if the name was revoked before
   */
  async revoke(revocation: Revocation): Promise<boolean> {
    if (this.#revoked.has(revocation.name)) return false
    if (this.#revoked.size >= MAX_REVOKED)
      throw new RevocationError(
        'ERR_REVOCATION_LIST',
        `${MAX_REVOKED} names are revoked; the list is full`,
      )
    this.#revoked.set(revocation.name, revocation)
    await this.#save()
    return true
  }

  /** @returns false if the name was not revoked */
  async reinstate(name: string): Promise<boolean> {
    if (!this.#revoked.delete(name)) return false
    await this.#save()
    return true
  }

  async #save(): Promise<void> {
    this.#serial += 1
    const list = JSON.stringify({ format_version: 1, serial: this.#serial, revoked: this.list() })
    const content = `${JSON.stringify({ list, signature: this.#signer.sign(list) }, null, 2)}\n`
    const written = this.#writing.then(() => replaceFile(this.#file, content))
    this.#writing = written.catch(() => undefined)
    await written
  }
}

async function replaceFile(file: string, content: string): Promise<void> {
  const temporary = `${file}.part`
  {
    await using handle = await open(temporary, 'w', 0o600)
    await handle.writeFile(content)
    await handle.sync()
  }
  await rename(temporary, file)
}

function unusable(file: string, reason: string, cause: unknown): RevocationError {
  return new RevocationError(
    'ERR_REVOCATION_LIST',
    `the list of revoked participants ${file} cannot be used: ${reason}; restore it from a backup, or remove it to start with nobody revoked`,
    {},
    { cause },
  )
}
