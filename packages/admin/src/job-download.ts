import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { extractArchive, openArchive } from '@hanse/archive'
import type { Downloads } from '@hanse/cellnet'
import { type AbortOptions, blocksOf, hasCode, messageOf } from '@hanse/contract'
import { AdminError } from './admin-error.ts'
import type { AdminLink } from './admin-link.ts'
import { downloadSchema, readReply } from './league-types.ts'

export interface JobDownloadComponents {
  readonly downloads: Pick<Downloads, 'pull'>
  readonly link: AdminLink
}

export interface DownloadOptions extends AbortOptions {
  /** Of one file. Default 8 GiB. */
  readonly maxFileBytes?: number | undefined
  readonly onProgress?: ((file: string, bytes: number) => void) | undefined
}

const REQUEST_TIMEOUT_MS = 60_000
const MAX_FILE_BYTES = 8 * 1024 ** 3
const MAX_SUFFIX = 1000

/**
 * Pulls the result of a finished job and lays it out as stock does (`spec/admin.md` §7): `job/`, `meta.json`,
 * `workspace/`. Nothing appears under the final name before everything is there.
 * @param out folder that gets a folder named after the job, with a suffix if there is one already
 * @returns the result's folder, absolute
 * @throws {AdminError} `ERR_DOWNLOAD`, `ERR_JOB_RUNNING`, `ERR_JOB_UNKNOWN`, `ERR_NOT_AUTHORIZED`
 */
export async function downloadJob(
  { downloads, link }: JobDownloadComponents,
  id: string,
  out: string,
  options: DownloadOptions = {},
): Promise<string> {
  const { meta } = await link.command(`job_mgmt.download_job ${id}`, options)
  const { files, source_fqcn: source } = readReply(downloadSchema, meta, 'download_job')
  const target = resolve(out)
  await mkdir(target, { recursive: true })
  const work = await mkdtemp(join(target, '.download-'))
  try {
    for (const [name, refId] of files) {
      const place = join(work, name)
      await pull(downloads, source, refId, name, place, options)
      if (extname(name) === '.zip') await unpack(place, options)
    }
    return await putInPlace(work, target, id)
  } catch (cause) {
    await rm(work, { recursive: true, force: true })
    if (cause instanceof AdminError || options.signal?.aborted) throw cause
    throw new AdminError(
      'ERR_DOWNLOAD',
      `the result of job ${id} did not arrive whole: ${messageOf(cause)}`,
      'nothing was kept; run the command again',
      {},
      { cause },
    )
  }
}

async function pull(
  downloads: Pick<Downloads, 'pull'>,
  source: string,
  refId: string,
  name: string,
  place: string,
  { maxFileBytes = MAX_FILE_BYTES, onProgress, signal }: DownloadOptions,
): Promise<void> {
  const file = await open(place, 'wx', 0o600)
  let bytes = 0
  try {
    await downloads.pull(
      source,
      refId,
      { kind: 'bytes', maxBytes: maxFileBytes, requestTimeoutMs: REQUEST_TIMEOUT_MS, signal },
      {
        async piece(data, release) {
          for (const chunk of blocksOf(data)) {
            await file.writeFile(chunk)
            bytes += chunk.length
          }
          release()
          onProgress?.(name, bytes)
        },
        // Confirmed only when it is safe on the disk.
        end: () => file.sync(),
      },
    )
  } finally {
    await file.close()
  }
}

/** A result is the server's word, and still a stranger's archive: the usual limits hold, but for its size. */
async function unpack(
  place: string,
  { maxFileBytes = MAX_FILE_BYTES, signal }: DownloadOptions,
): Promise<void> {
  {
    await using archive = await openArchive(place, {
      limits: { maxMemberBytes: maxFileBytes, maxTotalBytes: maxFileBytes, maxEntries: 100_000 },
    })
    await extractArchive(archive, place.slice(0, -'.zip'.length), { signal })
  }
  await rm(place)
}

/** Gives the finished folder its name; a name that is taken gets `__1`, `__2`, … as in stock. */
async function putInPlace(work: string, target: string, id: string): Promise<string> {
  for (let suffix = 0; suffix < MAX_SUFFIX; suffix++) {
    const place = join(target, suffix === 0 ? id : `${id}__${suffix}`)
    try {
      // A rename would replace an empty folder, but never one with content: claim the name first.
      await mkdir(place)
    } catch (error) {
      if (hasCode(error, 'EEXIST')) continue
      throw error
    }
    await rename(work, place)
    return place
  }
  throw new AdminError(
    'ERR_DOWNLOAD',
    `${target} holds ${MAX_SUFFIX} results of job ${id} already`,
    'choose another folder with --out',
  )
}
