import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { placeFilterSchema } from '@hanse/learning'
import { z } from 'zod'

/** What a server's job process is told: a file in the run's folder, without secrets. */
export const RunFile = z.strictObject({
  jobId: z.string(),
  jobName: z.string(),
  project: z.string(),
  /** Sites that were deployed and are being started, in the order of their names. */
  participants: z.array(z.strictObject({ name: z.string(), cell: z.string() })),
  minSites: z.number().int().positive(),
  mandatorySites: z.array(z.string()),
  /** How long a site may be away, unless the job says otherwise. */
  graceSeconds: z.number().nonnegative(),
  /** Filters of the job's privacy scope at this server. */
  filters: z.array(placeFilterSchema),
  logLevel: z.string(),
})
export type RunFile = z.infer<typeof RunFile>

const NAME = 'run.json'

/** Puts the run file into the run's folder. */
export async function writeRunFile(folder: string, run: RunFile): Promise<void> {
  await writeFile(join(folder, NAME), JSON.stringify(run, null, 2), { mode: 0o600 })
}

/** Reads the run file of a run's folder. */
export async function readRunFile(folder: string): Promise<RunFile> {
  return RunFile.parse(JSON.parse(await readFile(join(folder, NAME), 'utf8')))
}
