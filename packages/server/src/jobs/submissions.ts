import { createHash } from 'node:crypto'
import { type JobStore, type JsonObject, messageOf, PlatformError } from '@hanse/contract'
import { type ActingPerson, textIn } from '@hanse/session'
import { z } from 'zod'
import { type ListSigner, SignedFile } from '../state/signed-file.ts'

export type SubmissionsErrorCode =
  /** What is known of deleted jobs cannot be read, or is not as this server signed it. */
  'ERR_SUBMISSIONS'

/** The list of used submit tokens cannot be trusted; a server does not serve without it. */
export class SubmissionsError extends PlatformError<SubmissionsErrorCode> {}

/** What became of an earlier submission with the same token. */
export type EarlierSubmission =
  | { readonly state: 'kept'; readonly jobId: string; readonly contentHash: string }
  | {
      readonly state: 'deleted'
      readonly jobId: string
      /** Milliseconds since the epoch. */
      readonly deletedAt: number
    }

/** Member of a job's meta that says by which token it was submitted. */
const SUBMISSION_KEY = 'submission_key'
/** Deleted jobs whose tokens are remembered; beyond it the oldest are forgotten. */
const MAX_DELETED = 10_000
const ListSchema = z.strictObject({
  format_version: z.literal(1),
  deleted: z
    .array(z.strictObject({ key: z.string(), jobId: z.string(), deletedAt: z.number() }))
    .max(MAX_DELETED),
})

type List = z.infer<typeof ListSchema>

/**
 * Submissions that can be repeated without making a second job (`spec/admin.md` §6): a person's tool names each with
 * a token of its own. What belongs to a job is in its meta, so that there is never the one without the other.
 */
export class Submissions {
  readonly #store: JobStore
  readonly #file: SignedFile<List>
  /** The last submission of each key that is under way. */
  readonly #underWay = new Map<string, Promise<unknown>>()

  private constructor(store: JobStore, file: SignedFile<List>) {
    this.#store = store
    this.#file = file
  }

  /** @throws {SubmissionsError} */
  static async open(path: string, store: JobStore, signer: ListSigner): Promise<Submissions> {
    const initial: List = { format_version: 1, deleted: [] }
    try {
      const file = await SignedFile.open(path, { signer, schema: ListSchema }, initial)
      return new Submissions(store, file)
    } catch (error) {
      throw new SubmissionsError(
        'ERR_SUBMISSIONS',
        `the list of used submit tokens ${path} cannot be used: ${messageOf(error)}; restore it from a backup, or remove it: tokens of deleted jobs can then be used again`,
        {},
        { cause: error },
      )
    }
  }

  async find(key: string): Promise<EarlierSubmission | undefined> {
    const job = (await this.#store.list()).find(({ meta }) => textIn(meta, SUBMISSION_KEY) === key)
    if (job !== undefined)
      return { state: 'kept', jobId: job.id, contentHash: textIn(job.meta, 'content_hash') }
    const deleted = this.#file.content.deleted.find((one) => one.key === key)
    return deleted && { state: 'deleted', jobId: deleted.jobId, deletedAt: deleted.deletedAt }
  }

  /** Does `work` after all earlier submissions of the same key: of two at once, the second finds the first. */
  async inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#underWay.get(key)
    const mine = (async () => {
      await before?.catch(() => undefined)
      return work()
    })()
    this.#underWay.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#underWay.get(key) === mine) this.#underWay.delete(key)
    }
  }

  /** Remembers the token of a job that was just deleted, if it had one. @param now ms since the epoch */
  async deleted(jobId: string, meta: JsonObject, now: number): Promise<void> {
    const key = textIn(meta, SUBMISSION_KEY)
    if (key === '') return
    const deleted = [...this.#file.content.deleted, { key, jobId, deletedAt: now }]
    await this.#file.replace({ format_version: 1, deleted: deleted.slice(-MAX_DELETED) })
  }
}

/** A token is good for one person in one study; the token itself is kept nowhere. */
export function submissionKey(study: string, submitter: ActingPerson, token: string): string {
  const { name, organization, role } = submitter
  return createHash('sha256')
    .update(JSON.stringify([study, name, organization, role, token]))
    .digest('hex')
}

/** What goes into the meta of a job that was submitted with a token. */
export function submissionMeta(key: string): JsonObject {
  return { [SUBMISSION_KEY]: key }
}

/** True for a job that was submitted with a token. */
export function hasSubmitToken(meta: JsonObject): boolean {
  return textIn(meta, SUBMISSION_KEY) !== ''
}
