import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { writeArchive } from '@hanse/archive'
import type { Cell } from '@hanse/cellnet'
import { type AbortOptions, type Clock, messageOf } from '@hanse/contract'
import { type JobSigner, readJobFolder, signJob } from '@hanse/jobs'
import {
  type CommandScope,
  joinWords,
  PEOPLE,
  type PublicProperties,
  SERVER_CELL,
  sendObjectStream,
} from '@hanse/session'
import { AdminError } from './admin-error.ts'
import { type AdminLink, readReplyText } from './admin-link.ts'
import { outcomeOf } from './command-outcome.ts'
import { readReply, submittedSchema } from './league-types.ts'

export interface JobUploadComponents {
  readonly cell: Cell
  readonly link: AdminLink
  readonly ownProperties: PublicProperties
  /** Who submits. */
  readonly jobSigner: JobSigner
  /** Whom it is submitted to. */
  readonly scope: CommandScope
  readonly clock: Clock
}

export interface SubmitOptions extends AbortOptions {
  readonly onProgress?: ((sentBytes: number, totalBytes: number) => void) | undefined
}

/** Checking and storing a job may take the server longer than taking a piece. */
const LAST_PIECE_TIMEOUT_MS = 120_000
const PIECE_TIMEOUT_MS = 30_000

/**
 * Packs a signed copy of a job folder and sends it (`spec/admin.md` §6). The folder itself is only read; links in it
 * are refused, since what they point to was not meant to leave.
 * @returns the new job's id
 * @throws {AdminError} `ERR_JOB_FOLDER`, `ERR_JOB_INVALID`, `ERR_NOT_AUTHORIZED`, `ERR_SERVER_UNREACHABLE`
 */
export async function submitJobFolder(
  components: JobUploadComponents,
  folder: string,
  options: SubmitOptions = {},
): Promise<string> {
  const name = basename(resolve(folder))
  const directory = await mkdtemp(join(tmpdir(), 'hanse-submit-'))
  try {
    const archive = join(directory, `${randomUUID()}.zip`)
    await pack(components, folder, archive, options)
    const { size } = await stat(archive)
    return await components.link.withSession(
      () => send(components, name, archive, size, options),
      options,
    )
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function pack(
  { jobSigner, scope, clock }: JobUploadComponents,
  folder: string,
  archive: string,
  { signal }: AbortOptions,
): Promise<void> {
  try {
    // Below its own name, as the archive has it; a folder with a bare app becomes a job, as with stock's tool.
    const job = await readJobFolder(resolve(folder))
    if (![...job.folders].some((path) => /\/config$/.test(path)))
      throw new AdminError(
        'ERR_JOB_FOLDER',
        `${folder} is no job folder: no app in it has a config folder`,
        'give the folder that holds meta.json and the app folders',
      )
    const signed = await signJob(job, jobSigner, {
      ...scope,
      nonce: randomUUID(),
      signedAt: clock.now(),
    })
    const file = await open(archive, 'wx', 0o600)
    try {
      for await (const chunk of writeArchive(signed.members(), { signal }))
        await file.writeFile(chunk)
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof AdminError || signal?.aborted) throw cause
    throw new AdminError(
      'ERR_JOB_FOLDER',
      `${folder} cannot be sent as a job: ${messageOf(cause)}`,
      'a job folder holds plain files and folders that you can read',
      {},
      { cause },
    )
  }
}

async function send(
  { cell, link, ownProperties }: JobUploadComponents,
  name: string,
  archive: string,
  size: number,
  { signal, onProgress }: SubmitOptions,
): Promise<string> {
  const command = joinWords(['job_mgmt.submit_job', name])
  const result = await sendObjectStream(
    { cell, ownProperties },
    {
      target: SERVER_CELL,
      channel: PEOPLE.uploadChannel,
      topic: PEOPLE.uploadTopic,
      context: new Map([['conn_data', link.requestText(command)]]),
      fileName: basename(archive),
      fileSize: size,
      content: createReadStream(archive, { highWaterMark: 256 * 1024 }),
    },
    {
      signal,
      pieceTimeoutMs: PIECE_TIMEOUT_MS,
      lastPieceTimeoutMs: LAST_PIECE_TIMEOUT_MS,
      onProgress: (sent) => onProgress?.(sent, size),
    },
  )
  if (result.endResult === undefined)
    throw new AdminError(
      'ERR_SERVER_UNREACHABLE',
      `the server did not take the job: ${result.returnCode} after ${result.sentBytes} of ${size} bytes`,
      'see whether the server runs; hanse job list tells whether it has the job',
    )
  const outcome = outcomeOf(readReplyText(result.endResult, 'submit_job'), 'submit_job')
  return readReply(submittedSchema, outcome.meta, 'submit_job').job_id
}
