import { generatePrivateKey, issueRoot } from '@hanse/pki'
import type { Project } from '../project/project.ts'
import { ProvisionError } from '../provision-error.ts'
import { type AskPassphrase, protectNewCa, unlockCa } from '../state/ca-passphrase.ts'
import { ProvisionState } from '../state/provision-state.ts'
import { readStockState, type StockState } from '../state/stock-state.ts'
import type { PlannedKit } from './planned-kit.ts'
import type { ProjectFolder } from './project-folder.ts'
import { BACKDATE_MS, DAY_MS } from './validity.ts'

export interface OpenCaOptions {
  readonly passphrase: AskPassphrase | undefined
  readonly configDirectory: string
  readonly now: number
}

/**
 * The project's CA: unlocked if there is one, else taken over from a stock provisioner, else made. It is stored
 * before anything is issued: kits of a CA that got lost would be useless.
 */
export async function openCa(
  project: Project,
  planned: readonly PlannedKit[],
  folder: ProjectFolder,
  { passphrase, configDirectory, now }: OpenCaOptions,
): Promise<ProvisionState> {
  const place = { project: project.name, configDirectory }
  const state = await ProvisionState.load(folder.statePath, project.name, (by, { fingerprint }) =>
    unlockCa(by, passphrase, { ...place, fingerprint }),
  )
  if (state !== undefined) return state

  const stock = await readStockState(folder.stockStatePath)
  const others = await folder.others()
  if (stock === undefined && others.length > 0)
    throw new ProvisionError(
      'ERR_OUTPUT',
      `${folder.path} has ${others.slice(0, 3).join(', ')} but no state of ours: its kits come from another CA. Choose another output folder or project name`,
    )
  const { root, caKey } = stock ?? (await makeRoot(project, now))
  if (root.commonName !== project.name)
    throw new ProvisionError(
      'ERR_STATE',
      `the stored root belongs to project ${root.commonName ?? '?'}, not to ${project.name}`,
    )
  const protection = await protectNewCa(passphrase, {
    ...place,
    fingerprint: root.fingerprint,
    projectDirectory: folder.path,
  })
  const created = await ProvisionState.create(project.name, root, caKey, protection)
  if (stock !== undefined) await adoptKits(planned, stock, created, folder)
  await created.save(folder.statePath)
  return created
}

async function makeRoot(project: Project, now: number) {
  const caKey = await generatePrivateKey()
  const root = issueRoot(caKey, {
    commonName: project.name,
    notBefore: now - BACKDATE_MS,
    notAfter: now + project.rootValidDays * DAY_MS,
  })
  return { root, caKey }
}

/** Records the kits that a stock provisioner made and that are still there, so that they stay as they are. */
async function adoptKits(
  planned: readonly PlannedKit[],
  stock: StockState,
  state: ProvisionState,
  folder: ProjectFolder,
): Promise<void> {
  for (const { participant, facts } of planned) {
    const certificate = stock.certificates.get(participant.name)
    const prod = await folder.prodOf(participant.name)
    if (certificate === undefined || prod === undefined) continue
    state.issued.set(participant.name, {
      type: participant.type,
      // Stock keeps a certificate by its name, whatever else changed: what it says itself counts.
      facts: {
        ...facts,
        org: certificate.organization ?? '',
        ...(participant.type === 'admin' ? { role: certificate.role ?? '' } : {}),
      },
      serial: certificate.serialNumber,
      fingerprint: certificate.fingerprint,
      not_after: new Date(certificate.notAfter).toISOString(),
      issued_at: new Date(certificate.notBefore).toISOString(),
      prod,
    })
  }
}
