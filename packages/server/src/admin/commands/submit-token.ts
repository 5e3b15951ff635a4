import { COMMAND_STATUS } from '@hanse/session'
import { CommandFailure } from '../reply-builder.ts'
import type { SubmissionOutcome, UsedSubmitToken } from '../server-control.ts'

const TOKEN = /^[A-Za-z0-9._:-]{1,128}$/

/** Checks a submit token (`spec/admin.md` §6). @throws {CommandFailure} `syntax_error` */
export function readSubmitToken(text: string): string {
  if (TOKEN.test(text)) return text
  throw new CommandFailure(
    COMMAND_STATUS.syntaxError,
    'a submit token has 1 to 128 letters, digits or any of . _ : -',
  )
}

/** Why a submission made no job, as stock's tools want to hear it. */
export function submissionFailure(
  outcome: Extract<SubmissionOutcome, { readonly ok: false }>,
): CommandFailure {
  return 'problems' in outcome
    ? new CommandFailure(COMMAND_STATUS.invalidJobDefinition, outcome.problems.join('; '))
    : usedTokenFailure(outcome.usedFor)
}

/** A token that cannot be used again. */
export function usedTokenFailure({ jobId, deletedAt }: UsedSubmitToken): CommandFailure {
  if (deletedAt === undefined)
    return new CommandFailure(
      COMMAND_STATUS.submitTokenConflict,
      `the submit token was used for job ${jobId}, whose content is another; use a new token for a new job`,
      'submit token was already used for different job content',
      { code: 'SUBMIT_TOKEN_CONFLICT', job_id: jobId },
    )
  return new CommandFailure(
    COMMAND_STATUS.submitTokenJobDeleted,
    `the submit token was used for job ${jobId}, which was deleted; use a new token to submit again`,
    'submit token refers to a deleted job',
    {
      code: 'SUBMIT_TOKEN_JOB_DELETED',
      job_id: jobId,
      submit_record_state: 'job_deleted',
      deleted_time: new Date(deletedAt).toISOString(),
    },
  )
}
