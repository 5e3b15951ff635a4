import { isAbsolute } from 'node:path'
import { LaunchError } from '../launch-error.ts'
import type { OutputLogOptions } from '../output-log.ts'
import type { TrainerRuntime } from './trainer-runtime.ts'

/** What a trainer may use of the machine. */
export interface TrainerLimits {
  /** Open descriptors; default 1,024. */
  readonly openFiles?: number | undefined
  /** Largest file it may write, bytes; default 16 GiB. */
  readonly fileBytes?: number | undefined
  /** Processes and threads of the site's user together; default 4,096. Not enforced by Linux for root. */
  readonly processes?: number | undefined
  /** Size of its private /tmp in memory, bytes; default 256 MiB. Only under `namespaces`. */
  readonly tmpBytes?: number | undefined
}

/** A trainer to start: everything it gets, and so everything it sees. All paths absolute. */
export interface ConfinedProgram {
  readonly runtime: TrainerRuntime
  /** The script, relative to `appDirectory`, and its arguments. */
  readonly arguments: readonly string[]
  /** The job's app folder; read-only, and the current folder. */
  readonly appDirectory: string
  /** Granted data sets by name; read-only. A name is letters, digits, dot, dash and underscore. */
  readonly datasets?: Readonly<Record<string, string>> | undefined
  /** The one folder it may write, private to this launch; made and removed by the caller. */
  readonly scratchDirectory: string
  readonly limits?: TrainerLimits | undefined
  readonly output?: OutputLogOptions | undefined
}

const DATASET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

/** @throws {LaunchError} `ERR_LAUNCH_OPTIONS` */
export function checkProgram(program: ConfinedProgram): void {
  const { runtime, datasets = {} } = program
  const paths = [
    runtime.program,
    program.appDirectory,
    program.scratchDirectory,
    ...(runtime.read ?? []),
    ...Object.values(datasets),
  ]
  for (const path of paths)
    if (!isAbsolute(path) || path.includes('\0'))
      throw new LaunchError('ERR_LAUNCH_OPTIONS', `"${path}" is not an absolute path`)
  for (const name of Object.keys(datasets))
    if (!DATASET_NAME.test(name))
      throw new LaunchError(
        'ERR_LAUNCH_OPTIONS',
        `data set name "${name}" has other characters than letters, digits, ".", "-", "_"`,
      )
}
