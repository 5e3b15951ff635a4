import { sha256Hex } from '@hanse/pki'
import type { AnyParticipant, Project } from '../project/project.ts'

/**
 * What a kit was made from, as flat text: stored with each kit, so that a later run sees what changed and says it.
 * @param customCa PEM text of the participant's `custom_ca_cert`
 *
 * Studies are left out: they live in the server's own files and change at run time.
 */
export function participantFacts(
  project: Project,
  participant: AnyParticipant,
  customCa: string | undefined,
): Readonly<Record<string, string>> {
  const { requireSignedJobs } = project
  return {
    type: participant.type,
    org: participant.org,
    connection_security: participant.connectionSecurity,
    scheme: project.scheme,
    ...(customCa === undefined ? {} : { custom_ca_cert: sha256Hex(customCa) }),
    ...(requireSignedJobs === undefined ? {} : { require_signed_jobs: String(requireSignedJobs) }),
    ...ownFacts(project, participant),
  }
}

function ownFacts(project: Project, participant: AnyParticipant): Readonly<Record<string, string>> {
  switch (participant.type) {
    case 'server':
      return {
        hosts: certificateHosts(participant).join(' '),
        fed_learn_port: String(participant.port),
        admin_port: String(participant.adminPort),
      }
    case 'site':
      return {
        server: serverOf(project, participant),
        allow_log_streaming: String(participant.allowLogStreaming),
        capacity: `${participant.gpus} x ${participant.gpuMemoryGib} GiB`,
      }
    case 'admin':
      return { server: serverOf(project, participant), role: participant.role }
    default:
      return participant satisfies never
  }
}

/**
 * Names in the certificate. Unlike stock, the server's own name is always among its hosts, so that a client can
 * check it whatever address it dialled (`spec/provision.md` §10).
 */
export function certificateHosts(participant: AnyParticipant): readonly string[] {
  return participant.type === 'server'
    ? [...new Set([participant.defaultHost, ...participant.hostNames, participant.name])]
    : [participant.name]
}

/** `field: before → now` for each fact that differs. */
export function changedFacts(
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): readonly string[] {
  const was = new Map(Object.entries(before))
  const is = new Map(Object.entries(now))
  return [...new Set([...was.keys(), ...is.keys()])]
    .filter((key) => was.get(key) !== is.get(key))
    .map((key) => `${key}: ${was.get(key) ?? 'not set'} → ${is.get(key) ?? 'not set'}`)
}

function serverOf(
  project: Project,
  { connectTo }: Extract<AnyParticipant, { type: 'site' | 'admin' }>,
): string {
  return `${project.server.name} at ${connectTo.host}:${connectTo.port}`
}
