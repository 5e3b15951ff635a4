import { join, resolve } from 'node:path'
import type { Clock } from '@hanse/contract'
import { formatFingerprint } from '@hanse/pki'
import type { AnyParticipant, Project } from './project/project.ts'
import { KeySupply } from './run/key-supply.ts'
import { makeKit } from './run/make-kit.ts'
import { openCa } from './run/open-ca.ts'
import { kitsToMake, type PlannedKit, planKits } from './run/planned-kit.ts'
import { exists, ProjectFolder } from './run/project-folder.ts'
import { DAY_MS } from './run/validity.ts'
import type { AskPassphrase } from './state/ca-passphrase.ts'
import type { ProvisionState } from './state/provision-state.ts'

const EXPIRY_WARNING_DAYS = 30

export interface ProvisionOptions {
  /** Kits go to `<outDirectory>/<project>/prod_NN/<participant>/`. */
  readonly outDirectory: string
  /** The user's own folder for Hanse's settings: holds the key of the CA if there is no passphrase. */
  readonly configDirectory: string
  readonly passphrase?: AskPassphrase | undefined
  /** Folder that `custom_ca_cert` paths are relative to; default is the current one. */
  readonly projectFileDirectory?: string | undefined
  /** Participants who get a new key, certificate and kit although they have one. */
  readonly reissue?: readonly string[] | undefined
}

export interface ProvisionedKit {
  readonly name: string
  readonly type: AnyParticipant['type']
  readonly status: 'new' | 'unchanged'
  /** Where the kit was written, by this run or an earlier one. */
  readonly directory: string
  /** Ms since the epoch. */
  readonly notAfter: number
}

export interface ProvisionResult {
  readonly project: string
  readonly projectDirectory: string
  /** Folder with this run's kits; `undefined` when everybody had one. */
  readonly prodDirectory: string | undefined
  readonly kits: readonly ProvisionedKit[]
  /** Participants with kits who are not in the project file any more. Their certificates stay valid. */
  readonly removed: readonly string[]
  /** For people to compare: `SHA256:AB:CD:…`. */
  readonly rootFingerprint: string
  readonly caKey: {
    readonly protectedBy: 'passphrase' | 'key-file'
    /** To back up, and to keep away from the project's folder. */
    readonly keyFile: string | undefined
  }
  readonly warnings: readonly string[]
}

/**
 * Makes a startup kit for everybody in `project` who has none yet (`spec/provision.md` §3, §4). The first run
 * makes the project's CA, or takes over the one in a stock provisioner's `state/cert.json`. Kits that exist stay as they are: a later run writes only what is new, into the next
 * `prod_NN`; changed facts are refused until `reissue` names the participant.
 *
 * A run that fails leaves no half-made kits. Private keys of participants exist in their kits only.
 * @throws {ProvisionError} `ERR_PASSPHRASE_*`, `ERR_STATE`, `ERR_PARTICIPANT_CHANGED`, `ERR_OUTPUT`
 */
export async function provision(
  project: Project,
  { clock }: { readonly clock: Clock },
  options: ProvisionOptions,
): Promise<ProvisionResult> {
  const now = clock.now()
  const planned = await planKits(project, options.projectFileDirectory ?? '.')
  const folder = await ProjectFolder.open(resolve(options.outDirectory, project.name))
  await using _lock = await folder.lock()
  const isFirstRun = !(await exists(folder.statePath))
  // Begun now: the first run makes the authority meanwhile.
  const keys = new KeySupply(isFirstRun ? planned.length : 0)
  const state = await openCa(project, planned, folder, {
    passphrase: options.passphrase,
    configDirectory: options.configDirectory,
    now,
  })

  const toMake = kitsToMake(planned, state.issued, options.reissue ?? [])
  const prod =
    toMake.length === 0 ? undefined : await issueKits(project, toMake, keys, state, folder, now)

  const warnings = [...project.warnings, ...expiryWarnings(state, planned, now)]
  if (await exists(folder.stockStatePath))
    warnings.push(
      `${folder.stockStatePath} is not used any more and has every private key in clear: move it to a safe place`,
    )
  const fresh = new Set(toMake.map(({ participant }) => participant.name))
  const names = new Set(planned.map(({ participant }) => participant.name))
  return {
    project: project.name,
    projectDirectory: folder.path,
    prodDirectory: prod === undefined ? undefined : join(folder.path, prod),
    kits: planned.flatMap(({ participant: { name, type } }) => {
      const kit = state.issued.get(name)
      if (kit === undefined) return []
      return {
        name,
        type,
        status: fresh.has(name) ? 'new' : 'unchanged',
        directory: folder.kitDirectory(kit.prod, name),
        notAfter: Date.parse(kit.not_after),
      }
    }),
    removed: [...state.issued.keys()].filter((name) => !names.has(name)),
    rootFingerprint: formatFingerprint(state.root.fingerprint),
    caKey: { protectedBy: state.protection.by, keyFile: state.protection.keyFile },
    warnings,
  }
}

/** Makes, writes and records kits; returns the folder that they are in. */
async function issueKits(
  project: Project,
  toMake: readonly PlannedKit[],
  keys: KeySupply,
  state: ProvisionState,
  folder: ProjectFolder,
  now: number,
): Promise<string> {
  const { prod, made } = await folder.writeKits(toMake, async (planned) =>
    makeKit(project, planned, await keys.take(), state, now),
  )
  for (const { participant, facts, certificate } of made)
    state.issued.set(participant.name, {
      type: participant.type,
      facts,
      serial: certificate.serialNumber,
      fingerprint: certificate.fingerprint,
      not_after: new Date(certificate.notAfter).toISOString(),
      issued_at: new Date(now).toISOString(),
      prod,
    })
  await state.save(folder.statePath)
  return prod
}

function expiryWarnings(
  { root, issued }: ProvisionState,
  planned: readonly PlannedKit[],
  now: number,
): readonly string[] {
  const limit = now + EXPIRY_WARNING_DAYS * DAY_MS
  const day = (time: number) => new Date(time).toISOString().slice(0, 10)
  const leaves = planned.flatMap(({ participant: { name } }) => {
    const expiry = Date.parse(issued.get(name)?.not_after ?? '')
    return expiry < limit
      ? [`the certificate of ${name} expires on ${day(expiry)}: reissue it`]
      : []
  })
  return root.notAfter < limit
    ? [`the root certificate of the project expires on ${day(root.notAfter)}`, ...leaves]
    : leaves
}
