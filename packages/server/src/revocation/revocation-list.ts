import { messageOf, PlatformError } from '@hanse/contract'
import { z } from 'zod'
import { type ListSigner, SignedFile } from '../state/signed-file.ts'

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

type List = z.infer<typeof ListSchema>

/** Most names a list holds. */
const MAX_REVOKED = 100_000

/**
 * Participants whose kits are worthless from now on, whatever their certificates say. A file signed with the server's
 * key: it survives restarts, and a changed one stops the server.
 */
export class RevocationList {
  readonly #file: SignedFile<List>
  readonly #revoked: Map<string, Revocation>

  private constructor(file: SignedFile<List>) {
    this.#file = file
    this.#revoked = new Map(file.content.revoked.map((entry) => [entry.name, entry]))
  }

  /**
   * Reads the list; a server that never had one starts with nobody on it.
   * @throws {RevocationError}
   */
  static async open(path: string, signer: ListSigner): Promise<RevocationList> {
    const initial: List = { format_version: 1, serial: 0, revoked: [] }
    try {
      return new RevocationList(
        await SignedFile.open(path, { signer, schema: ListSchema }, initial),
      )
    } catch (error) {
      throw unusable(path, messageOf(error), error)
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

  #save(): Promise<void> {
    const { serial } = this.#file.content
    return this.#file.replace({ format_version: 1, serial: serial + 1, revoked: [...this.list()] })
  }
}

function unusable(file: string, reason: string, cause: unknown): RevocationError {
  return new RevocationError(
    'ERR_REVOCATION_LIST',
    `the list of revoked participants ${file} cannot be used: ${reason}; restore it from a backup, or remove it to start with nobody revoked`,
    {},
    { cause },
  )
}
