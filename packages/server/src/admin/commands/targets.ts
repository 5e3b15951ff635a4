import { COMMAND_STATUS } from '@hanse/session'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl, SiteStatus } from '../server-control.ts'

/** Whom a command is about. */
export interface Targets {
  readonly server: boolean
  /** `undefined` if it is about no sites. */
  readonly sites: readonly SiteStatus[] | undefined
}

/**
 * Reads `server`, `client [names …]` or `all` (`spec/admin.md` §8.2).
 * @throws {CommandFailure} `syntax_error`, `invalid_target`
 */
export function readTargets(control: ServerControl, words: readonly string[]): Targets {
  const [kind, ...names] = words.filter((word) => word !== '')
  if (kind !== 'server' && kind !== 'client' && kind !== 'all')
    throw new CommandFailure(
      COMMAND_STATUS.syntaxError,
      `the target must be server, client or all, not '${(kind ?? '').slice(0, 64)}'`,
    )
  if (kind === 'server') return { server: true, sites: undefined }
  const sites = control.sites().filter(({ disabled }) => !disabled)
  const unknown = names.filter((name) => !sites.some((site) => site.name === name))
  if (unknown.length > 0)
    throw new CommandFailure(
      COMMAND_STATUS.invalidTarget,
      `invalid client(s): ${unknown.join(' ').slice(0, 256)}`,
    )
  const chosen = names.length === 0 ? sites : sites.filter(({ name }) => names.includes(name))
  // The status of a server without sites is worth knowing, too.
  if (chosen.length === 0 && kind === 'client')
    throw new CommandFailure(COMMAND_STATUS.invalidTarget, 'no clients available')
  return { server: kind === 'all', sites: chosen }
}

/** Their names. */
export function namesOf({ sites = [] }: Targets): readonly string[] {
  return sites.map(({ name }) => name)
}
