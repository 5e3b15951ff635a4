import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { League } from './league.ts'

const MIB = 2 ** 20

/** What the system lets the processes of a place have. */
export interface ProcessLimits {
  /** Memory of its own that each may take beside what the place's first process has now (`RLIMIT_DATA`). */
  readonly moreMemoryMb?: number
  /** How long a file may become that one of them writes (`RLIMIT_FSIZE`): a disk that is full, for them only. */
  readonly fileMb?: number
}

/** Limits a place that runs, and every process it started or will start. Linux with `prlimit`; needs no rights. */
export async function limitPlace(
  league: League,
  name: string,
  limits: ProcessLimits,
): Promise<void> {
  const { pid } = league.place(name)
  const options: string[] = []
  if (limits.moreMemoryMb !== undefined)
    options.push(`--data=${(await dataBytes(pid)) + limits.moreMemoryMb * MIB}`)
  if (limits.fileMb !== undefined) options.push(`--fsize=${limits.fileMb * MIB}`)
  const limit = (each: number) =>
    promisify(execFile)('prlimit', ['--pid', String(each), ...options])
  // The place first: what it starts from now on has its limits.
  await limit(pid)
  for (const child of await league.childrenOf(pid)) await limit(child)
}

/** Private memory of a process that it may write, whether it has used it or not. */
export async function dataBytes(pid: number | 'self'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmData:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}
