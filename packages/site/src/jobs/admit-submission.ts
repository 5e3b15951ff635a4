import { createHash } from 'node:crypto'
import { type JsonObject, messageOf } from '@hanse/contract'
import { type SignatureVerdict, submissionObjection } from '@hanse/jobs'
import type { SiteKit } from '@hanse/provision'
import {
  CLONE_COMMAND_KEY,
  type ProofVerifier,
  readSignedCommand,
  splitWords,
  verifyCommand,
} from '@hanse/session'
import type { SubmissionMemory } from './submission-memory.ts'

export interface AdmitSubmissionComponents {
  readonly kit: SiteKit
  readonly memory: SubmissionMemory
  readonly verifier: ProofVerifier
  /** Ms since the epoch. */
  readonly now: () => number
}

export interface SubmittedApp {
  readonly jobId: string
  readonly meta: JsonObject
  readonly verdict: SignatureVerdict & { readonly ok: true }
}

export interface SubmissionRefusal {
  readonly code:
    | 'submission-elsewhere'
    | 'submission-expired'
    | 'submission-used'
    | 'submission-unproven'
    | 'clone-not-ordered'
  readonly reason: string
}

/**
 * Lets a submission be used for one job. The server names jobs and may lie: what counts is what the person signed. A
 * clone is another use of the same content, for which the person's own order to clone stands in.
 */
export async function admitSubmission(
  components: AdmitSubmissionComponents,
  app: SubmittedApp,
): Promise<SubmissionRefusal | undefined> {
  const { kit, memory } = components
  const { jobId, verdict } = app
  const { submission: proof, signer, seals } = verdict
  if (proof === undefined) {
    if (kit.hanse.require.signedCommands)
      return refuse(
        'submission-unproven',
        'this site takes jobs only with a proof of their submission, and it has none; submit it with hanse',
      )
    const job = memory.jobSealed(seals)
    return job === undefined
      ? undefined
      : refuse(
          'submission-unproven',
          `its proof was taken away: job ${job} came with the same signatures`,
        )
  }
  const submission = nameOf('submission', signer.name, proof.nonce)
  const order = app.meta[CLONE_COMMAND_KEY]
  if (order !== undefined) return await admitClone(components, app, { submission, order })
  const objection = submissionObjection(proof, useAt(components))
  if (objection !== undefined) return objection
  const { signedAt } = proof
  const refusal = await memory.take({
    key: submission,
    job: jobId,
    submission,
    seals: [...seals],
    signedAt,
  })
  return (
    refusal &&
    refuse('submission-used', `${refusal.reason}; who wants it once more submits or clones it`)
  )
}

async function admitClone(
  components: AdmitSubmissionComponents,
  { jobId, verdict }: SubmittedApp,
  { submission, order }: { readonly submission: string; readonly order: unknown },
): Promise<SubmissionRefusal | undefined> {
  const { kit, memory, verifier } = components
  const { signer, seals } = verdict
  const signed = readSignedCommand(order)
  if (signed === undefined) return refuse('clone-not-ordered', 'the order to clone cannot be read')
  const [name, source = '', ...more] = splitWords(signed.command)
  if (name !== 'clone_job' || more.length > 0 || signed.person !== signer.name)
    return refuse(
      'clone-not-ordered',
      `'${signed.person}' signed '${signed.command.slice(0, 100)}', which is no order to clone a job of '${signer.name}'`,
    )
  const objection = submissionObjection(signed, useAt(components))
  if (objection !== undefined) return objection
  try {
    await verifyCommand(signed, { league: kit.project, server: kit.server.identity }, verifier)
  } catch (error) {
    return refuse('clone-not-ordered', messageOf(error))
  }
  const known = memory.submissionOf(source)
  if (known !== undefined && known !== submission)
    return refuse('clone-not-ordered', `job ${source}, which was to be cloned, has another content`)
  const refusal = await memory.take({
    key: nameOf('clone', signed.person, signed.nonce),
    job: jobId,
    submission,
    seals: [...seals],
    signedAt: signed.signedAt,
  })
  return (
    refusal &&
    refuse('submission-used', `${refusal.reason}; who wants it once more clones it again`)
  )
}

function useAt({ kit, now }: AdmitSubmissionComponents) {
  return {
    league: kit.project,
    server: kit.server.identity,
    now: now(),
    maxAgeDays: kit.hanse.submissionMaxAgeDays,
  }
}

/** One short text for each signed thing, however long its nonce is. */
function nameOf(kind: 'submission' | 'clone', person: string, nonce: string): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, person, nonce]))
    .digest('hex')
}

function refuse(code: SubmissionRefusal['code'], reason: string): SubmissionRefusal {
  return { code, reason }
}
