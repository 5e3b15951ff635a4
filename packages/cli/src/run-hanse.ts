import { ExitCode, run } from '@stricli/core'
import { CliError, EXIT } from './cli-error.ts'
import type { CliHost } from './cli-host.ts'
import { hanseApplication } from './hanse-application.ts'
import { type HanseContext, reportError } from './hanse-context.ts'

const USAGE_CODES: ReadonlySet<unknown> = new Set([
  ExitCode.InvalidArgument,
  ExitCode.UnknownCommand,
])

/** Runs one command line, without `hanse` itself. @returns the code to end the process with */
export async function runHanse(args: readonly string[], host: CliHost): Promise<number> {
  // What the command tree says of wrong usage comes as text; programs get it in their own form.
  let complaint = ''
  const context: HanseContext = {
    host,
    process: {
      stdout: host.stdout,
      stderr: {
        write: (text) => {
          complaint += text
        },
      },
    },
  }
  await run(hanseApplication(host.version), args, context)
  const { exitCode } = context.process
  if (USAGE_CODES.has(exitCode)) {
    const error = new CliError(
      'ERR_USAGE',
      complaint.trim(),
      usageHint(args, exitCode === ExitCode.UnknownCommand),
    )
    return reportError(host, args.includes('--json'), error)
  }
  if (complaint !== '') host.stderr.write(complaint)
  return typeof exitCode === 'number' && exitCode >= 0 ? exitCode : EXIT.failed
}

/** The help that fits what was tried. */
function usageHint([first = '', second = '']: readonly string[], isUnknown: boolean): string {
  const isGroup = first === 'job' || first === 'audit'
  if (!isGroup && isUnknown) return 'hanse --help shows the commands'
  const command = isGroup && !isUnknown ? [first, second] : [first]
  return `${['hanse', ...command].join(' ')} --help shows how it is used`
}
