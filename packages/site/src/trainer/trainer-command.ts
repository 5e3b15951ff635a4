import { statSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { checkTrainerCommand } from '@hanse/jobs'
import type { TrainerRuntime } from '@hanse/launcher-process'
import { TrainerError } from './trainer-error.ts'

/** A job's command with what the site puts in front of it. */
export interface TrainerLaunch {
  readonly runtime: TrainerRuntime
  /** The script, relative to the app folder, and its arguments. */
  readonly arguments: readonly string[]
}

/**
 * Reads a job's `command`: the name of a runtime of this site, a script below the job's `custom/`, arguments.
 * The program and its options are the site's.
 * @throws {TrainerError} `ERR_TRAINER_COMMAND`
 */
export async function readTrainerCommand(
  command: string | readonly string[],
  runtimes: ReadonlyMap<string, TrainerRuntime>,
  appDirectory: string,
): Promise<TrainerLaunch> {
  const check = checkTrainerCommand(command, {
    runtimes: new Set(runtimes.keys()),
    files: { has: (path) => isFile(join(appDirectory, path)) },
  })
  if (!check.ok) throw refused(check.reason)
  const { script, args } = check.command
  const runtime = runtimes.get(check.command.runtime)
  if (runtime === undefined) throw refused('its runtime is none of this site')
  const [custom, file] = await Promise.all([
    realpath(join(appDirectory, 'custom')),
    realpath(join(appDirectory, script)),
  ])
  if (!file.startsWith(custom + sep)) throw refused('its script is a link out of custom/')
  return { runtime, arguments: [script, ...args] }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

function refused(reason: string): TrainerError {
  return new TrainerError('ERR_TRAINER_COMMAND', `the job's command cannot be run: ${reason}`)
}
