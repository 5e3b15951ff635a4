import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Clock, messageOf } from '@hanse/contract'
import {
  type Certificate,
  formatFingerprint,
  generatePrivateKey,
  issueLeaf,
  issueRoot,
  type LeafProfile,
  parseCertificates,
} from '@hanse/pki'
import { kitEntries } from './kit/kit-entries.ts'
import { type KitEntry, KitFile, secretEntry, textEntry } from './kit/kit-layout.ts'
import { manifestEntries } from './kit/manifest.ts'
import { certificateHosts, changedFacts, participantFacts } from './participant-facts.ts'
import type { AnyParticipant, Project } from './project/project.ts'
import { ProvisionError } from './provision-error.ts'
import { type AskPassphrase, protectNewCa, unlockCa } from './state/ca-passphrase.ts'
import { type IssuedKit, ProvisionState } from './state/provision-state.ts'
import { writeNewFile } from './state/write-file.ts'

const DAY_MS = 86_400_000
/** Clocks of other machines may be a little behind ours. */
const BACKDATE_MS = 5 * 60_000
const LEAF_VALID_DAYS = 360
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
 * makes the project's CA. Kits that exist stay as they are: a later run writes only what is new, into the next
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
  const projectDirectory = resolve(options.outDirectory, project.name)
  const stateDirectory = join(projectDirectory, 'state')
  const statePath = join(stateDirectory, 'hanse_state.json')
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
  await using _lock = await lock(join(stateDirectory, 'provisioning.lock'))

  const state =
    (await ProvisionState.load(statePath, project.name, (by, { fingerprint }) =>
      unlockCa(by, options.passphrase, {
        project: project.name,
        fingerprint,
        configDirectory: options.configDirectory,
      }),
    )) ?? (await createCa(project, clock, options, projectDirectory, statePath))

  const warnings = [...project.warnings]
  const participants: readonly AnyParticipant[] = [
    project.server,
    ...project.sites,
    ...project.admins,
  ]
  const customCas = await readCustomCas(participants, options.projectFileDirectory ?? '.')
  const plan = planRun(project, participants, customCas, state, options.reissue ?? [])
  warnAboutExpiry(state, participants, clock.now(), warnings)

  let prodDirectory: string | undefined
  if (plan.length > 0) {
    const prod = await nextProd(projectDirectory)
    prodDirectory = join(projectDirectory, prod)
    const issued = await writeKits(project, plan, state, clock, projectDirectory, prodDirectory)
    for (const [name, kit] of issued) state.issued.set(name, { ...kit, prod })
    await state.save(statePath)
  }

  const fresh = new Set(plan.map(({ participant }) => participant.name))
  const names = new Set(participants.map(({ name }) => name))
  return {
    project: project.name,
    projectDirectory,
    prodDirectory,
    kits: participants.map(({ name, type }) => {
      const kit = state.issued.get(name)!
      return {
        name,
        type,
        status: fresh.has(name) ? 'new' : 'unchanged',
        directory: join(projectDirectory, kit.prod, name),
        notAfter: Date.parse(kit.not_after),
      }
    }),
    removed: [...state.issued.keys()].filter((name) => !names.has(name)),
    rootFingerprint: formatFingerprint(state.root.fingerprint),
    caKey: { protectedBy: state.protection.by, keyFile: state.protection.keyFile },
    warnings,
  }
}

/** Makes the root and stores it before anything is issued: kits of a CA that got lost would be useless. */
async function createCa(
  project: Project,
  clock: Clock,
  { passphrase, configDirectory }: ProvisionOptions,
  projectDirectory: string,
  statePath: string,
): Promise<ProvisionState> {
  const others = (await readdir(projectDirectory)).filter((name) => name !== 'state')
  if (others.length > 0)
    throw new ProvisionError(
      'ERR_OUTPUT',
      `${projectDirectory} has ${others.slice(0, 3).join(', ')} but no state of ours: its kits come from another CA. Choose another output folder or project name`,
    )
  const caKey = await generatePrivateKey()
  const now = clock.now()
  const root = issueRoot(caKey, {
    commonName: project.name,
    notBefore: now - BACKDATE_MS,
    notAfter: now + project.rootValidDays * DAY_MS,
  })
  const protection = await protectNewCa(passphrase, {
    project: project.name,
    fingerprint: root.fingerprint,
    configDirectory,
    projectDirectory,
  })
  const state = await ProvisionState.create(project.name, root, caKey, protection)
  await state.save(statePath)
  return state
}

