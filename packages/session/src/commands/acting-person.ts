import type { JsonObject } from '@hanse/contract'
import { textIn } from '../json-values.ts'
import type { SignedCommand } from '../people/signed-command.ts'

/** A person on whose behalf a command is given. */
export interface ActingPerson {
  readonly name: string
  readonly organization: string
  readonly role: string
  /** What shows that the person gave this command. */
  readonly signed?: SignedCommand | undefined
}

/** Who submitted a job, as its meta says; empty texts for what it does not say. */
export function submitterOf(meta: JsonObject): ActingPerson {
  return {
    name: textIn(meta, 'submitter_name'),
    organization: textIn(meta, 'submitter_org'),
    role: textIn(meta, 'submitter_role'),
  }
}
