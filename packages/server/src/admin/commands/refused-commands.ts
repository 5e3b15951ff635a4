import { COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'

const NO_FILES =
  'a Hanse server shows nobody its files; get_job_log has the logs of jobs, download_job their results'

/** What stock's tools can ask and Hanse does not do, with what to do instead. */
const REFUSED: readonly (readonly [scope: string, name: string, reason: string])[] = [
  ...['pwd', 'ls', 'cat', 'head', 'tail', 'grep'].map((name) => ['shell', name, NO_FILES] as const),
  ['sys', 'sys_info', 'a Hanse server tells nobody about its machine; look at the machine itself'],
  [
    'training',
    'remove_client',
    "to forget a site's login has no meaning in Hanse: it would come back with its next heartbeat; disable_client keeps it out",
  ],
  [
    'job_mgmt',
    'app_command',
    'jobs of a Hanse server take no commands of their own; abort_job ends one',
  ],
]

/** They are in the table: stock's tools would otherwise say that they do not know them, and not why. */
export function refusedCommands(): readonly AdminCommand[] {
  return REFUSED.map(([scope, name, reason]) => ({
    scope,
    name,
    description: `not in Hanse: ${reason}`,
    usage: name,
    confirm: 'none',
    kind: 'general',
    rights: [],
    run() {
      throw new CommandFailure(COMMAND_STATUS.error, reason)
    },
  }))
}
