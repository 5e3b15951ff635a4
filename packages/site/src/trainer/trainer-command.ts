import { realpath, stat } from 'node:fs/promises'
import { join, normalize, sep } from 'node:path'
import type { TrainerRuntime } from '@hanse/launcher-process'
import { TrainerError } from './trainer-error.ts'

/** A job's command after the site has read it. */
export interface TrainerLaunch {
  readonly runtime: TrainerRuntime
  /** The script, relative to the app folder, and its arguments. */
  readonly arguments: readonly string[]
}

const MAX_ARGUMENTS = 256
const MAX_ARGUMENT_CHARACTERS = 8_192
/** Stock jobs put it before the script; unbuffered output is the site's affair. */
const IGNORED_OPTIONS = new Set(['-u'])

/**
 * Reads a job's `command`: the name of a runtime of this site, a script below the job's `custom/`, arguments.
 * The program and its options are the site's.
 * @param command as the job has it: a list, or one line in which quotes hold words together
 * @throws {TrainerError} `ERR_TRAINER_COMMAND`
 */
export async function readTrainerCommand(
  command: string | readonly string[],
  runtimes: ReadonlyMap<string, TrainerRuntime>,
  appDirectory: string,
): Promise<TrainerLaunch> {
  const words = typeof command === 'string' ? splitLine(command) : command
  const [name = '', ...rest] = words
  if (words.length > MAX_ARGUMENTS || words.some((word) => word.length > MAX_ARGUMENT_CHARACTERS))
    throw refused(`it has more than ${MAX_ARGUMENTS} words or a word too long`)
  if (words.some((word) => word.includes('\0'))) throw refused('a word has a zero character')
  const runtime = runtimes.get(name)
  if (runtime === undefined) {
    const known = [...runtimes.keys()].join(', ') || 'none'
    throw refused(`its program is no trainer runtime of this site (which are: ${known})`)
  }
  const start = rest.findIndex((word) => !IGNORED_OPTIONS.has(word))
  const script = start < 0 ? undefined : rest[start]
  if (script === undefined) throw refused('it names no script')
  if (script.startsWith('-'))
    throw refused("it has an option before the script, and options of the program are the site's")
  await checkScript(script, appDirectory)
  return { runtime, arguments: [normalize(script), ...rest.slice(start + 1)] }
}

async function checkScript(script: string, appDirectory: string): Promise<void> {
  if (!normalize(script).startsWith(`custom${sep}`))
    throw refused('its script is not below custom/')
  try {
    const [custom, file] = await Promise.all([
      realpath(join(appDirectory, 'custom')),
      realpath(join(appDirectory, script)),
    ])
    if (!file.startsWith(custom + sep)) throw refused('its script is a link out of custom/')
    if (!(await stat(file)).isFile()) throw refused('its script is no file')
  } catch (cause) {
    throw cause instanceof TrainerError
      ? cause
      : new TrainerError(
          'ERR_TRAINER_COMMAND',
          "the job's command cannot be run: its script is not in the app folder",
          {},
          { cause },
        )
  }
}

/** Words of a line; `'…'` and `"…"` hold spaces. Nothing else of a shell is known, and none is used. */
function splitLine(line: string): string[] {
  const words = line.matchAll(/(?:[^\s'"]+|'[^']*'|"[^"]*")+/g)
  return Array.from(words, ([word]) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'))
}

function refused(reason: string): TrainerError {
  return new TrainerError('ERR_TRAINER_COMMAND', `the job's command cannot be run: ${reason}`)
}
