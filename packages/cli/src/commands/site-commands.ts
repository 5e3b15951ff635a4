import { buildCommand, type Command } from '@stricli/core'
import { type HanseContext, type PersonFlags, perform, withSession } from '../hanse-context.ts'
import { personFlags } from './flags.ts'

const siteParameter = {
  brief: 'Name of the site, as in its kit',
  placeholder: 'site',
  parse: String,
} as const

export const disableCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Keep a site out until it is enabled; its kit stays good',
    fullDescription:
      "The server refuses the site's logins and messages from now on, also after a restart. The site waits, and takes " +
      'part again by itself once it is enabled. Jobs go on without it if they can.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [siteParameter] },
    flags: personFlags,
  },
  func(this: HanseContext, flags: PersonFlags, site: string) {
    return perform(this, flags, async () => {
      const { already } = await withSession(this, flags, (session) =>
        session.disable(site, { signal: this.host.signal }),
      )
      return {
        json: { site, disabled: true, already },
        text: already
          ? `${site} was disabled before`
          : `${site} is disabled; hanse enable ${site} undoes it`,
      }
    })
  },
})

export const enableCommand: Command<HanseContext> = buildCommand({
  docs: { brief: 'Let a disabled site take part again' },
  parameters: {
    positional: { kind: 'tuple', parameters: [siteParameter] },
    flags: personFlags,
  },
  func(this: HanseContext, flags: PersonFlags, site: string) {
    return perform(this, flags, async () => {
      const { already } = await withSession(this, flags, (session) =>
        session.enable(site, { signal: this.host.signal }),
      )
      return {
        json: { site, disabled: false, already },
        text: already ? `${site} was not disabled` : `${site} may take part again`,
      }
    })
  },
})
