import { randomUUID } from 'node:crypto'
import { COMMAND_STATUS, SERVER_CELL } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import type { JobDownloads } from '../job-downloads.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl } from '../server-control.ts'

/** `download_job`: the answer names what only the asking cell can pull (`spec/admin.md` §7). */
export function downloadCommand(control: ServerControl, downloads: JobDownloads): AdminCommand {
  return {
    scope: 'job_mgmt',
    name: 'download_job',
    description: 'download a specified job',
    usage: 'download_job job_id',
    confirm: 'none',
    clientProcedure: 'file_transfer.pull_folder',
    kind: 'job',
    rights: ['download_job'],
    async run({ session, job, reply }) {
      if (!job.state.startsWith('FINISHED'))
        throw new CommandFailure(
          COMMAND_STATUS.jobRunning,
          `job ${job.id} is ${job.state}; its result can be downloaded when it is finished`,
          job.id,
        )
      const files = await control.jobFiles(job.id)
      if (files.length === 0)
        throw new CommandFailure(COMMAND_STATUS.error, `job ${job.id} has nothing to download`)
      const refIds = downloads.offer(session, files)
      reply
        .text('OK')
        .ok()
        .meta({
          source_fqcn: SERVER_CELL,
          files: files.map(({ name }, index) => [name, refIds[index]!]),
          tx_id: randomUUID(),
          folder_name: job.id,
        })
    },
  }
}
