import type { JsonObject } from '@hanse/contract'
import { COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl } from '../server-control.ts'

const MAX_FOLDER_NAME_CHARACTERS = 255

/** `submit_job`, run when its upload is complete (`spec/admin.md` §6). */
export function submitCommand(control: ServerControl): AdminCommand {
  return {
    scope: 'job_mgmt',
    name: 'submit_job',
    description: 'submit a job',
    usage: 'submit_job job_folder',
    confirm: 'none',
    clientProcedure: 'file_transfer.push_folder',
    kind: 'general',
    rights: ['submit_job'],
    async run({ session, words, meta, upload, reply, signal }) {
      const folderName = readFolderName(words)
      if (upload === undefined)
        throw new CommandFailure(COMMAND_STATUS.internalError, 'missing upload file')
      const outcome = await control.submitJob(
        {
          archiveFile: upload.path,
          folderName,
          submitter: session.person,
          study: session.study,
          customProperties: customPropertiesOf(meta),
        },
        { signal },
      )
      if (!outcome.ok)
        throw new CommandFailure(COMMAND_STATUS.invalidJobDefinition, outcome.problems.join('; '))
      reply.text(`Submitted job: ${outcome.jobId}`).success().meta({ job_id: outcome.jobId })
    },
  }
}

/** @throws {CommandFailure} `syntax_error` */
function readFolderName(words: readonly string[]): string {
  const [folderName = '', ...rest] = words.filter((word) => word !== '')
  if (rest.length > 0)
    throw new CommandFailure(
      COMMAND_STATUS.syntaxError,
      rest[0] === '--submit-token'
        ? 'submit tokens are not supported by this server; submit without one'
        : 'Usage: submit_job job_folder',
    )
  if (folderName === '' || folderName.length > MAX_FOLDER_NAME_CHARACTERS)
    throw new CommandFailure(COMMAND_STATUS.syntaxError, 'Usage: submit_job job_folder')
  return folderName
}

function customPropertiesOf({ custom_props }: { readonly custom_props?: unknown }): JsonObject {
  return typeof custom_props === 'object' && custom_props !== null && !Array.isArray(custom_props)
    ? // It was read from JSON: an object has JSON members.
      (custom_props as JsonObject)
    : {}
}
