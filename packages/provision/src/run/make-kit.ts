import { type Certificate, issueLeaf, type LeafProfile, type PrivateKey } from '@hanse/pki'
import { kitEntries } from '../kit/kit-entries.ts'
import { type KitEntry, KitFile, secretEntry, textEntry } from '../kit/kit-layout.ts'
import { manifestEntries } from '../kit/manifest.ts'
import type { AnyParticipant, Project } from '../project/project.ts'
import { certificateHosts } from './participant-facts.ts'
import type { PlannedKit } from './planned-kit.ts'
import { BACKDATE_MS, DAY_MS, LEAF_VALID_DAYS } from './validity.ts'

/** A kit in memory, complete with key, certificate and manifest. */
export interface MadeKit extends PlannedKit {
  readonly certificate: Certificate
  readonly entries: ReadonlyMap<string, KitEntry>
}

/** A site cannot pose as a server, nor a person as either (`spec/provision.md` §10). */
const PROFILES: Readonly<Record<AnyParticipant['type'], LeafProfile>> = {
  server: {
    keyUsage: ['digitalSignature', 'keyEncipherment'],
    extendedKeyUsage: ['serverAuth', 'clientAuth'],
    kitMark: { version: 1, type: 'server' },
  },
  site: {
    keyUsage: ['digitalSignature', 'keyEncipherment'],
    extendedKeyUsage: ['clientAuth'],
    kitMark: { version: 1, type: 'site' },
  },
  admin: {
    keyUsage: ['digitalSignature', 'nonRepudiation', 'keyEncipherment'],
    extendedKeyUsage: ['clientAuth'],
    kitMark: { version: 1, type: 'admin' },
  },
}

/** Makes one kit (`spec/provision.md` §3, §4). @param key the participant's own, new */
export function makeKit(
  project: Project,
  planned: PlannedKit,
  key: PrivateKey,
  { root, caKey }: { readonly root: Certificate; readonly caKey: PrivateKey },
  now: number,
): MadeKit {
  const { participant, customCa } = planned
  const { name, type } = participant
  const certificate = issueLeaf(root, caKey, {
    commonName: name,
    organization: participant.org,
    role: type === 'admin' ? participant.role : undefined,
    publicKey: key.publicKey,
    hosts: certificateHosts(participant),
    notBefore: now - BACKDATE_MS,
    notAfter: now + LEAF_VALID_DAYS * DAY_MS,
    profile: PROFILES[type],
  })
  const server = type === 'server'
  const entries = new Map<string, KitEntry>([
    ...kitEntries(project, participant),
    [KitFile.root, textEntry(root.pem)],
    [server ? KitFile.serverCertificate : KitFile.clientCertificate, textEntry(certificate.pem)],
    [server ? KitFile.serverKey : KitFile.clientKey, secretEntry(key.exportPem())],
  ])
  if (customCa !== undefined) entries.set(KitFile.customRoot, textEntry(customCa))
  const owner = { project: project.name, name, type, certificate }
  for (const [path, entry] of manifestEntries(owner, entries, caKey)) entries.set(path, entry)
  return { ...planned, certificate, entries }
}
