import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { messageOf } from '@hanse/contract'
import { parseCertificates } from '@hanse/pki'
import type { AnyParticipant, Project } from '../project/project.ts'
import { ProvisionError } from '../provision-error.ts'
import type { IssuedKit } from '../state/provision-state.ts'
import { changedFacts, participantFacts } from './participant-facts.ts'

/** A participant with all that its kit is made from. */
export interface PlannedKit {
  readonly participant: AnyParticipant
  readonly facts: Readonly<Record<string, string>>
  /** PEM text of its `custom_ca_cert`. */
  readonly customCa: string | undefined
}

/**
 * Everybody in the project, in the order of the result.
 * @param directory that `custom_ca_cert` paths are relative to
 * @throws {ProvisionError} `ERR_PROJECT_FILE` for a `custom_ca_cert` that cannot be used
 */
export async function planKits(
  project: Project,
  directory: string,
): Promise<readonly PlannedKit[]> {
  const participants = [project.server, ...project.sites, ...project.admins]
  const customCas = new Map<string | undefined, string>()
  for (const path of new Set(participants.map(({ customCaCert }) => customCaCert)))
    if (path !== undefined) customCas.set(path, await readCustomCa(path, directory))
  return participants.map((participant) => {
    const customCa = customCas.get(participant.customCaCert)
    return { participant, facts: participantFacts(project, participant, customCa), customCa }
  })
}

async function readCustomCa(path: string, directory: string): Promise<string> {
  try {
    const text = await readFile(resolve(directory, path), 'utf8')
    return parseCertificates(text, path)
      .map(({ pem }) => pem)
      .join('')
  } catch (cause) {
    throw new ProvisionError(
      'ERR_PROJECT_FILE',
      `custom_ca_cert ${path} cannot be used: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
}

/**
 * Those who need a kit now: newcomers, and whoever is named in `reissue`.
 * @throws {ProvisionError} `ERR_PARTICIPANT_CHANGED` that lists every kit made from other values
 */
export function kitsToMake(
  planned: readonly PlannedKit[],
  issued: ReadonlyMap<string, IssuedKit>,
  reissue: readonly string[],
): readonly PlannedKit[] {
  const names = new Set(planned.map(({ participant }) => participant.name))
  const unknown = reissue.filter((name) => !names.has(name))
  if (unknown.length > 0)
    throw new ProvisionError(
      'ERR_PARTICIPANT_CHANGED',
      `${unknown.join(', ')} cannot be issued again: not in the project file`,
    )
  const again = new Set(reissue)
  const changed: string[] = []
  const toMake = planned.filter(({ participant: { name }, facts }) => {
    const before = issued.get(name)
    if (before === undefined || again.has(name)) return true
    const differences = changedFacts(before.facts, facts)
    if (differences.length > 0) changed.push(`${name} (${differences.join(', ')})`)
    return false
  })
  if (changed.length > 0)
    throw new ProvisionError(
      'ERR_PARTICIPANT_CHANGED',
      `these kits were made from other values: ${changed.join('; ')}. Take the change back, or ask for new kits for them (reissue)`,
      { participants: changed.length },
    )
  return toMake
}
