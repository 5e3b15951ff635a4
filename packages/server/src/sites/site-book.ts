import { rm } from 'node:fs/promises'
import { type Logger, messageOf } from '@hanse/contract'
import { z } from 'zod'
import { type ListSigner, SignedFile } from '../state/signed-file.ts'

/** What a site proved and said at its last login. */
export interface KnownSite {
  readonly name: string
  /** Of the certificate that logged in. */
  readonly fingerprint: string
  readonly organization: string
  readonly software: string
  /** JSON text; empty if there is none. */
  readonly siteConfig: string
}

export interface SiteBookComponents {
  readonly signer: ListSigner
  readonly logger: Logger
}

const MAX_SITES = 100_000
const BookSchema = z.strictObject({
  format_version: z.literal(1),
  known: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(256),
        fingerprint: z.string(),
        organization: z.string(),
        software: z.string(),
        siteConfig: z.string(),
      }),
    )
    .max(MAX_SITES),
})

type Book = z.infer<typeof BookSchema>

/**
 * What sites said at their last logins, for those that come back with their token after a restart of the server.
 * Nothing hangs on it but what people are shown, and which organization a site is of: a book that is not ours is
 * put aside, and fills again with the next logins.
 */
export class SiteBook {
  readonly #file: SignedFile<Book>
  /** The one that logged in longest ago first. */
  readonly #known: Map<string, KnownSite>

  private constructor(file: SignedFile<Book>) {
    this.#file = file
    this.#known = new Map(file.content.known.map((site) => [site.name, site]))
  }

  static async open(path: string, { signer, logger }: SiteBookComponents): Promise<SiteBook> {
    const initial: Book = { format_version: 1, known: [] }
    const parts = { signer, schema: BookSchema }
    try {
      return new SiteBook(await SignedFile.open(path, parts, initial))
    } catch (error) {
      logger.warn('the book of sites is put aside', { path, reason: messageOf(error) })
      await rm(path)
      return new SiteBook(await SignedFile.open(path, parts, initial))
    }
  }

  /** Notes a login. Resolves when it is on the disk. */
  async remember(site: KnownSite): Promise<void> {
    const before = this.#known.get(site.name)
    this.#known.delete(site.name)
    this.#known.set(site.name, site)
    if (this.#known.size > MAX_SITES) this.#known.delete(this.#known.keys().next().value!)
    if (JSON.stringify(before) !== JSON.stringify(site))
      await this.#file.replace({ format_version: 1, known: [...this.#known.values()] })
  }

  /** What the holder of that certificate said at its last login. */
  recall(name: string, fingerprint: string): KnownSite | undefined {
    const known = this.#known.get(name)
    return known?.fingerprint === fingerprint ? known : undefined
  }
}
