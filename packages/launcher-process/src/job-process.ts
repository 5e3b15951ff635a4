import { type GroupProcess, startInGroup } from './group-process.ts'
import type { OutputLogOptions } from './output-log.ts'

export interface JobProcessOptions {
  /** Absolute path of the module to run. */
  readonly module: string
  readonly arguments?: readonly string[] | undefined
  /** Options for the runtime, before the module, e.g. `--conditions=source`. */
  readonly runtimeOptions?: readonly string[] | undefined
  /** Default: the runtime this process runs on. */
  readonly program?: string | undefined
  /** The whole environment of the child; default empty. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  readonly directory: string
  readonly output?: OutputLogOptions | undefined
}

/** A job's process: ours, not confined, tied to its parent by the pipe. */
export type JobProcess = Omit<GroupProcess, 'logTo'>

/**
 * Starts a module of ours as a job process. It finds its parent with `openParentPipe`, which also makes it end
 * when the parent is gone.
 * @throws {LaunchError} `ERR_LAUNCH`
 */
export async function startJobProcess(options: JobProcessOptions): Promise<GroupProcess> {
  return await startInGroup({
    program: options.program ?? process.execPath,
    arguments: [...(options.runtimeOptions ?? []), options.module, ...(options.arguments ?? [])],
    environment: options.environment ?? {},
    directory: options.directory,
    output: options.output,
  })
}
