import { join, resolve } from 'node:path'
import type { AdminSession } from '@hanse/admin'
import type { CommandContext } from '@stricli/core'
import { CliError, describeError, EXIT, type ExitCode } from './cli-error.ts'
import type { CliHost } from './cli-host.ts'
import { plainText } from './output/plain-text.ts'

/** What every command gets as `this`. */
export interface HanseContext extends CommandContext {
  readonly process: CommandContext['process'] & { exitCode?: number | string | null }
  readonly host: CliHost
}

/** What a command found out, for programs and for people. */
export interface CommandResult {
  /** Plain data: it is written as JSON. */
  readonly json: object
  readonly text: string
  /** Default `done`. */
  readonly exitCode?: ExitCode | undefined
}

export interface OutputFlags {
  readonly json?: boolean
}

export interface PersonFlags extends OutputFlags {
  readonly as?: string
}

/** Runs a command's work and writes its result or its error in the form that was asked for. */
export async function perform(
  { host, process }: HanseContext,
  { json = false }: OutputFlags,
  work: () => Promise<CommandResult>,
): Promise<void> {
  try {
    const result = await work()
    host.stdout.write(`${json ? JSON.stringify(result.json) : plainText(result.text)}\n`)
    process.exitCode = result.exitCode ?? EXIT.done
  } catch (error) {
    process.exitCode = reportError(host, json, host.signal.aborted ? interrupted() : error)
  }
}

/** Writes an error and gives the code that the process should end with. */
export function reportError(host: CliHost, json: boolean, error: unknown): ExitCode {
  const { code, message, hint, exitCode } = describeError(error)
  if (json) host.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`)
  else
    host.stderr.write(
      plainText(`hanse: ${message}\n${hint === '' ? '' : `  ${hint}\n`}  (${code})\n`),
    )
  return exitCode
}

/** Works in a session of the person whose kit was named. */
export async function withSession<T>(
  { host }: HanseContext,
  flags: PersonFlags,
  work: (session: AdminSession) => Promise<T>,
): Promise<T> {
  const { signal } = host
  const kit = await host.loadKit(kitDirectory(host, flags.as))
  if (kit.type !== 'admin')
    throw new CliError(
      'ERR_USAGE',
      `the kit of ${kit.name} is a ${kit.type}'s, not a person's`,
      'name the kit of a person with --as or HANSE_KIT',
    )
  await using session = await host.openSession(kit, { signal })
  return await work(session)
}

function kitDirectory(host: CliHost, as: string | undefined): string {
  const named = as ?? host.environment['HANSE_KIT']
  if (named === undefined || named === '')
    throw new CliError(
      'ERR_KIT_NEEDED',
      'nobody said as whom to do this',
      'name the folder of your startup kit with --as or in HANSE_KIT',
    )
  return pathOf(host, named)
}

/** A path that a person gave, from where they stand. */
export function pathOf(host: CliHost, path: string): string {
  return resolve(host.workingDirectory, path)
}

/** Where a place keeps its record; `docs/decisions/0004-run-state-in-the-kit.md`. */
export function recordFile(host: CliHost, kit: string): string {
  return join(pathOf(host, kit), 'state', 'audit.jsonl')
}

function interrupted(): CliError {
  return new CliError(
    'ERR_INTERRUPTED',
    'interrupted',
    'what was already sent to the server stays there',
  )
}
