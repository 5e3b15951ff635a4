import { z } from 'zod'

/**
 * What makes a signed job one submission: a person's tool writes it into the manifests, which the person signs with
 * the content. The same content that is submitted again has another nonce.
 */
export interface SubmissionProof {
  /** Name of the project. */
  readonly league: string
  /** Common name of the server's certificate. */
  readonly server: string
  readonly nonce: string
  /** Ms since the epoch. */
  readonly signedAt: number
}

/** How far the clocks of a person and of who checks may be apart. */
const CLOCK_DIFFERENCE_MS = 300_000
const DAY_MS = 86_400_000

export const submissionProofSchema: z.ZodType<SubmissionProof> = z.strictObject({
  league: z.string().max(255),
  server: z.string().max(255),
  nonce: z.string().min(16).max(64),
  signedAt: z.int().min(0),
})

/** Where something that was signed is to be used, and until when. */
export interface SubmissionUse {
  readonly league: string
  readonly server: string
  /** Ms since the epoch. */
  readonly now: number
  readonly maxAgeDays: number
}

/** Why what a person signed, a submission or an order to clone one, does not count here and now. */
export function submissionObjection(
  { league, server, signedAt }: Omit<SubmissionProof, 'nonce'>,
  use: SubmissionUse,
):
  | { readonly code: 'submission-elsewhere' | 'submission-expired'; readonly reason: string }
  | undefined {
  if (league !== use.league || server !== use.server)
    return {
      code: 'submission-elsewhere',
      reason: `it was submitted to '${server}' of '${league}', and this is '${use.server}' of '${use.league}'`,
    }
  const ageMs = use.now - signedAt
  if (ageMs > use.maxAgeDays * DAY_MS + CLOCK_DIFFERENCE_MS)
    return {
      code: 'submission-expired',
      reason: `it was signed ${Math.floor(ageMs / DAY_MS)} days ago, and ${use.maxAgeDays} are allowed here (submission_max_age_days); submit it again`,
    }
  if (ageMs < -CLOCK_DIFFERENCE_MS)
    return {
      code: 'submission-expired',
      reason: `it was signed ${Math.ceil(-ageMs / 1000)} s in the future: compare the clocks`,
    }
  return undefined
}
