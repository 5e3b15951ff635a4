import { expect } from 'vitest'
import { readGlobalModel } from '../../support/global-model.ts'
import { trainerOf, writeJob } from '../../support/job-folder.ts'
import type { League } from '../../support/league.ts'

export interface MeanJobOptions {
  /** Numbers of the model, four bytes each; default half a million, more than one piece of a stream. */
  readonly count?: number
  readonly rounds?: number
  /** How long each site thinks in each round. */
  readonly thinkingMs?: number
}

/** Sends a job to all sites of a league: in each round the model grows by one at each site's hands. @returns its id */
export async function submitMeanJob(league: League, options: MeanJobOptions = {}): Promise<string> {
  const { count = 500_000, rounds = 2, thinkingMs = 0 } = options
  const trainer = trainerOf(`
  const before = model.params?.w?.data
  const data = new Float32Array(${count}).map((_, i) => 1 + (i % 7) + Number(before?.[i] ?? 0))
  await new Promise((resolve) => setTimeout(resolve, ${thinkingMs}))
  await send({ params: { w: { dtype: 'float32', shape: [${count}], data } }, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })`)
  const minClients = league.sites.length
  return league.submit(
    await writeJob(league.folder, { name: 'means', rounds, minClients, trainer }),
  )
}

/** Waits for the job's end and looks at every number of its result. */
export async function expectMeans(
  league: League,
  job: string,
  { count = 500_000, rounds = 2 }: MeanJobOptions = {},
): Promise<void> {
  expect(await league.wait(job, 110)).toBe('FINISHED:COMPLETED')
  const model = await readGlobalModel(await league.download(job))
  const values = model.get('w')?.data ?? []
  expect(values).toHaveLength(count)
  const wrong = Array.from(values, Number).findIndex((value, i) => value !== rounds * (1 + (i % 7)))
  expect(wrong, 'the first number that is wrong').toBe(-1)
}
