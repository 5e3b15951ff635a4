import { folderMembers, writeArchive } from '@hanse/archive'
import type { AuditEvent, AuditLog } from '@hanse/audit'
import type { JsonObject } from '@hanse/contract'
import { JobFiles, type SubmissionProof, signJob } from '@hanse/jobs'
import { generatePrivateKey, type Identity, issueLeaf, issueRoot, loadIdentity } from '@hanse/pki'
import { DEFAULT_HANSE_SETTINGS, type SiteKit } from '@hanse/provision'

const now = Date.now()
const times = { notBefore: now - 3_600_000, notAfter: now + 3_600_000 }

/** People and a site of one league. Making keys is slow: tests share one. */
export class TestPeople {
  readonly #rootKey = generatePrivateKey()
  readonly #made = new Map<string, Promise<Identity>>()

  /** @param role empty for a site */
  of(name: string, role = 'lead'): Promise<Identity> {
    let identity = this.#made.get(name)
    if (identity === undefined) {
      identity = this.#make(name, role)
      this.#made.set(name, identity)
    }
    return identity
  }

  async #make(name: string, role: string): Promise<Identity> {
    const rootKey = await this.#rootKey
    const root = issueRoot(rootKey, { commonName: 'league', ...times })
    const key = await generatePrivateKey()
    const leaf = issueLeaf(root, rootKey, {
      commonName: name,
      organization: 'org_a',
      role: role === '' ? undefined : role,
      publicKey: key.publicKey,
      hosts: [],
      ...times,
      profile: {
        keyUsage: ['digitalSignature'],
        extendedKeyUsage: ['clientAuth'],
        kitMark: { version: 1, type: role === '' ? 'site' : 'admin' },
      },
    })
    const pem = { cert: leaf.pem, key: key.exportPem(), root: root.pem }
    return loadIdentity(pem, { now })
  }
}

/** Leads may submit jobs with code, members jobs without. */
export const POLICY = JSON.stringify({
  format_version: '1.0',
  permissions: {
    lead: {
      submit_job: 'any',
      byoc: 'any',
      view: 'any',
      operate: 'any',
      manage_job: 'n:submitter',
    },
    member: { submit_job: 'any' },
  },
})

export function siteKit(identity: Identity, more: Partial<SiteKit> = {}): SiteKit {
  return {
    type: 'site',
    name: 'site-1',
    project: 'league',
    directory: '/nowhere',
    identity,
    server: {
      identity: 'server1',
      host: 'localhost',
      port: 1,
      scheme: 'tcp',
      connectionSecurity: 'mtls',
      customRootPem: undefined,
    },
    privacyPolicy: undefined,
    hanse: DEFAULT_HANSE_SETTINGS,
    warnings: [],
    settings: {
      allowLogStreaming: true,
      retryTimeoutSeconds: 30,
      gpus: 0,
      gpuMemoryGib: 0,
      reservationSeconds: 300,
      requireSignedJobs: true,
      componentPolicy: { mode: 'enforce', allowed: undefined },
    },
    authorizationPolicy: POLICY,
    datasets: new Map(),
    ...more,
  }
}

/** The zip of the app of a job folder, as a server deploys it; signed by `signer` if there is one. */
export async function appArchive(
  jobFolder: string,
  signer?: Identity,
  submission?: SubmissionProof,
): Promise<Uint8Array> {
  const members = []
  for await (const member of folderMembers(jobFolder)) members.push(member)
  let files = new JobFiles(members)
  if (signer !== undefined)
    files = await signJob(files, { key: signer.key, chainPem: signer.chainPem }, submission)
  const parts: Uint8Array[] = []
  for await (const part of writeArchive(files.below('app').members())) parts.push(part)
  return Buffer.concat(parts)
}

export function metaOf(jobId: string, more: JsonObject = {}): JsonObject {
  return {
    job_id: jobId,
    name: 'job',
    deploy_map: { app: ['@ALL'] },
    resource_spec: {},
    min_clients: 2,
    study: 'default',
    submitter_name: 'lead@example.org',
    submitter_org: 'org_a',
    submitter_role: 'lead',
    ...more,
  }
}

/** Keeps what is recorded. */
export function fakeAudit(): { readonly audit: AuditLog; readonly events: AuditEvent[] } {
  const events: AuditEvent[] = []
  const audit = { append: async (event: AuditEvent) => void events.push(event) }
  return { audit: audit as unknown as AuditLog, events }
}
