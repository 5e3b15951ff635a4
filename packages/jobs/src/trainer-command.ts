import { JobsError } from './jobs-error.ts'
import { quoted } from './names.ts'

/** The command of a trainer, taken apart. The site puts its own program and options in front. */
export interface TrainerCommand {
  /** Name in the site's list of trainer runtimes, e.g. `python3`. */
  readonly runtime: string
  /** Path of the script in the app, below `custom/`. */
  readonly script: string
  readonly args: readonly string[]
}

export type TrainerCommandCheck =
  | { readonly ok: true; readonly command: TrainerCommand }
  | { readonly ok: false; readonly code: TrainerCommandCode; readonly reason: string }

/** Why a command is refused. Codes are stable. */
export type TrainerCommandCode =
  | 'command-format'
  | 'command-runtime'
  | 'command-option'
  | 'command-script'

export interface TrainerCommandContext {
  /** Names that the site has programs for; absent (at submission): any name that is no shell. */
  readonly runtimes?: ReadonlySet<string> | undefined
  /** Paths of the app's files, relative to the app. */
  readonly files: { has(path: string): boolean }
}

const MAX_WORDS = 512
const MAX_CHARACTERS = 32_768
const RUNTIME_NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/

/** Programs that would make the rest of the command a program of its own. */
const SHELLS: ReadonlySet<string> = new Set([
  ...['sh', 'bash', 'dash', 'zsh', 'ksh', 'csh', 'tcsh', 'fish', 'ash', 'busybox', 'rbash'],
  ...['env', 'exec', 'eval', 'xargs', 'nohup', 'nice', 'time', 'timeout', 'setsid', 'script'],
  ...['sudo', 'su', 'doas', 'chroot', 'nsenter', 'unshare', 'ssh', 'make'],
  ...['cmd', 'cmd.exe', 'powershell', 'powershell.exe', 'pwsh'],
])

/**
 * Options that stock's job exporter writes before the script and that change nothing a site must know of: they
 * are dropped. `-u` of Python only turns its output buffer off.
 */
const DROPPED_OPTIONS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['python3', new Set(['-u'])],
  ['python', new Set(['-u'])],
])

/**
 * Checks the `command` of an external trainer: the site chooses the program, the job only the script. Used by the
 * server at submission and by the site before it starts anything. Nothing in it has a meaning to a shell.
 * @param command list of words, or one text that is split at blanks
 */
export function checkTrainerCommand(
  command: unknown,
  { runtimes, files }: TrainerCommandContext,
): TrainerCommandCheck {
  const words = wordsOf(command)
  if (words === undefined)
    return refused(
      'command-format',
      `the command must be a list of 2 to ${MAX_WORDS} texts without control characters, or one text of such words`,
    )
  const [runtime = '', ...rest] = words
  const runtimeProblem = problemOfRuntime(runtime, runtimes)
  if (runtimeProblem !== undefined) return refused('command-runtime', runtimeProblem)
  const dropped = DROPPED_OPTIONS.get(runtime)
  while (dropped?.has(rest[0] ?? '') === true) rest.shift()
  const [script, ...args] = rest
  if (script === undefined)
    return refused('command-script', `the command names no script after ${quoted(runtime)}`)
  if (script.startsWith('-'))
    return refused(
      'command-option',
      `${quoted(script)} stands before the script; options of the program are the site's to set`,
    )
  const scriptProblem = problemOfScript(script, files)
  if (scriptProblem !== undefined) return refused('command-script', scriptProblem)
  return { ok: true, command: { runtime, script, args } }
}

/** As {@link checkTrainerCommand}, for callers that cannot go on without. @throws {JobsError} `ERR_JOB_SPEC` */
export function parseTrainerCommand(
  command: unknown,
  context: TrainerCommandContext,
): TrainerCommand {
  const check = checkTrainerCommand(command, context)
  if (!check.ok) throw new JobsError('ERR_JOB_SPEC', check.reason)
  return check.command
}

/**
 * Checks the path of a script that a job names: below `custom/` of the app, and there.
 * @returns what is wrong with it
 */
export function problemOfScript(
  script: string,
  files: { has(path: string): boolean },
): string | undefined {
  const parts = script.split('/')
  if (parts[0] !== 'custom' || parts.length < 2)
    return `the script ${quoted(script)} is not below custom/ of the app`
  if (script.includes('\\') || parts.some((part) => part === '' || part === '.' || part === '..'))
    return `the script ${quoted(script)} must be a plain path without ".", ".." or backslashes`
  if (!files.has(script)) return `the script ${quoted(script)} is not in the app`
  return undefined
}

function problemOfRuntime(
  runtime: string,
  runtimes: ReadonlySet<string> | undefined,
): string | undefined {
  if (runtime.includes('/') || runtime.includes('\\'))
    return `${quoted(runtime)} is a path; name a runtime of the site, e.g. python3 or node`
  if (SHELLS.has(runtime.toLowerCase()))
    return `${quoted(runtime)} starts other programs; name a runtime of the site, e.g. python3 or node`
  if (!RUNTIME_NAME.test(runtime))
    return `${quoted(runtime)} cannot be the name of a trainer runtime`
  if (runtimes?.has(runtime) === false)
    return `this site has no trainer runtime ${quoted(runtime)}; it has ${[...runtimes].join(', ') || 'none'}`
  return undefined
}

function wordsOf(command: unknown): string[] | undefined {
  const words: unknown[] =
    typeof command === 'string'
      ? command.split(/[ \t]+/).filter((word) => word !== '')
      : Array.isArray(command)
        ? [...command]
        : []
  let characters = 0
  const texts = words.filter((word) => {
    if (typeof word !== 'string') return false
    characters += word.length
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    return !/[\u0000-\u001f\u007f]/.test(word) && word.isWellFormed()
  })
  const isFine =
    texts.length === words.length &&
    words.length >= 2 &&
    words.length <= MAX_WORDS &&
    characters <= MAX_CHARACTERS
  return isFine ? (texts as string[]) : undefined
}

function refused(code: TrainerCommandCode, reason: string): TrainerCommandCheck {
  return { ok: false, code, reason }
}
