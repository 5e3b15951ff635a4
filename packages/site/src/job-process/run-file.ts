import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { placeFilterSchema } from '@hanse/learning'
import { z } from 'zod'

/** A program that trainers may run on, ready to start. */
const Runtime = z.strictObject({
  program: z.string(),
  kind: z.enum(['node', 'python', 'other']),
  options: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  read: z.array(z.string()),
})

/** What a site's job process is told: a file in the run's folder, without secrets. */
export const SiteRunFile = z.strictObject({
  jobId: z.string(),
  site: z.string(),
  /** Cell of the site, the parent of the job's. */
  siteCell: z.string(),
  project: z.string(),
  /** Data sets that this site grants to this job, absolute paths by name. */
  datasets: z.record(z.string(), z.string()),
  /** Filters of the job's privacy scope. */
  filters: z.array(placeFilterSchema),
  runtimes: z.record(z.string(), Runtime),
  minimumConfinement: z.enum(['none', 'node-permission', 'namespaces']),
  logLevel: z.string(),
})
export type SiteRunFile = z.infer<typeof SiteRunFile>

const NAME = 'run.json'

/** Puts the run file into the run's folder. */
export async function writeSiteRunFile(folder: string, run: SiteRunFile): Promise<void> {
  await writeFile(join(folder, NAME), JSON.stringify(run, null, 2), { mode: 0o600 })
}

/** Reads the run file of a run's folder. */
export async function readSiteRunFile(folder: string): Promise<SiteRunFile> {
  return SiteRunFile.parse(JSON.parse(await readFile(join(folder, NAME), 'utf8')))
}
