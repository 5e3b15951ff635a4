import { randomUUID } from 'node:crypto'
import type { JsonObject } from '@hanse/contract'
import { COMMAND_STATUS, SERVER_CELL } from '@hanse/session'
import type { JobCommand } from '../admin-command.ts'
import type { AdminSession } from '../admin-sessions.ts'
import type { JobDownloads } from '../job-downloads.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { JobFile, ServerControl } from '../server-control.ts'

/** Downloads: the answer names what only the asking cell can pull (`spec/admin.md` §7). */
export function downloadCommands(
  control: ServerControl,
  downloads: JobDownloads,
): readonly JobCommand[] {
  const offer = (session: AdminSession, job: string, files: readonly JobFile[]): JsonObject => {
    const refIds = downloads.offer(session, files)
    return {
      source_fqcn: SERVER_CELL,
      files: files.map(({ name }, index) => [name, refIds[index]!]),
      tx_id: randomUUID(),
      folder_name: job,
    }
  }
  const common = {
    scope: 'job_mgmt',
    confirm: 'none',
    clientProcedure: 'file_transfer.pull_folder',
    kind: 'job',
  } as const
  const download: JobCommand = {
    ...common,
    name: 'download_job',
    description: 'download a specified job',
    usage: 'download_job job_id',
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
      reply
        .text('OK')
        .ok()
        .meta(offer(session, job.id, files))
    },
  }
  const downloadComponents: JobCommand = {
    ...common,
    name: 'download_job_components',
    description: 'download additional components of a job: logs that sites sent',
    usage: 'download_job_components job_id',
    // Whoever may have the whole result may have its parts.
    rights: ['download_job_components', 'download_job'],
    async run({ session, job, reply }) {
      const files = await control.jobComponentFiles(job.id)
      if (files.length === 0)
        throw new CommandFailure(
          COMMAND_STATUS.noJobComponents,
          `job ${job.id} has no additional components`,
          job.id,
        )
      reply
        .text('OK')
        .ok()
        .meta(offer(session, job.id, files))
    },
  }
  return [download, downloadComponents]
}
