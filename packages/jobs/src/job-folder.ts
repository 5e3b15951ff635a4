import { basename } from 'node:path'
import { folderMembers } from '@hanse/archive'
import type { JsonObject } from '@hanse/contract'
import { findConfig, readConfig } from './config-file.ts'
import { JobFiles } from './job-files.ts'
import { JobsError } from './jobs-error.ts'
import { JOB_NAME } from './names.ts'

/**
 * Reads a job folder from the disk as it goes into the archive: below its own name, with old layouts upgraded as
 * stock's tool does (`spec/jobs.md` §1). The folder is not changed; its files are read when they are needed.
 * @param name of the top folder in the archive; default: that of the folder
 * @throws {JobsError} `ERR_JOB_LAYOUT`; {ArchiveError} for symbolic links and odd names
 */
export async function readJobFolder(path: string, name = basename(path)): Promise<JobFiles> {
  if (!JOB_NAME.test(name))
    throw new JobsError(
      'ERR_JOB_LAYOUT',
      `the job folder is called ${JSON.stringify(name)}; letters, digits, ".", "_" and "-" are allowed`,
    )
  const found = []
  for await (const member of folderMembers(path)) found.push(member)
  const files = new JobFiles(found)
  const metaPath = findConfig(files, '', 'meta')
  if (metaPath === undefined) return asJob(files, name)
  const meta = (await readConfig(files, metaPath)).content
  if (Object.hasOwn(meta, 'job_folder_name')) return moved(files, name)
  const upgraded = files
    .without((file) => file === metaPath)
    .with(new Map([['meta.json', jsonBytes({ ...meta, job_folder_name: name })]]))
  return moved(upgraded, name)
}

/** A folder without metadata is an app: it becomes a job that runs it everywhere. */
function asJob(app: JobFiles, name: string): JobFiles {
  const meta: JsonObject = {
    name,
    job_folder_name: name,
    resource_spec: {},
    deploy_map: { [name]: ['@ALL'] },
    min_clients: 1,
  }
  return moved(app, `${name}/${name}`).with(new Map([[`${name}/meta.json`, jsonBytes(meta)]]))
}

/** The same files below `folder`. */
function moved(files: JobFiles, folder: string): JobFiles {
  return new JobFiles(
    files.members().map((member) => ({ ...member, path: `${folder}/${member.path}` })),
  )
}

function jsonBytes(value: JsonObject): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`)
}
