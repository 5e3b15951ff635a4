import { messageOf, PlatformError } from '@hanse/contract'
import { z } from 'zod'
import { type ListSigner, SignedFile } from '../state/signed-file.ts'

export type DisabledSitesErrorCode =
  /** The list on the disk cannot be read, or is not as this server signed it. */
  'ERR_DISABLED_SITES'

/** The list of disabled sites cannot be trusted; a server does not serve without it. */
export class DisabledSitesError extends PlatformError<DisabledSitesErrorCode> {}

/** A site that may not take part until it is enabled. */
export interface DisabledSite {
  readonly name: string
  /** Who disabled it. */
  readonly by: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Most names a list holds. */
const MAX_DISABLED = 100_000
const ListSchema = z.strictObject({
  format_version: z.literal(1),
  disabled: z
    .array(
      z.strictObject({ name: z.string().min(1).max(256), by: z.string().max(256), at: z.number() }),
    )
    .max(MAX_DISABLED),
})

type List = z.infer<typeof ListSchema>

/**
 * Sites that people keep out for a while; their kits stay good. Survives restarts, and a list that somebody else
 * changed stops the server.
 */
export class DisabledSites {
  readonly #file: SignedFile<List>
  readonly #sites: Map<string, DisabledSite>

  private constructor(file: SignedFile<List>) {
    this.#file = file
    this.#sites = new Map(file.content.disabled.map((site) => [site.name, site]))
  }

  /**
   * Reads the list; a server that never had one starts with nobody on it.
   * @throws {DisabledSitesError}
   */
  static async open(path: string, signer: ListSigner): Promise<DisabledSites> {
    const initial: List = { format_version: 1, disabled: [] }
    try {
      return new DisabledSites(await SignedFile.open(path, { signer, schema: ListSchema }, initial))
    } catch (error) {
      throw new DisabledSitesError(
        'ERR_DISABLED_SITES',
        `the list of disabled sites ${path} cannot be used: ${messageOf(error)}; restore it from a backup, or remove it to start with no site disabled`,
        {},
        { cause: error },
      )
    }
  }

  /** By name. */
  list(): readonly DisabledSite[] {
    return [...this.#sites.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Takes effect at once and resolves when it is safe on the disk.
   * @returns false if it was disabled before
   * @throws {DisabledSitesError} when the list is full
   */
  async disable(site: DisabledSite): Promise<boolean> {
    if (this.#sites.has(site.name)) return false
    if (this.#sites.size >= MAX_DISABLED)
      throw new DisabledSitesError(
        'ERR_DISABLED_SITES',
        `${MAX_DISABLED} sites are disabled; the list is full`,
      )
    this.#sites.set(site.name, site)
    await this.#save()
    return true
  }

  /** @returns false if it was not disabled */
  async enable(name: string): Promise<boolean> {
    if (!this.#sites.delete(name)) return false
    await this.#save()
    return true
  }

  #save(): Promise<void> {
    return this.#file.replace({ format_version: 1, disabled: [...this.list()] })
  }
}
