import type { PlaceScopes } from '@hanse/admin'
import { buildCommand, type Command } from '@stricli/core'
import { type HanseContext, type PersonFlags, perform, withSession } from '../hanse-context.ts'
import { textTable } from '../output/text-table.ts'
import { personFlags } from './flags.ts'

export const scopesCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Show the privacy scopes of the server and its sites',
    fullDescription:
      'A job names its scope in its meta.json; a place without that scope does not run it. Jobs that name none get the ' +
      "place's default.",
  },
  parameters: { flags: personFlags },
  func(this: HanseContext, flags: PersonFlags) {
    return perform(this, flags, async () => {
      const scopes = await withSession(this, flags, (session) =>
        session.scopes({ signal: this.host.signal }),
      )
      return {
        json: { scopes: scopes.map((place) => ({ ...place, scopes: [...place.scopes] })) },
        text: textTable(['place', 'scopes', 'default'], scopes.map(row)),
      }
    })
  },
})

function row({ place, scopes, default: usual, error }: PlaceScopes): string[] {
  if (error !== undefined) return [place, `not told: ${error}`, '']
  return [place, scopes.length === 0 ? 'none: nothing is filtered' : scopes.join(', '), usual]
}
