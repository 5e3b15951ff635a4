import { COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl } from '../server-control.ts'

/** Names of certificates of sites. */
const SITE = /^[A-Za-z0-9@._-]{1,256}$/

/** Commands that keep sites out and let them in again (`spec/admin.md` §8.2). */
export function siteCommands(control: ServerControl): readonly AdminCommand[] {
  return [
    {
      scope: 'training',
      name: 'disable_client',
      description: 'keep a site out until it is enabled; its kit stays good',
      usage: 'disable_client <site>',
      confirm: 'auth',
      kind: 'general',
      aboutParticipant: true,
      rights: ['disable_client'],
      async run({ words, session, reply }) {
        const name = siteIn(words, 'disable_client')
        const { already, wasPresent } = await control.disableSite(name, session.person)
        const client = {
          client_name: name,
          state: 'disabled',
          already_disabled: already,
          active_session_removed: wasPresent,
          credential_revoked: false,
          rejoin_allowed: false,
        }
        reply.dict({ clients: [client] }).ok()
      },
    },
    {
      scope: 'training',
      name: 'enable_client',
      description: 'let a disabled site take part again',
      usage: 'enable_client <site>',
      confirm: 'auth',
      kind: 'general',
      aboutParticipant: true,
      rights: ['enable_client'],
      async run({ words, session, reply }) {
        const name = siteIn(words, 'enable_client')
        const client = {
          client_name: name,
          state: 'enabled',
          was_disabled: await control.enableSite(name, session.person),
          credential_revoked: false,
          rejoin_allowed: true,
        }
        reply.dict({ clients: [client] }).ok()
      },
    },
  ]
}

/** One at a time: each is an entry of its own in the record. @throws {CommandFailure} `syntax_error` */
function siteIn(words: readonly string[], command: string): string {
  const [name = '', ...rest] = words.filter((word) => word !== '')
  if (rest.length === 0 && SITE.test(name)) return name
  throw new CommandFailure(
    COMMAND_STATUS.syntaxError,
    `the name of one site is needed. Usage: ${command} <site>`,
  )
}
