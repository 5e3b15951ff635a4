import {
  COMMAND_HEADER,
  type CommandVerifier,
  commandText,
  readSignedCommand,
  SIGNED_COMMAND_HEADER,
  type SiteCommand,
  splitWords,
} from '@hanse/session'
import { SiteError } from '../site-error.ts'

/** Who asks, and how the site knows it. */
export interface AskingPerson {
  readonly name: string
  readonly org: string
  readonly role: string
  /** `signature`: the person's own signature was verified here; `relayed`: the server says so. */
  readonly evidence: 'signature' | 'relayed'
}

export interface ProvenPersonOptions {
  /** Name of this site. */
  readonly site: string
  /** What a person types for it, one of these. */
  readonly rights: readonly string[]
  /** Obey nobody whom only the server names. */
  readonly required: boolean
}

/**
 * Finds out who asks through the server. A person's own signature says it better than the server: it must be of
 * this question, about this job and this site, and is taken once.
 * @throws {SiteError} `ERR_COMMAND_REFUSED`
 * @throws {SessionError} `ERR_COMMAND_PROOF`
 */
export async function provenPerson(
  command: SiteCommand,
  verifier: CommandVerifier,
  { site, rights, required }: ProvenPersonOptions,
): Promise<AskingPerson> {
  const text = command.headers.get(SIGNED_COMMAND_HEADER)
  if (text === undefined) {
    if (required)
      throw new SiteError(
        'ERR_COMMAND_REFUSED',
        'this site obeys people only by their own signature, and none came; use the hanse command',
      )
    return {
      name: commandText(command, COMMAND_HEADER.userName),
      org: commandText(command, COMMAND_HEADER.userOrganization),
      role: commandText(command, COMMAND_HEADER.userRole),
      evidence: 'relayed',
    }
  }
  const signed = readSignedCommand(text)
  if (signed === undefined)
    throw new SiteError('ERR_COMMAND_REFUSED', 'the signed command cannot be read')
  const jobId = commandText(command, COMMAND_HEADER.jobId)
  const body = typeof command.body === 'string' ? command.body : ''
  if (!isFor(splitWords(signed.command), { rights, jobId, site, body }))
    throw new SiteError(
      'ERR_COMMAND_REFUSED',
      `'${signed.person}' signed another command than ${command.topic} for this site`,
    )
  const { name, organization, role } = await verifier.take(signed, `${command.topic} ${jobId}`)
  return { name, org: organization, role, evidence: 'signature' }
}

/** Whether a command as people type it asks for this: its name, then the job if it is about one, then the targets. */
function isFor(
  words: readonly string[],
  question: {
    readonly rights: readonly string[]
    readonly jobId: string
    readonly site: string
    readonly body: string
  },
): boolean {
  const [name = '', ...rest] = words.filter((word) => word !== '')
  const { rights, jobId, site, body } = question
  if (!rights.includes(name)) return false
  if (jobId !== '' && rest.shift() !== jobId) return false
  // What goes with a question comes last.
  if (body !== '' && rest.pop() !== body) return false
  const kind = rest[0] === 'all' || rest[0] === 'client' ? rest.shift() : undefined
  if (rest[0] === 'server') return false
  return rest.length === 0 ? kind !== undefined || name === 'report_env' : rest.includes(site)
}
