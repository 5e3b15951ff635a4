import { COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { ServerControl } from '../server-control.ts'

const MAX_REASON_CHARS = 500
/** Names of certificates: of sites, host names and addresses of people. */
const PARTICIPANT = /^[A-Za-z0-9@._%+-]{1,256}$/

/** Hanse's own commands about who belongs to the league, and over what it is connected. */
export function leagueCommands(control: ServerControl): readonly AdminCommand[] {
  return [
    {
      scope: 'hanse',
      name: 'hanse.revoke',
      description: 'make the kit of a participant worthless, at once and until it is reinstated',
      usage: 'hanse.revoke <participant> [reason ...]',
      confirm: 'yesno',
      kind: 'general',
      aboutParticipant: true,
      // In no category of stock: with the default policy only project admins have it.
      rights: ['revoke'],
      async run({ words, session, reply }) {
        const participant = participantIn(words)
        const reason = words.slice(1).join(' ').slice(0, MAX_REASON_CHARS)
        const outcome = await control.revoke(participant, session.person, reason)
        if (outcome === 'own-name')
          throw new CommandFailure(
            COMMAND_STATUS.error,
            `${participant} is this server; it cannot revoke itself`,
          )
        reply.dict({ participant, revoked: true, already: outcome === 'already' }).ok()
      },
    },
    {
      scope: 'hanse',
      name: 'hanse.reinstate',
      description: 'let a revoked participant take part again',
      usage: 'hanse.reinstate <participant>',
      confirm: 'yesno',
      kind: 'general',
      aboutParticipant: true,
      rights: ['revoke'],
      async run({ words, session, reply }) {
        const participant = participantIn(words)
        const outcome = await control.reinstate(participant, session.person)
        reply.dict({ participant, revoked: false, already: outcome === 'already' }).ok()
      },
    },
    {
      scope: 'hanse',
      name: 'hanse.connections',
      description: 'how each directly connected cell is connected',
      usage: 'hanse.connections',
      confirm: 'none',
      kind: 'general',
      rights: ['check_status'],
      run({ reply }) {
        reply
          .dict({ connections: control.connections().map((connection) => ({ ...connection })) })
          .ok()
      },
    },
  ]
}

function participantIn([participant = '']: readonly string[]): string {
  if (PARTICIPANT.test(participant)) return participant
  throw new CommandFailure(
    COMMAND_STATUS.syntaxError,
    'the name of one participant is needed, as in its certificate',
  )
}