interface Planned {
  readonly participant: AnyParticipant
  readonly facts: Readonly<Record<string, string>>
  readonly customCa: string | undefined
}

function planRun(
  project: Project,
  participants: readonly AnyParticipant[],
  customCas: ReadonlyMap<string, string>,
  state: ProvisionState,
  reissue: readonly string[],
): readonly Planned[] {
  const again = new Set(reissue)
  const names = new Set(participants.map(({ name }) => name))
  const unknown = reissue.filter((name) => !names.has(name))
  if (unknown.length > 0)
    throw new ProvisionError(
      'ERR_PARTICIPANT_CHANGED',
      `${unknown.join(', ')} cannot be issued again: not in the project file`,
    )
  const plan: Planned[] = []
  const changed: string[] = []
  for (const participant of participants) {
    const customCa =
      participant.customCaCert === undefined ? undefined : customCas.get(participant.customCaCert)
    const facts = participantFacts(project, participant, customCa)
    const before = state.issued.get(participant.name)
    const differences = before === undefined ? [] : changedFacts(before.facts, facts)
    if (before === undefined || again.has(participant.name))
      plan.push({ participant, facts, customCa })
    else if (differences.length > 0) changed.push(`${participant.name} (${differences.join(', ')})`)
  }
  if (changed.length > 0)
    throw new ProvisionError(
      'ERR_PARTICIPANT_CHANGED',
      `these kits were made from other values: ${changed.join('; ')}. Take the change back, or ask for new kits for them (reissue)`,
      { participants: changed.length },
    )
  return plan
}

/** Makes all kits beside the final folder and moves them there as one step. */
async function writeKits(
  project: Project,
  plan: readonly Planned[],
  state: ProvisionState,
  clock: Clock,
  projectDirectory: string,
  prodDirectory: string,
): Promise<ReadonlyMap<string, Omit<IssuedKit, 'prod'>>> {
  const now = clock.now()
  // Keys are made in parallel, in Node's thread pool; everything else takes next to no time.
  const made = await Promise.all(
    plan.map(async (planned) => ({ ...planned, ...(await makeKit(project, planned, state, now)) })),
  )
  const work = await mkdtemp(join(projectDirectory, '.wip-'))
  try {
    for (const { participant, entries } of made)
      await writeKit(join(work, participant.name), entries)
    await rename(work, prodDirectory)
  } catch (error) {
    await rm(work, { recursive: true, force: true })
    throw error
  }
  return new Map(
    made.map(({ participant, facts, certificate }) => [
      participant.name,
      {
        type: participant.type,
        facts,
        serial: certificate.serialNumber,
        fingerprint: certificate.fingerprint,
        not_after: new Date(certificate.notAfter).toISOString(),
        issued_at: new Date(now).toISOString(),
      },
    ]),
  )
}

