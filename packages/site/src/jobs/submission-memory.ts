import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { type Clock, hasCode, messageOf } from '@hanse/contract'
import { z } from 'zod'
import { SiteError } from '../site-error.ts'

/** One use of what a person signed: a submission, or an order to clone one. */
const useSchema = z.strictObject({
  /** Names the signed thing. */
  key: z.string().max(128),
  job: z.string().max(128),
  /** Names the submission whose content it is. */
  submission: z.string().max(128),
  /** Signatures that this content cannot do without. */
  seals: z.array(z.string().max(128)).max(16),
  signedAt: z.number(),
})

export type RememberedUse = z.infer<typeof useSchema>

const lineSchema = z.union([
  z.strictObject({ use: useSchema }),
  z.strictObject({ job: z.string(), started: z.boolean() }),
])

/** Longest that a site may be told to take what was signed; until then a use is remembered, whatever it is told. */
export const MAX_SUBMISSION_DAYS = 90
const REMEMBERED_MS = (MAX_SUBMISSION_DAYS + 1) * 86_400_000
/** More than a thousand jobs a day; beyond it nothing is taken, for nothing may be forgotten. */
const MAX_USES = 100_000

/** Why something cannot be used. */
export type UseRefusal = { readonly reason: string } | undefined

/**
 * What of the submissions that this site took may not be taken again, and which of them ran. On the disk before it
 * counts, so that a restart forgets nothing; a file of lines that only grows while the site runs.
 */
export class SubmissionMemory implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #clock: Clock
  readonly #uses = new Map<string, RememberedUse>()
  readonly #byJob = new Map<string, RememberedUse>()
  /** Seal → job. */
  readonly #seals = new Map<string, string>()
  readonly #started = new Set<string>()
  #writing: Promise<void> = Promise.resolve()

  private constructor(file: FileHandle, clock: Clock, uses: Iterable<RememberedUse>) {
    this.#file = file
    this.#clock = clock
    for (const use of uses) this.#add(use)
  }

  /** @throws {SiteError} `ERR_SITE_CONFIG` if the file is there and cannot be used */
  static async open(path: string, clock: Clock): Promise<SubmissionMemory> {
    const kept = await readUses(path, clock.now() - REMEMBERED_MS)
    const lines = [
      ...Array.from(kept.uses.values(), (use) => lineOf({ use })),
      ...Array.from(kept.started, (job) => lineOf({ job, started: true })),
    ]
    const part = `${path}.part`
    {
      await using file = await open(part, 'w', 0o600)
      await file.writeFile(lines.join(''))
      await file.sync()
    }
    await rename(part, path)
    const memory = new SubmissionMemory(await open(path, 'a', 0o600), clock, kept.uses.values())
    for (const job of kept.started) memory.#started.add(job)
    return memory
  }

  /** The job that content with one of these seals was for. */
  jobSealed(seals: readonly string[]): string | undefined {
    return seals.map((seal) => this.#seals.get(seal)).find((job) => job !== undefined)
  }

  /** The submission that a job's content came by. */
  submissionOf(job: string): string | undefined {
    return this.#byJob.get(job)?.submission
  }

  /** Uses it for a job, and for that job alone, until that has been started. Resolves when that is on the disk. */
  async take(use: RememberedUse): Promise<UseRefusal> {
    const { key, job } = use
    const earlier = this.#uses.get(key)
    if (earlier !== undefined && earlier.job !== job)
      return { reason: `it was used before, for job ${earlier.job}` }
    if (this.#started.has(job)) return { reason: `job ${job} ran here before` }
    const other = this.#byJob.get(job)
    if (other !== undefined && other.key !== key)
      return { reason: `job ${job} is that of another submission` }
    if (earlier !== undefined) return undefined
    this.#forget()
    if (this.#uses.size >= MAX_USES)
      return { reason: `this site remembers ${MAX_USES} submissions already, and can take no more` }
    // What could not be read again would keep the site from starting.
    const line = lineOf({ use: useSchema.parse(use) })
    // At once: of two at a time only one gets it.
    this.#add(use)
    try {
      await this.#write(line)
    } catch (error) {
      this.#remove(use)
      throw error
    }
    return undefined
  }

  /** Notes that a job begins to run, or that it did not come to that. Resolves when that is on the disk. */
  async setStarted(job: string, started: boolean): Promise<void> {
    if (!this.#byJob.has(job)) return
    if (started) this.#started.add(job)
    else this.#started.delete(job)
    await this.#write(lineOf({ job, started }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing
    await this.#file.close()
  }

  #add(use: RememberedUse): void {
    this.#uses.set(use.key, use)
    this.#byJob.set(use.job, use)
    for (const seal of use.seals) this.#seals.set(seal, use.job)
  }

  /** What is too old to be taken anyway. */
  #forget(): void {
    if (this.#uses.size < MAX_USES) return
    const oldest = this.#clock.now() - REMEMBERED_MS
    for (const use of this.#uses.values()) if (use.signedAt < oldest) this.#remove(use)
  }

  #remove(use: RememberedUse): void {
    this.#uses.delete(use.key)
    this.#byJob.delete(use.job)
    this.#started.delete(use.job)
    for (const seal of use.seals) this.#seals.delete(seal)
  }

  #write(line: string): Promise<void> {
    const written = this.#writing.then(async () => {
      await this.#file.appendFile(line)
      await this.#file.datasync()
    })
    this.#writing = written.catch(() => undefined)
    return written
  }
}

function lineOf(line: z.infer<typeof lineSchema>): string {
  return `${JSON.stringify(line)}\n`
}

async function readUses(
  path: string,
  oldest: number,
): Promise<{ readonly uses: Map<string, RememberedUse>; readonly started: Set<string> }> {
  const uses = new Map<string, RememberedUse>()
  const started = new Set<string>()
  let text = ''
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw unusable(path, error)
  }
  const lines = text.split('\n')
  // Behind the last line end is what a crash has left of a line: nobody was told that it counts.
  lines.pop()
  try {
    for (const line of lines) {
      const entry = lineSchema.parse(JSON.parse(line))
      if ('use' in entry) uses.set(entry.use.key, entry.use)
      else if (entry.started) started.add(entry.job)
      else started.delete(entry.job)
    }
  } catch (error) {
    throw unusable(path, error)
  }
  for (const [key, { signedAt }] of uses) if (signedAt < oldest) uses.delete(key)
  const jobs = new Set(Array.from(uses.values(), ({ job }) => job))
  return { uses, started: new Set([...started].filter((job) => jobs.has(job))) }
}

function unusable(path: string, cause: unknown): SiteError {
  return new SiteError(
    'ERR_SITE_CONFIG',
    `what this site knows of earlier submissions, ${path}, cannot be used: ${messageOf(cause)}; restore it from a ` +
      'backup, or remove it: a server could then send jobs of before again',
    {},
    { cause },
  )
}
