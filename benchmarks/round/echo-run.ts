import type { Scheme } from '@hanse/provision'
import { League } from '../../test/support/league.ts'
import { type BenchmarkContext, check } from '../harness/benchmark.ts'
import { ProcessWatch } from '../harness/process-watch.ts'
import { type EchoJob, type RoundSeen, roundsSeen, writeEchoJob } from './echo-job.ts'
import { roleOfHanse } from './roles.ts'

/** How long a job may take. */
export const TIMEOUT_SECONDS = 3_600

/** What was seen of a job that ended well. */
export interface EchoRun {
  /** By its trainers, site by site. */
  readonly seen: readonly (readonly RoundSeen[])[]
  /** Of all processes from the job's submission to its end. */
  readonly watch: ProcessWatch
}

/** Runs an echo job in a league of its own: real processes, mutual TLS. */
export async function runEchoJob(
  job: EchoJob,
  scheme: Scheme,
  { note }: BenchmarkContext,
  lookEveryMs = 200,
): Promise<EchoRun> {
  note(`hanse: ${job.rounds} rounds of ${job.mb} MB with ${job.sites} sites over ${scheme}`)
  await using league = await League.start({ sites: siteNames(job.sites), scheme })
  const roots = new Map([...league.places.values()].map(({ pid, name }) => [pid, name]))
  using watch = new ProcessWatch(roots, roleOfHanse, lookEveryMs)
  const id = await league.submit(await writeEchoJob(league.folder, job))
  const status = await league.wait(id, TIMEOUT_SECONDS)
  const shown = status === 'FINISHED:COMPLETED' ? '' : JSON.stringify(await league.show(id))
  check(shown === '', `the job ended with ${status} ${shown}`)
  watch.look()
  const seen = await Promise.all(league.sites.map((site) => roundsSeen(league, site, id)))
  return { seen, watch }
}

export function siteNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `site-${i + 1}`)
}
