import type { JsonObject } from '@hanse/contract'
import { COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl } from '../server-control.ts'
import { readSubmitToken, submissionFailure } from './submit-token.ts'

const USAGE = 'submit_job job_folder [--submit-token token]'
const MAX_FOLDER_NAME_CHARACTERS = 255

/** `submit_job`, run when its upload is complete (`spec/admin.md` §6). */
export function submitCommand(control: ServerControl): AdminCommand {
  return {
    scope: 'job_mgmt',
    name: 'submit_job',
    description: 'submit a job',
    usage: USAGE,
    confirm: 'none',
    clientProcedure: 'file_transfer.push_folder',
    kind: 'general',
    rights: ['submit_job'],
    async run({ session, words, meta, upload, reply, signal }) {
      const { folderName, submitToken } = readWords(words)
      if (upload === undefined)
        throw new CommandFailure(COMMAND_STATUS.internalError, 'missing upload file')
      const outcome = await control.submitJob(
        {
          archiveFile: upload.path,
          folderName,
          submitter: session.person,
          study: session.study,
          customProperties: customPropertiesOf(meta),
          submitToken,
        },
        { signal },
      )
      if (!outcome.ok) throw submissionFailure(outcome)
      reply.text(`Submitted job: ${outcome.jobId}`).success().meta({ job_id: outcome.jobId })
    },
  }
}

/** @throws {CommandFailure} `syntax_error` */
function readWords(words: readonly string[]): {
  readonly folderName: string
  readonly submitToken: string | undefined
} {
  const [folderName = '', flag, token, ...rest] = words.filter((word) => word !== '')
  const isToken = flag === '--submit-token' && token !== undefined && rest.length === 0
  if ((flag !== undefined && !isToken) || folderName === '')
    throw new CommandFailure(COMMAND_STATUS.syntaxError, `Usage: ${USAGE}`)
  if (folderName.length > MAX_FOLDER_NAME_CHARACTERS)
    throw new CommandFailure(COMMAND_STATUS.syntaxError, `Usage: ${USAGE}`)
  return { folderName, submitToken: token === undefined ? undefined : readSubmitToken(token) }
}

function customPropertiesOf({ custom_props }: { readonly custom_props?: unknown }): JsonObject {
  return typeof custom_props === 'object' && custom_props !== null && !Array.isArray(custom_props)
    ? // It was read from JSON: an object has JSON members.
      (custom_props as JsonObject)
    : {}
}
