import { buildCommand, type Command } from '@stricli/core'
import { type HanseContext, type PersonFlags, perform, withSession } from '../hanse-context.ts'
import { personFlags } from './flags.ts'

const participantParameter = {
  brief: 'Name of the participant, as in its kit: a site, or the address of a person',
  placeholder: 'participant',
  parse: String,
} as const

interface RevokeFlags extends PersonFlags {
  readonly reason?: string
}

export const revokeCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Make the kit of a participant worthless, at once and until it is reinstated',
    fullDescription:
      "The server cuts the participant's connections and refuses its logins and messages from now on, also after a " +
      'restart. Jobs go on without a revoked site if they can. The project admin may do this.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [participantParameter] },
    flags: {
      ...personFlags,
      reason: {
        kind: 'parsed',
        brief: 'Why; the participant and the record get to see it',
        placeholder: 'text',
        parse: String,
        optional: true,
      },
    },
  },
  func(this: HanseContext, flags: RevokeFlags, participant: string) {
    return perform(this, flags, async () => {
      const result = await withSession(this, flags, (session) =>
        session.revoke(participant, flags.reason ?? '', { signal: this.host.signal }),
      )
      return {
        json: { ...result },
        text: result.already
          ? `${participant} was revoked before`
          : `${participant} is revoked; hanse reinstate ${participant} undoes it`,
      }
    })
  },
})

export const reinstateCommand: Command<HanseContext> = buildCommand({
  docs: { brief: 'Let a revoked participant take part again' },
  parameters: {
    positional: { kind: 'tuple', parameters: [participantParameter] },
    flags: personFlags,
  },
  func(this: HanseContext, flags: PersonFlags, participant: string) {
    return perform(this, flags, async () => {
      const result = await withSession(this, flags, (session) =>
        session.reinstate(participant, { signal: this.host.signal }),
      )
      return {
        json: { ...result },
        text: result.already
          ? `${participant} was not revoked`
          : `${participant} may take part again`,
      }
    })
  },
})