async function makeKit(
  project: Project,
  { participant, customCa }: Planned,
  { root, caKey }: ProvisionState,
  now: number,
): Promise<{
  readonly certificate: Certificate
  readonly entries: ReadonlyMap<string, KitEntry>
}> {
  const key = await generatePrivateKey()
  const certificate = issueLeaf(root, caKey, {
    commonName: participant.name,
    organization: participant.org,
    role: participant.type === 'admin' ? participant.role : undefined,
    publicKey: key.publicKey,
    hosts: certificateHosts(participant),
    notBefore: now - BACKDATE_MS,
    notAfter: now + LEAF_VALID_DAYS * DAY_MS,
    profile: PROFILES[participant.type],
  })
  const server = participant.type === 'server'
  const entries = new Map<string, KitEntry>([
    ...kitEntries(project, participant),
    [KitFile.root, textEntry(root.pem)],
    [server ? KitFile.serverCertificate : KitFile.clientCertificate, textEntry(certificate.pem)],
    [server ? KitFile.serverKey : KitFile.clientKey, secretEntry(key.exportPem())],
  ])
  if (customCa !== undefined) entries.set(KitFile.customRoot, textEntry(customCa))
  const owner = {
    project: project.name,
    name: participant.name,
    type: participant.type,
    certificate,
  }
  for (const [path, entry] of manifestEntries(owner, entries, caKey)) entries.set(path, entry)
  return { certificate, entries }
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

async function writeKit(directory: string, entries: ReadonlyMap<string, KitEntry>): Promise<void> {
  await mkdir(directory, { mode: 0o755 })
  await mkdir(join(directory, 'startup'), { mode: 0o700 })
  await mkdir(join(directory, 'local'), { mode: 0o755 })
  await mkdir(join(directory, 'transfer'), { mode: 0o755 })
  for (const [path, { content, mode }] of entries)
    await writeNewFile(join(directory, path), content, mode)
}

/** The number after the highest one in use; two digits, as stock has it. */
async function nextProd(projectDirectory: string): Promise<string> {
  const numbers = (await readdir(projectDirectory)).flatMap((name) => {
    const number = /^prod_(\d\d)$/.exec(name)?.[1]
    return number === undefined ? [] : [Number(number)]
  })
  const next = Math.max(-1, ...numbers) + 1
  if (next > 99)
    throw new ProvisionError(
      'ERR_OUTPUT',
      `${projectDirectory} has a prod_99, the last number there is; move old folders away`,
    )
  return `prod_${String(next).padStart(2, '0')}`
}

/** Content of every `custom_ca_cert` file, by the path that the project file gives. */
async function readCustomCas(
  participants: readonly AnyParticipant[],
  directory: string,
): Promise<ReadonlyMap<string, string>> {
  const contents = new Map<string, string>()
  for (const path of new Set(participants.map(({ customCaCert }) => customCaCert))) {
    if (path === undefined) continue
    try {
      const text = await readFile(resolve(directory, path), 'utf8')
      const certificates = parseCertificates(text, path)
      contents.set(path, certificates.map(({ pem }) => pem).join(''))
    } catch (cause) {
      throw new ProvisionError(
        'ERR_PROJECT_FILE',
        `custom_ca_cert ${path} cannot be used: ${messageOf(cause)}`,
        {},
        { cause },
      )
    }
  }
  return contents
}

function warnAboutExpiry(
  { root, issued }: ProvisionState,
  participants: readonly AnyParticipant[],
  now: number,
  warnings: string[],
): void {
  const limit = now + EXPIRY_WARNING_DAYS * DAY_MS
  const day = (time: number) => new Date(time).toISOString().slice(0, 10)
  if (root.notAfter < limit)
    warnings.push(`the root certificate of the project expires on ${day(root.notAfter)}`)
  for (const { name } of participants) {
    const expiry = Date.parse(issued.get(name)?.not_after ?? '')
    if (expiry < limit)
      warnings.push(`the certificate of ${name} expires on ${day(expiry)}: reissue it`)
  }
}

/** Keeps a second run out while this one reads and writes the state. */
async function lock(path: string): Promise<AsyncDisposable> {
  try {
    await writeNewFile(path, `${process.pid}\n`, 0o600)
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause
    const since = await stat(path).then(
      ({ mtime }) => mtime.toISOString(),
      () => 'a moment',
    )
    throw new ProvisionError(
      'ERR_OUTPUT',
      `another run works in ${dirname(dirname(path))} since ${since}; if it crashed, remove ${path}`,
      {},
      { cause },
    )
  }
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) }
}
